"""Small networks and volumes for the tests of embedding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.networks.checkpoint import LoadedNetwork


class WindowNetwork(EmbeddingNetwork):
    """Sees windows of 5³: a few bent projections of the voxels, and dropout, for training only."""

    window_size = 5

    def __init__(self) -> None:
        super().__init__()
        self.projections = nn.Linear(5**3, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return functional.normalize(self.dropout(torch.tanh(self.projections(windows.flatten(1)))), dim=1)


class VolumeNetwork(WindowNetwork):
    """The same for tomograms that are standardised as a whole."""

    standardisation = "volume"


NETWORKS = {"window": WindowNetwork, "volume": VolumeNetwork}


@pytest.fixture(params=["window", "volume"])
def loaded(request: pytest.FixtureRequest) -> LoadedNetwork:
    """A network of each kind of standardisation."""
    return load(NETWORKS[request.param])


@pytest.fixture
def window_loaded() -> LoadedNetwork:
    """A network that standardises windows."""
    return load(WindowNetwork)


def load(network_class: Callable[[], EmbeddingNetwork]) -> LoadedNetwork:
    torch.manual_seed(5)
    configuration: dict[str, Any] = {"identifier": "test", "window_size": (5, 5, 5)}
    return LoadedNetwork(network_class().eval(), configuration, Path("model.pth"), "0" * 32)


@pytest.fixture
def volume() -> Volume:
    """Noise of odd edges on a large offset, as 16-bit integers."""
    data = np.random.default_rng(2).normal(1000, 50, size=(9, 12, 11)).astype(np.int16)
    return Volume(data, 10.0, Path("tomogram.mrc"))
