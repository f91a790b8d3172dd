"""Averaging over half turns: exact, the same densely, and the same for a turned particle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import read_volume, write_volume
from tomotwin_lib.networks.base import DenseNetwork, EmbeddingNetwork
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.networks.fully_convolutional import FullyConvolutional
from tomotwin_lib.networks.half_turn_layers import HALF_TURNS
from tomotwin_lib.networks.half_turns import average_half_turns
from tomotwin_lib.products import ReferenceEmbedding
from tomotwin_lib.similarity import check_same_network


def loaded(network: EmbeddingNetwork) -> LoadedNetwork:
    return LoadedNetwork(network.eval(), {"distance": "COSINE"}, Path("net.pth"), "0")


@pytest.fixture
def network() -> FullyConvolutional:
    torch.manual_seed(0)
    network = FullyConvolutional(width=2, output_channels=8)
    with torch.no_grad():
        network.train()(torch.randn(8, 1, 37, 37, 37))
    return network.eval()


def flipped(windows: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    return windows.flip([axis + 2 for axis in axes]) if axes else windows


class ByWindows(EmbeddingNetwork):
    """The same network, without the knowledge that it is dense."""

    def __init__(self, inner: FullyConvolutional) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return self.inner(windows)


@torch.no_grad()
def test_it_is_the_mean_over_the_turned_windows(network: FullyConvolutional) -> None:
    windows = torch.randn(3, 1, 37, 37, 37)
    expected = functional.normalize(sum(network(flipped(windows, axes)) for axes in HALF_TURNS), dim=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for kind in (network, ByWindows(network)):
        averaged = average_half_turns(loaded(kind)).network
        torch.testing.assert_close(averaged(windows), expected, atol=1e-5, rtol=0)
        for axes in HALF_TURNS:
            torch.testing.assert_close(averaged(flipped(windows, axes)), expected, atol=1e-5, rtol=0)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_dense_equals_window_by_window(network: FullyConvolutional, tmp_path: Path) -> None:
    write_volume(tmp_path / "t.mrc", np.random.default_rng(0).normal(size=(9, 11, 14)), 10.0)
    averaged = average_half_turns(loaded(network))
    volume = read_volume(tmp_path / "t.mrc")
    dense, windows = (
        embed_tomogram(averaged, volume, stride=3, method=method, device="cpu", progress=False)
        for method in ("dense", "windows")
    )
    np.testing.assert_allclose(dense.vectors, windows.vectors, atol=1e-5)
    assert dense.attributes["half_turns"] is True


def test_embeddings_with_and_without_are_not_compared(network: FullyConvolutional, tmp_path: Path) -> None:
    write_volume(tmp_path / "t.mrc", np.random.default_rng(0).normal(size=(9, 11, 14)), 10.0)
    averaged = average_half_turns(loaded(network))
    tomogram = embed_tomogram(
        averaged, read_volume(tmp_path / "t.mrc"), stride=8, device="cpu", progress=False
    )
    references = ReferenceEmbedding(tomogram.vectors[:1], ["r.mrc"], loaded(network).lineage())
    with pytest.raises(InputError, match="without --half_turns, the tomogram with"):
        check_same_network(tomogram, references)
    check_same_network(tomogram, ReferenceEmbedding(tomogram.vectors[:1], ["r.mrc"], averaged.lineage()))


class Lopsided(DenseNetwork):
    """Its second step looks to one side, which turned kernels do not turn."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(1, 4, 36, stride=2)

    def forward_dense(self, volume: torch.Tensor) -> torch.Tensor:
        return functional.normalize(self.layer(volume[..., :-1, :-1, :-1]), dim=1)


def test_layers_that_cannot_be_turned_are_refused() -> None:
    with pytest.raises(InputError, match="Lopsided has layers that cannot be turned"):
        average_half_turns(loaded(Lopsided()))
