"""False peaks lie where the network sees something, off every particle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tomograms_to_train_on import CENTRES, two_shapes
from torch import nn

from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.training.hard_negatives import hard_negatives


class Middle(DenseNetwork):
    """A direction that turns to (1, 0) the brighter the window's middle voxel is."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward_dense(self, volume: torch.Tensor) -> torch.Tensor:
        half = self.window_size // 2
        inner = volume[:, 0, half:-half:2, half:-half:2, half:-half:2]
        return torch.stack([torch.cos(1 - inner / 20), torch.sin(1 - inner / 20)], dim=1)


def test_the_brightest_middles_off_the_particles_come_first() -> None:
    voxels = torch.zeros(41, 82, 82, dtype=torch.int8)
    # On sites that the network sees (even steps from 18): two off, one on a particle, one between sites.
    voxels[20, 40, 40], voxels[22, 50, 30], voxels[20, 20, 20], voxels[21, 41, 61] = 90, 120, 127, 127
    tomogram = replace(two_shapes(0), voxels=voxels)
    found = hard_negatives(
        Middle().eval(), torch.tensor([[5.0, 0.0]]), tomogram, np.random.default_rng(0), off=3.0, most=2
    )
    assert [place.tolist() for place in found] == [[22, 50, 30], [20, 40, 40]]


def test_a_part_of_a_larger_tomogram_gives_places_of_the_whole() -> None:
    voxels = torch.zeros(60, 150, 140, dtype=torch.int8)
    voxels[30:32, 74:76, 70:72] = 100  # whatever the part's corner, a site lies in it
    tomogram = replace(two_shapes(0), voxels=voxels)
    for seed in range(5):
        (place,) = hard_negatives(
            Middle().eval(), torch.tensor([[1.0, 0.0]]), tomogram, np.random.default_rng(seed), off=3, most=1
        )
        assert voxels[tuple(place)] == 100
        assert np.linalg.norm(CENTRES - place, axis=1).min() >= 3
