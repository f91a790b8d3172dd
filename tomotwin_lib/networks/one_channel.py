"""Convolutions of a single channel, which the first layer of every network is."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

Spacing = int | tuple[int, ...]


class OneChannelConv3d(nn.Conv3d):
    """A convolution without padding of one channel: see :func:`convolved`."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(b, 1, d, h, w) to (b, channel, …)."""
        return convolved(maps, self.weight, self.bias, stride=self.stride, dilation=self.dilation)


def convolved(
    maps: torch.Tensor,
    kernels: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    stride: Spacing = 1,
    dilation: Spacing = 1,
) -> torch.Tensor:
    """The convolution without padding of (b, channel, d, h, w) with (channel, channel, d, h, w).

    With one channel CPUs take up to five times as long in 16 bits as in float32. Where 16 bits are wanted of
    them it is then computed in float32, and only the result is in 16 bits.
    """
    if maps.shape[1] > 1 or maps.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return functional.conv3d(maps, kernels, bias, stride=stride, dilation=dilation)
    with torch.autocast("cpu", enabled=False):
        out = functional.conv3d(maps.float(), kernels, bias, stride=stride, dilation=dilation)
    return out.to(torch.get_autocast_dtype("cpu"))
