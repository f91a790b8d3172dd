"""TomoTwin's network, from the description of its geometry."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

GROUPS = 64
OUTPUT_CHANNELS = 32


class PublishedSiameseNet(nn.Module):
    """Five double convolutions without padding, one pooling, three linear layers: 77.6 million weights.

    Follows: "Pad (1, 2) with zeros on each axis; five layers of conv3–norm–LeakyReLU–conv3–norm–LeakyReLU
    without padding, 64 to 1,024 channels, where the two norms of a layer are one shared module; max-pool 2
    after the first layer only; adaptive average pool to 2³; flatten; dropout–linear 2048–LeakyReLU–linear
    2048–LeakyReLU–linear; L2 norm." Written apart from the library's, so that what is done to make that one
    faster is not done to this one; the names of the weights agree.
    """

    def __init__(self) -> None:
        super().__init__()
        for number, (inputs, outputs) in enumerate(pairwise((1, 64, 128, 256, 512, 1024))):
            norm = nn.GroupNorm(GROUPS, outputs)
            layer = nn.Sequential(
                nn.Conv3d(inputs, outputs, 3), norm, nn.LeakyReLU(),
                nn.Conv3d(outputs, outputs, 3), norm, nn.LeakyReLU(),
            )  # fmt: skip
            self.add_module(f"conv_layer{number}", layer)
        self.headnet = nn.Sequential(
            nn.Dropout(),
            nn.Linear(1024 * 2**3, 2048),
            nn.LeakyReLU(),
            nn.Linear(2048, 2048),
            nn.LeakyReLU(),
            nn.Linear(2048, OUTPUT_CHANNELS),
        )

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Embed (b, 1, 37, 37, 37); returns (b, channel), of unit norm."""
        maps = functional.pad(windows, (1, 2, 1, 2, 1, 2))
        for number in range(5):
            maps = self.get_submodule(f"conv_layer{number}")(maps)
            if number == 0:
                maps = functional.max_pool3d(maps, 2)
        pooled = functional.adaptive_avg_pool3d(maps, 2)
        return functional.normalize(self.headnet(pooled.flatten(1)), dim=1)
