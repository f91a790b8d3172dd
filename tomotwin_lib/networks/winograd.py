"""Convolutions of kernel 3 with half the multiplications: Winograd's minimal filtering along z.

Four neighbouring planes of the result need six planes of the input. Computed directly that is twelve plane
convolutions; with six fixed combinations of the input's planes and six of the kernel's it is six, and four
fixed combinations of their results (F(4, 3) of Winograd, 1980; Lavin and Gray, CVPR 2016). What is left are
convolutions along y and x, at which a CPU's libraries reach its peak. In float32 the rounding grows about
twofold, to a few millionths; half precision has not the digits for it.
"""

from __future__ import annotations

from itertools import product as combinations
from typing import TypeGuard

import torch
from torch import nn
from torch.nn import functional

#: Planes of the result and of the input of one group.
OUTPUTS, INPUTS = 4, 6

# The method's points are 0, ±A, ±2A and infinity. With A = 1, as in the papers, the rounding is 1.4 times as
# large; all numbers made of this A are exact in float32.
_A = 0.75
_POINTS = (0.0, _A, -_A, 2 * _A, -2 * _A)
# The products of the four inner points are scaled by A, which saves a multiplication in _separate.
_SCALES = (1.0, _A, _A, _A, _A, 1.0)

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
        self.dilation = convolution.dilation[0]
        of_kernel, of_bias = _combinations()
        kernels = torch.einsum("kz,oczyx->kocyx", of_kernel, self.weight.detach().double()).float()
        for index, kernel in enumerate(kernels):
            layer = kernel.contiguous(memory_format=torch.channels_last)
            self.register_buffer(f"kernel{index}", layer, persistent=False)
            share = None if self.bias is None else (of_bias[index] * self.bias.detach().double()).float()
            self.register_buffer(f"bias{index}", share, persistent=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(b, channel, d, h, w) to (b, channel, d − 2, h − 2, w − 2), channels last in memory.

        With a dilation of n the edges become shorter by 2 n: every n-th voxel is a volume of its own.
        """
        if self.dilation == 1:
            return self._convolved(maps)
        depth, height, width = (edge - 2 * self.dilation for edge in maps.shape[2:])
        result = maps.new_empty(len(maps), depth, height, width, self.weight.shape[0]).permute(0, 4, 1, 2, 3)
        for phase in combinations(range(self.dilation), repeat=3):
            every = (slice(None), slice(None), *(slice(first, None, self.dilation) for first in phase))
            if result[every].numel():
                part = maps[every].contiguous(memory_format=torch.channels_last_3d)
                result[every] = self._convolved(part)
        return result

    def _convolved(self, maps: torch.Tensor) -> torch.Tensor:
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
            product = functional.conv2d(
                planes, getattr(self, f"kernel{index}"), getattr(self, f"bias{index}")
            )
            products.append(product.permute(0, 2, 3, 1).unflatten(0, (-1, groups)))
        _separate(products, result)


def suits(module: nn.Module) -> TypeGuard[nn.Conv3d]:
    """Whether a layer is a convolution that :class:`WinogradConv3d` does faster."""
    return (
        type(module) is nn.Conv3d
        and module.kernel_size == (3, 3, 3)
        and module.stride == (1, 1, 1)
        and len(set(module.dilation)) == 1
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


def _combinations() -> tuple[torch.Tensor, torch.Tensor]:
    """What each product takes of the kernel's planes, (product, plane), and of the bias, (product,)."""
    finite = torch.tensor(_POINTS, dtype=torch.float64)
    differences = finite[:, None] - finite + torch.eye(len(finite), dtype=torch.float64)
    of_kernel = torch.cat(
        [finite[:, None] ** torch.arange(3) / differences.prod(dim=1)[:, None], torch.zeros(1, 3)]
    )
    of_kernel[-1, -1] = 1
    # _separate, as a matrix (plane, product); the shares of the bias are such that it gives each plane all.
    separation = torch.cat([finite ** torch.arange(OUTPUTS)[:, None], torch.zeros(OUTPUTS, 1)], dim=1)
    separation[-1, -1] = 1
    scales = torch.tensor(_SCALES, dtype=torch.float64)
    of_bias = torch.linalg.pinv(separation / scales) @ torch.ones(OUTPUTS, dtype=torch.float64)
    return of_kernel * scales[:, None], of_bias


def _combined(source: torch.Tensor, groups: int) -> list[torch.Tensor]:
    """The six combinations of each group's planes, six of (b, group, h, w, channel)."""
    last = OUTPUTS * (groups - 1) + 1
    d0, d1, d2, d3, d4, d5 = (source[:, index : index + last : OUTPUTS] for index in range(INPUTS))
    near, far = _A**2, (2 * _A) ** 2
    even, odd = torch.add(d4, d2, alpha=-far), torch.add(d3, d1, alpha=-far)
    first = torch.add(even, d2, alpha=-near).add_(d0, alpha=near * far)
    last_one = torch.add(d5, d3, alpha=-near - far).add_(d1, alpha=near * far)
    inner = [torch.add(even, odd, alpha=_A), even.sub_(odd, alpha=_A)]
    even, odd = torch.add(d4, d2, alpha=-near), torch.add(d3, d1, alpha=-near)
    outer = [torch.add(even, odd, alpha=2 * _A), even.sub_(odd, alpha=2 * _A)]
    return [first, *inner, *outer, last_one]


def _separate(products: list[torch.Tensor], result: torch.Tensor) -> None:
    """The four planes of each group from its six products, which are used up."""
    m0, m1, m2, m3, m4, m5 = products
    inner_sum, inner_difference = m1 + m2, m1.sub_(m2)
    outer_sum, outer_difference = m3 + m4, m3.sub_(m4)
    planes = [result[:, index::OUTPUTS] for index in range(OUTPUTS)]
    torch.add(m0.add_(inner_sum, alpha=1 / _A), outer_sum, alpha=1 / _A, out=planes[0])
    torch.add(inner_difference, outer_difference, alpha=2, out=planes[1])
    torch.add(inner_sum.mul_(_A), outer_sum, alpha=4 * _A, out=planes[2])
    torch.add(m5.add_(inner_difference, alpha=_A**2), outer_difference, alpha=8 * _A**2, out=planes[3])
