"""Convolutions of kernel 3 with half the multiplications: Winograd's minimal filtering along z.

Four neighbouring planes of the result need six planes of the input. Computed directly that is twelve plane
convolutions; with six fixed combinations of the input's planes and six of the kernel's it is six, and four
fixed combinations of their results (F(4, 3) of Winograd, 1980; Lavin and Gray, CVPR 2016). What is left are
convolutions along y and x, at which a CPU's libraries reach its peak. In float32 the rounding grows about
twofold, to a few millionths; half precision has not the digits for it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

#: Planes of the result and of the input of one group.
OUTPUTS, INPUTS = 4, 6

# The kernel's combinations, G of the paper: (input, kernel plane).
_KERNEL_COMBINATIONS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)

# Combined planes that are held at a time: what a processor's last cache takes.
_CHUNK_BYTES = 24 * 2**20

# Below this the combinations cost as much as they save.
_LEAST_CHANNELS = 16


class WinogradConv3d(nn.Module):
    """The same as a convolution of kernel 3 without padding, for inference in float32 on a CPU.

    Parameters
    ----------
    convolution : one that :func:`suits`.
    """

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias
        combinations = torch.tensor(_KERNEL_COMBINATIONS, dtype=torch.float64)
        kernels = torch.einsum("kz,oczyx->kocyx", combinations, convolution.weight.detach().double()).float()
        for index, kernel in enumerate(kernels):
            layer = kernel.contiguous(memory_format=torch.channels_last)
            self.register_buffer(f"kernel{index}", layer, persistent=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(b, channel, d, h, w) to (b, channel, d − 2, h − 2, w − 2), channels last in memory."""
        source = maps.permute(0, 2, 3, 4, 1)
        batch, depth, height, width = maps.shape[0], *(edge - 2 for edge in maps.shape[2:])
        groups = depth // OUTPUTS
        result = maps.new_empty(batch, depth, height, width, self.weight.shape[0])
        if groups:
            group_bytes = INPUTS * source[0, 0].numel() * source.element_size()
            volumes = max(_CHUNK_BYTES // (group_bytes * groups), 1)
            step = max(_CHUNK_BYTES // group_bytes, 1)
            for volume in range(0, batch, volumes):
                for first in range(0, groups, step):
                    last = min(first + step, groups)
                    self._convolve(
                        source[volume : volume + volumes, OUTPUTS * first : OUTPUTS * last + 2],
                        result[volume : volume + volumes, OUTPUTS * first : OUTPUTS * last],
                    )
        if depth % OUTPUTS:
            rest = functional.conv3d(maps[:, :, OUTPUTS * groups :], self.weight, self.bias)
            result[:, OUTPUTS * groups :] = rest.permute(0, 2, 3, 4, 1)
        return result.permute(0, 4, 1, 2, 3)

    def _convolve(self, source: torch.Tensor, result: torch.Tensor) -> None:
        """Fill (b, 4 n, h − 2, w − 2, channel) from (b, 4 n + 2, h, w, channel)."""
        groups = result.shape[1] // OUTPUTS
        products = []
        for index, plane in enumerate(_combined(source, groups)):
            planes = plane.flatten(0, 1).permute(0, 3, 1, 2)
            # _separate adds the second product to each plane as it is, and so its bias.
            bias = self.bias if index == 1 else None
            product = functional.conv2d(planes, self.get_buffer(f"kernel{index}"), bias)
            products.append(product.permute(0, 2, 3, 1).unflatten(0, (-1, groups)))
        _separate(products, result)


def suits(module: nn.Module) -> bool:
    """Whether a layer is a convolution that :class:`WinogradConv3d` does faster."""
    return (
        type(module) is nn.Conv3d
        and module.kernel_size == (3, 3, 3)
        and module.stride == module.dilation == (1, 1, 1)
        and module.padding == (0, 0, 0)
        and module.groups == 1
        and min(module.in_channels, module.out_channels) >= _LEAST_CHANNELS
    )


def with_winograd(network: nn.Module) -> nn.Module:
    """The network with every convolution that suits exchanged, in place."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if suits(child):
                setattr(module, name, WinogradConv3d(child))
    return network


def _combined(source: torch.Tensor, groups: int) -> list[torch.Tensor]:
    """The six combinations of each group's planes, six of (b, group, h, w, channel)."""
    last = OUTPUTS * (groups - 1) + 1
    d0, d1, d2, d3, d4, d5 = (source[:, index : index + last : OUTPUTS] for index in range(INPUTS))
    even, odd = torch.add(d4, d2, alpha=-4), torch.add(d3, d1, alpha=-4)
    outer, inner = d4 - d2, (d3 - d1).mul_(2)
    return [
        torch.add(outer, d2, alpha=-4).add_(d0, alpha=4),
        even + odd,
        even - odd,
        outer + inner,
        outer.sub_(inner),
        torch.add(d5, d3, alpha=-5).add_(d1, alpha=4),
    ]


def _separate(products: list[torch.Tensor], result: torch.Tensor) -> None:
    """The four planes of each group from its six products."""
    m0, m1, m2, m3, m4, m5 = products
    sum12, difference12 = m1 + m2, m1.sub_(m2)
    sum34, difference34 = m3 + m4, m3.sub_(m4)
    planes = [result[:, index::OUTPUTS] for index in range(OUTPUTS)]
    torch.add(m0.add_(sum12), sum34, out=planes[0])
    torch.add(difference12, difference34, alpha=2, out=planes[1])
    torch.add(sum12, sum34, alpha=4, out=planes[2])
    torch.add(m5.add_(difference12), difference34, alpha=8, out=planes[3])
