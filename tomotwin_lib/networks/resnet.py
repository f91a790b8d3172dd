"""A 3-D residual network, as TomoTwin can be configured to train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.arguments import require_integer, require_number
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.networks.normalisation import NormalisationFactory, normalisation_factory

#: Channels of the four layers before they are widened, and the stride at which each begins.
LAYER_CHANNELS = (64, 128, 256, 512)
LAYER_STRIDES = (1, 2, 2, 2)

#: Kernel and stride of the first convolution along y and x; along z they are arguments.
FIRST_KERNEL = 7
FIRST_STRIDE = 2

ShortcutType = Literal["A", "B"]


class ResNet(EmbeddingNetwork):
    """A residual network over three dimensions (He et al., 2016; in three dimensions Hara et al., 2018).

    Parameter names are TomoTwin's, so that its checkpoints load.

    Parameters
    ----------
    model_depth : 10, 18, 34 (blocks of two convolutions), 50, 101, 152 or 200 (bottlenecks of three).
    n_input_channels : channels of the windows; 1 for tomograms.
    conv1_t_size, conv1_t_stride : kernel and stride of the first convolution along z. The kernel is odd.
    no_max_pool : stands in configurations and changes nothing: TomoTwin's network never pools after the first
        convolution, whichever value it is given.
    shortcut_type : how a block's input reaches an output of another size. A: sampled, missing channels are
        zero; B: a convolution of kernel 1.
    widen_factor : factor on the channels of all layers.
    out_head : length of the embedding.
    norm_name, norm_kwargs, groups : see :func:`~tomotwin_lib.networks.normalisation.normalisation_factory`.

    Raises
    ------
    InputError
        If an argument is not possible.
    """

    def __init__(
        self,
        model_depth: int,
        norm_name: str | None = None,
        norm_kwargs: Mapping[str, Any] | None = None,
        groups: int | None = None,
        n_input_channels: int = 1,
        conv1_t_size: int = 7,
        conv1_t_stride: int = 1,
        no_max_pool: bool = False,
        shortcut_type: ShortcutType = "B",
        widen_factor: float = 1.0,
        out_head: int = 128,
    ) -> None:
        super().__init__()
        if model_depth not in tuple(_ARCHITECTURES):
            raise InputError(
                "network_config.model_depth",
                f"{model_depth!r} is no known depth",
                f"Use one of {', '.join(map(str, _ARCHITECTURES))}",
            )
        if shortcut_type not in ("A", "B"):
            raise InputError(
                "network_config.shortcut_type", f"{shortcut_type!r} is no kind of shortcut", "Use A or B"
            )
        n_input_channels = require_integer("n_input_channels", n_input_channels, 1)
        conv1_t_size = require_integer("conv1_t_size", conv1_t_size, 1)
        conv1_t_stride = require_integer("conv1_t_stride", conv1_t_stride, 1)
        out_head = require_integer("out_head", out_head, 1)
        widen_factor = require_number("widen_factor", widen_factor, 0)
        widths = [int(channels * widen_factor) for channels in LAYER_CHANNELS]
        if min(widths) < 1:
            raise InputError(
                "network_config.widen_factor",
                f"{widen_factor!r} leaves a layer without channels",
                f"Give at least {1 / min(LAYER_CHANNELS):g}",
            )
        if conv1_t_size % 2 == 0:
            raise InputError("network_config.conv1_t_size", f"{conv1_t_size} is even", "Give an odd size")
        normalise = normalisation_factory(norm_name, norm_kwargs, groups)
        block, counts = _ARCHITECTURES[model_depth]

        self.conv1 = nn.Conv3d(
            n_input_channels,
            widths[0],
            (conv1_t_size, FIRST_KERNEL, FIRST_KERNEL),
            stride=(conv1_t_stride, FIRST_STRIDE, FIRST_STRIDE),
            padding=(conv1_t_size // 2, FIRST_KERNEL // 2, FIRST_KERNEL // 2),
            bias=False,
        )
        self.norm1 = normalise(widths[0])
        inputs = widths[0]
        layers = []
        for width, count, first_stride in zip(widths, counts, LAYER_STRIDES, strict=True):
            blocks = []
            for index in range(count):
                stride = first_stride if index == 0 else 1
                blocks.append(block(inputs, width, stride, shortcut_type, normalise))
                inputs = width * block.expansion
            layers.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.fc = nn.Linear(inputs, out_head)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        features = functional.leaky_relu(self.norm1(self.conv1(windows)), inplace=True)
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        embedding = self.fc(features.mean(dim=(2, 3, 4)))
        return functional.normalize(embedding.float(), dim=1)


class _Block(nn.Module):
    """What the two kinds of residual block share: the sum of the convolutions' change and the shortcut."""

    #: Channels that leave the block, in units of its width.
    expansion: ClassVar[int] = 1

    #: Brings the input to the size of the output; ``None`` where they are alike. Made last by the blocks: the
    #: order of the parameters is that of TomoTwin, on which optimiser states in checkpoints rely.
    downsample: nn.Module | None

    def change(self, features: torch.Tensor) -> torch.Tensor:
        """What the convolutions make of the features."""
        raise NotImplementedError

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        return functional.leaky_relu(self.change(features) + shortcut, inplace=True)


class _BasicBlock(_Block):
    """Two convolutions of kernel 3."""

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        shortcut_type: ShortcutType,
        normalise: NormalisationFactory,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.norm1 = normalise(width)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.norm2 = normalise(width)
        self.downsample = _shortcut(inputs, width, stride, shortcut_type, normalise)

    def change(self, features: torch.Tensor) -> torch.Tensor:
        features = functional.leaky_relu(self.norm1(self.conv1(features)), inplace=True)
        return self.norm2(self.conv2(features))


class _Bottleneck(_Block):
    """A convolution of kernel 3 between two of kernel 1."""

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        shortcut_type: ShortcutType,
        normalise: NormalisationFactory,
    ) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv3d(inputs, width, 1, bias=False)
        self.norm1 = normalise(width)
        self.conv2 = nn.Conv3d(width, width, 3, stride=stride, padding=1, bias=False)
        self.norm2 = normalise(width)
        self.conv3 = nn.Conv3d(width, outputs, 1, bias=False)
        self.norm3 = normalise(outputs)
        self.downsample = _shortcut(inputs, outputs, stride, shortcut_type, normalise)

    def change(self, features: torch.Tensor) -> torch.Tensor:
        features = functional.leaky_relu(self.norm1(self.conv1(features)), inplace=True)
        features = functional.leaky_relu(self.norm2(self.conv2(features)), inplace=True)
        return self.norm3(self.conv3(features))


def _shortcut(
    inputs: int, outputs: int, stride: int, shortcut_type: ShortcutType, normalise: NormalisationFactory
) -> nn.Module | None:
    """The way past a block's convolutions; ``None`` where the input can be added as it is."""
    if stride == 1 and inputs == outputs:
        return None
    if shortcut_type == "A":
        return _SampledShortcut(outputs, stride)
    return nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False), normalise(outputs))


class _SampledShortcut(nn.Module):
    """Every ``stride``-th voxel, followed by channels of zeros: a shortcut without weights."""

    def __init__(self, outputs: int, stride: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.stride = stride

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        sampled = features[:, :, :: self.stride, :: self.stride, :: self.stride]
        # pad() counts axes from the last; the channels are the fourth from there.
        return functional.pad(sampled, (0, 0, 0, 0, 0, 0, 0, self.outputs - features.shape[1]))


# Depth → the kind of block and the number of blocks in each layer.
_ARCHITECTURES: dict[int, tuple[type[_BasicBlock] | type[_Bottleneck], tuple[int, int, int, int]]] = {
    10: (_BasicBlock, (1, 1, 1, 1)),
    18: (_BasicBlock, (2, 2, 2, 2)),
    34: (_BasicBlock, (3, 4, 6, 3)),
    50: (_Bottleneck, (3, 4, 6, 3)),
    101: (_Bottleneck, (3, 4, 23, 3)),
    152: (_Bottleneck, (3, 8, 36, 3)),
    200: (_Bottleneck, (3, 24, 36, 3)),
}
