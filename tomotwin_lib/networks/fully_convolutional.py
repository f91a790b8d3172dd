"""The platform's own network: evaluated over a whole volume it gives what it gives window by window."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise, repeat

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.arguments import require_boolean, require_integer, require_number
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.networks.half_turn_layers import (
    HALF_TURN_LAYERS,
    TURNS,
    HalfTurnConv3d,
    HalfTurnMean,
    HalfTurnNorm,
)
from tomotwin_lib.networks.one_channel import OneChannelConv3d, convolved

STEM_KERNEL = 5
# Channels of the eight layers behind the stem, in multiples of the width. They grow as the window's map
# shrinks (15³, 13³, … 1³), so that in training no layer costs much more than the others.
CHANNEL_MULTIPLES = (1, 2, 2, 3, 4, 4, 6, 8)
# The same of the five layers where the second of them halves the map once more (15³, 7³, 5³, 3³, 1³).
TWICE_STRIDED_MULTIPLES = (1, 4, 6, 8, 12)
LEAKY_SLOPE = 0.1
# Deviation in voxels of the Gaussian that the stem's first filters are smoothed with.
STEM_SMOOTHNESS = 1.0


class FullyConvolutional(DenseNetwork):
    """Convolutions without padding that reduce a window of 37³ voxels to exactly one position.

    A kernel of 5 with stride 2 and eight kernels of 3 take 37 to 17, 15, 13, 11, 9, 7, 5, 3, 1; two
    kernels of 1 are the head. With a smaller field of view the first kernels of 3 are left out. Nothing in it
    depends on where the window ends: no padding, and batch normalisation, whose statistics are constants once
    it is trained. Neighbouring windows therefore share their arithmetic, and a volume costs about 100 times
    less than its windows one by one.

    With a second stride five kernels of 3 do, the second of which has stride 2: 37 to 17, 15, 7, 5, 3, 1. A
    window then costs a third of the arithmetic, and half of the time in training. Over a volume, where there
    is an embedding at every second voxel all the same, that kernel has no stride and those behind it are
    dilated (Yu & Koltun, ICLR 2016), with the same result.

    Parameters
    ----------
    width : channels of the stem; the others are multiples of it. Cost and weights grow with its square
        (16: 0.8 million weights, 24: 1.8, 32: 3.1).
    output_channels : length of the embedding.
    dropout : share of the last features that training leaves out, in [0, 1).
    half_turns : make the embedding of a particle and of its half turns about z, y and x exactly equal, by
        kernels shared among the four (:mod:`tomotwin_lib.networks.half_turn_layers`). The width, which counts
        all channels, must be a multiple of four; there are a quarter of the weights.
    field_of_view : edge in voxels of what is looked at in the middle of the window, 37 or less by a multiple
        of four (with a second stride eight), down to 9 (13). Windows stay as large as they are, so the same
        subvolumes fit.
    second_stride : halve the map twice instead of once.

    Raises
    ------
    InputError
        If an argument is out of its range.
    """

    def __init__(
        self,
        width: int = 24,
        output_channels: int = 32,
        dropout: float = 0.0,
        half_turns: bool = False,
        field_of_view: int = 37,
        second_stride: bool = False,
    ) -> None:
        super().__init__()
        width = require_integer("width", width, 1)
        output_channels = require_integer("output_channels", output_channels, 1)
        dropout = require_number("dropout", dropout, 0, below=1)
        half_turns = require_boolean("half_turns", half_turns)
        second_stride = require_boolean("second_stride", second_stride)
        multiples: tuple[int, ...] = TWICE_STRIDED_MULTIPLES if second_stride else CHANNEL_MULTIPLES
        # A kernel of 3 takes four voxels behind one stride and eight behind two; it is left out for less.
        taken = 8 if second_stride else 4
        field_of_view = require_integer("field_of_view", field_of_view, STEM_KERNEL + taken)
        if field_of_view > self.window_size or (self.window_size - field_of_view) % taken:
            raise InputError(
                "network_config.field_of_view",
                f"{field_of_view} voxels are not possible",
                f"Give {self.window_size} or less by a multiple of {taken}",
            )
        if half_turns and width % TURNS:
            raise InputError(
                "network_config.width",
                f"{width} channels cannot be shared by the {TURNS} half turns",
                f"Give a multiple of {TURNS}, or half_turns false",
            )

        self.half_turn_invariant = half_turns
        self.second_stride = second_stride
        self.crop = nn.ZeroPad3d(-(self.window_size - field_of_view) // 2)
        kept_first = 2 if second_stride else 0
        left_out = (self.window_size - field_of_view) // taken
        multiples = (*multiples[:kept_first], *multiples[kept_first + left_out :])
        channels = (width, *(multiple * width for multiple in multiples))
        layer = _half_turn_layer if half_turns else _layer
        layers = [*layer(1, width, STEM_KERNEL, stride=self.total_stride)]
        for place, (incoming, outgoing) in enumerate(pairwise(channels)):
            stride = 2 if second_stride and place == 1 else 1
            layers += layer(incoming, outgoing, kernel=3, stride=stride)
        self.features = nn.Sequential(*layers)
        last = channels[-1]
        self.head = nn.Sequential(
            *layer(last, last, kernel=1),
            nn.Dropout3d(dropout),
            HalfTurnMean(last // TURNS, output_channels)
            if half_turns
            else nn.Conv3d(last, output_channels, kernel_size=1),
        )
        _smooth(self.features[0].weight)  # type: ignore[arg-type]

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return functional.normalize(self.head(self.features(self.crop(windows))), dim=1).flatten(1)

    def forward_dense(self, volume: torch.Tensor) -> torch.Tensor:
        maps = self.crop(volume)
        spacings = self._dense_spacings()
        for module in self.features:
            if isinstance(module, nn.Conv3d | HalfTurnConv3d):
                kernels = module.turned_kernels() if isinstance(module, HalfTurnConv3d) else module.weight
                stride, dilation = next(spacings)
                maps = convolved(maps, kernels, stride=stride, dilation=dilation)
            else:
                maps = module(maps)
        return functional.normalize(self.head(maps), dim=1)

    def _dense_spacings(self) -> Iterator[tuple[int, int]]:
        """Stride and dilation over a volume of each convolution before the head."""
        yield self.total_stride, 1
        yield from [(1, 1)] * 2
        yield from repeat((1, 2 if self.second_stride else 1))

    def folded(self) -> nn.Sequential:
        """The trained layers as plain convolutions, each normalisation folded into its own, for inference.

        Returns
        -------
        A module from (b, 1, d, h, w) to (b, channel, …) *before* the division by the norm.
        """
        folded: list[nn.Module] = [self.crop] if any(self.crop.padding) else []
        spacings = self._dense_spacings()
        for module in (*self.features.eval(), *self.head.eval()):
            plain = module.plain() if isinstance(module, HALF_TURN_LAYERS) else copy.copy(module)
            if isinstance(plain, nn.BatchNorm3d):
                convolution = folded.pop()
                assert isinstance(convolution, nn.Conv3d)
                folded.append(fuse_conv_bn_eval(convolution, plain))
            elif not isinstance(plain, nn.Dropout3d):
                if isinstance(plain, nn.Conv3d):  # kernels of 1, the head's, are what they are when dilated
                    stride, dilation = next(spacings)
                    plain.stride, plain.dilation = (stride,) * 3, (dilation,) * 3
                folded.append(plain)
        return nn.Sequential(*folded)


def _smooth(weight: torch.Tensor) -> None:
    """Begin with smooth filters: where noise is ten times stronger than signal, rough ones see noise only."""
    distance = torch.arange(STEM_KERNEL) - STEM_KERNEL // 2
    window = torch.exp(-0.5 * (distance[:, None] - distance[None, :]) ** 2 / STEM_SMOOTHNESS**2)
    with torch.no_grad():
        smooth = torch.einsum("...xyz,xi,yj,zk->...ijk", weight, window, window, window)
        weight.copy_(smooth * (weight.std() / smooth.std()))


def _layer(incoming: int, outgoing: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    kind = OneChannelConv3d if incoming == 1 else nn.Conv3d
    return (
        kind(incoming, outgoing, kernel, stride=stride, bias=False),
        nn.BatchNorm3d(outgoing),
        nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
    )


def _half_turn_layer(incoming: int, outgoing: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """The same number of channels, in fields of four; the volume itself is one channel and no field."""
    lifts = incoming == 1
    return (
        HalfTurnConv3d(1 if lifts else incoming // TURNS, outgoing // TURNS, kernel, stride, lifts=lifts),
        HalfTurnNorm(outgoing // TURNS),
        nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
    )
