"""Layers for a network that gives a particle and its half turns the same embedding.

A half turn about z, y or x leaves the missing wedge of a tilt series about y where it is: a subvolume turned
so is one that the microscope could have shown. With identity these four rotations make a group. Each field of
channels holds a feature in all four, and the kernels that make it are turned copies of one (a group
convolution; Cohen and Welling, ICML 2016). Channels are ordered (field, turn). Turning the input by t turns
each map and exchanges channel g of a field with channel t·g; the mean over a field's channels at a window's
centre does not change at all.

For inference each layer becomes a plain convolution, so invariance costs nothing there.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from tomotwin_lib.networks.one_channel import OneChannelConv3d, convolved

# Which of the axes z, y, x each of the four rotations reverses.
HALF_TURNS = ((), (0, 1), (0, 2), (1, 2))
TURNS = len(HALF_TURNS)


class HalfTurnConv3d(nn.Module):
    """A convolution from fields to fields, without bias.

    Parameters
    ----------
    incoming, outgoing : number of fields; channels are four times as many.
    kernel : edge of the kernel, in voxels.
    stride : in voxels.
    lifts : the input is a volume (``incoming`` plain channels), not fields.
    """

    def __init__(
        self, incoming: int, outgoing: int, kernel: int, stride: int = 1, *, lifts: bool = False
    ) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(outgoing, incoming, 1 if lifts else TURNS, *(kernel,) * 3))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as nn.Conv3d begins

    def turned_kernels(self) -> torch.Tensor:
        """The kernels of the plain convolution, (4 · outgoing, incoming channels, d, h, w)."""
        # The numbers of the turns multiply by exclusive or: the two digits in base 2 of a number are axes of
        # their own, and are reversed.
        digits = (1, 1) if self.weight.shape[2] == 1 else (2, 2)
        kernels = self.weight.unflatten(2, digits)
        turned = [
            kernels.flip(
                [axis for axis, digit in ((2, turn & 2), (3, turn & 1)) if digit]
                + [4 + axis for axis in axes]
            )
            for turn, axes in enumerate(HALF_TURNS)
        ]
        return torch.stack(turned, dim=1).flatten(0, 1).flatten(1, 3)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(b, incoming channels, d, h, w) to (b, 4 · outgoing, …)."""
        kernels = self.turned_kernels()
        if maps.shape[2:] == kernels.shape[2:]:
            # One position is left. A product of matrices is that too, and libraries are far quicker at it.
            rows, columns = (one.permute(0, 2, 3, 4, 1).flatten(1) for one in (maps, kernels))
            return functional.linear(rows, columns)[:, :, None, None, None]
        return convolved(maps, kernels, stride=self.stride)

    def plain(self) -> nn.Conv3d:
        """The same as a plain layer."""
        return _plain(self.turned_kernels(), self.stride)


class HalfTurnNorm(nn.BatchNorm3d):
    """Batch normalisation with one gain, offset, mean and variance a field.

    Parameters
    ----------
    fields : number of fields; channels are four times as many.
    """

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(b, 4 · fields, d, h, w), normalised."""
        mean, variance, gain, offset = self.expanded()
        out = functional.batch_norm(
            maps, mean, variance, gain, offset, self.training, self.momentum or 0.0, self.eps
        )
        if self.training:
            # The four channels of a field have the same statistics but for the batch's chance.
            with torch.no_grad():
                self.running_mean.copy_(mean.view(-1, TURNS).mean(dim=1))  # type: ignore[union-attr]
                self.running_var.copy_(variance.view(-1, TURNS).mean(dim=1))  # type: ignore[union-attr]
        return out

    def expanded(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean, variance, gain and offset of each channel."""
        parts = self.running_mean, self.running_var, self.weight, self.bias
        return tuple(part.repeat_interleave(TURNS) for part in parts)  # type: ignore[union-attr, return-value]

    def plain(self) -> nn.BatchNorm3d:
        """The same as a plain layer, for inference."""
        layer = nn.BatchNorm3d(self.num_features * TURNS, eps=self.eps).eval()
        mean, variance, gain, offset = self.expanded()
        state = {"running_mean": mean, "running_var": variance, "weight": gain, "bias": offset}
        layer.load_state_dict(state, strict=False)
        return layer.to(mean.device)


class HalfTurnMean(nn.Module):
    """A kernel of 1 over the mean of each field's channels: no longer fields, but invariant channels.

    Parameters
    ----------
    fields : number of fields.
    outgoing : number of channels.
    """

    def __init__(self, fields: int, outgoing: int) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(fields, outgoing, kernel_size=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(b, 4 · fields, d, h, w) to (b, outgoing, d, h, w)."""
        return functional.conv3d(maps, self._kernels(), self.convolution.bias)

    def _kernels(self) -> torch.Tensor:
        return self.convolution.weight.repeat_interleave(TURNS, dim=1) / TURNS

    def plain(self) -> nn.Conv3d:
        """The same as a plain layer."""
        return _plain(self._kernels(), 1, self.convolution.bias)


HALF_TURN_LAYERS = (HalfTurnConv3d, HalfTurnNorm, HalfTurnMean)


def _plain(kernels: torch.Tensor, stride: int, bias: torch.Tensor | None = None) -> nn.Conv3d:
    outgoing, incoming, *edges = kernels.shape
    kind = OneChannelConv3d if incoming == 1 else nn.Conv3d
    layer = kind(incoming, outgoing, tuple(edges), stride=stride, bias=bias is not None)  # type: ignore[arg-type]
    layer.weight = nn.Parameter(kernels.detach().clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return layer.eval()
