"""A network that gain and offset of a tomogram change in nothing, to compare with the one that is used.

Importing this module makes the identifier ``GainInvariant`` known.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize

from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.networks.fully_convolutional import FullyConvolutional
from tomotwin_lib.networks.half_turn_layers import TURNS, HalfTurnMean, HalfTurnNorm
from tomotwin_lib.networks.registry import NETWORKS


class GainInvariant(FullyConvolutional):
    """:class:`FullyConvolutional` without anything that gain or offset could change.

    The first kernels have mean 0, so an offset is not seen; no layer adds a constant and normalisation only
    divides by what is constant once it is trained, so a gain multiplies all features alike, and the vector's
    division by its norm takes it out. Parameters are those of the parent.
    """

    def __init__(
        self,
        width: int = 24,
        output_channels: int = 32,
        half_turns: bool = False,
        second_stride: bool = False,
    ) -> None:
        super().__init__(width, output_channels, half_turns=half_turns, second_stride=second_stride)
        parametrize.register_parametrization(self.features[0], "weight", _ZeroMean())
        for part in (self.features, self.head):
            for place, module in enumerate(part):
                if isinstance(module, nn.BatchNorm3d):
                    turns = TURNS if isinstance(module, HalfTurnNorm) else 1
                    part[place] = _RootMeanSquare(module.num_features, turns)
        last = self.head[-1]
        plain = last.convolution if isinstance(last, HalfTurnMean) else last
        assert isinstance(plain, nn.Conv3d) and plain.bias is not None
        nn.init.zeros_(plain.bias).requires_grad_(False)

    def folded(self) -> nn.Module:  # type: ignore[override]
        """Itself: nothing is folded."""
        return DenseNetwork.folded(self)


class _ZeroMean(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight - weight.mean(dim=(-3, -2, -1), keepdim=True)


class _RootMeanSquare(nn.Module):
    """Divides each field of channels by its root mean square, a running one in evaluation."""

    square: torch.Tensor

    def __init__(self, fields: int, turns: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.turns, self.momentum = turns, momentum
        self.gain = nn.Parameter(torch.ones(fields))
        self.register_buffer("square", torch.ones(fields))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        square = self.square
        if self.training:
            square = maps.square().mean(dim=(0, 2, 3, 4)).view(-1, self.turns).mean(dim=1)
            with torch.no_grad():
                self.square.lerp_(square.float(), self.momentum)
        scale = (self.gain * torch.rsqrt(square + 1e-8)).repeat_interleave(self.turns)
        return maps * scale[:, None, None, None]


NETWORKS["GainInvariant"] = GainInvariant
