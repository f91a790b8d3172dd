"""What every embedding network promises."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn


class EmbeddingNetwork(nn.Module):
    """A network that turns a cubic window of a tomogram into a vector of unit norm.

    Attributes
    ----------
    window_size : edge of the window, in voxels.
    standardisation : how a tomogram is brought to zero mean and unit deviation before the network sees it.
        ``"window"``: each window by its own statistics; ``"volume"``: the whole tomogram once, which is what
        makes the value at a voxel independent of the window it is seen through. A subvolume that comes
        as a file is always standardised by its own statistics: it has no others.
    half_turn_invariant : whether a window and its half turns about the three axes have the same embedding.
    """

    window_size: ClassVar[int] = 37
    standardisation: ClassVar[Literal["window", "volume"]] = "window"
    half_turn_invariant: bool = False

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Embed windows.

        Parameters
        ----------
        windows : (b, 1, d, h, w), standardised, protein bright.

        Returns
        -------
        (b, channel), rows of unit norm.
        """
        raise NotImplementedError


class DenseNetwork(EmbeddingNetwork):
    """A network that also embeds a whole volume at once, with the result of going window by window.

    Attributes
    ----------
    total_stride : distance of neighbouring windows in :meth:`forward_dense`, in voxels.
    """

    standardisation: ClassVar[Literal["window", "volume"]] = "volume"
    total_stride: ClassVar[int] = 2

    def forward_dense(self, volume: torch.Tensor) -> torch.Tensor:
        """Embed every window of a volume whose first voxel lies on a multiple of the total stride.

        Parameters
        ----------
        volume : (b, 1, d, h, w), standardised, protein bright, each edge at least the window size.

        Returns
        -------
        (b, channel, (d − window) // stride + 1, …, …), unit norm along the channels.
        """
        raise NotImplementedError

    def folded(self) -> nn.Module:
        """A form for inference, which a network may have cheaper than itself.

        Returns
        -------
        A module from a volume, as for :meth:`forward_dense`, to vectors of the same directions, of any norm.
        """
        return _AsItIs(self)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return self.forward_dense(windows).flatten(1)


class _AsItIs(nn.Module):
    def __init__(self, network: DenseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return self.network.forward_dense(volume)
