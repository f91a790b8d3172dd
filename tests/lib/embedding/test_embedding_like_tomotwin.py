"""Embeddings of TomoTwin's own run, with one of its checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.embedding.grids import window_grid
from tomotwin_lib.embedding.subvolumes import embed_subvolumes
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.formats.volumes import Volume, read_volume
from tomotwin_lib.networks.checkpoint import LoadedNetwork, load_network

#: What storing the vectors in 16-bit floats costs, by the fixtures' description.
HALF_PRECISION = 2e-3


@pytest.fixture(scope="module")
def pipeline(shared: Path) -> Path:
    return shared / "interop" / "pipeline"


@pytest.fixture(scope="module")
def network(pipeline: Path) -> LoadedNetwork:
    return load_network(pipeline / "model.pth", "cpu")


def stored(path: Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """Positions z y x, vectors and attributes of a ``.temb`` of a tomogram."""
    frame = pd.read_pickle(path / "tomogram_embeddings.temb")
    return frame[["Z", "Y", "X"]].to_numpy(np.float32), frame.iloc[:, 3:].to_numpy(np.float32), frame.attrs


@pytest.mark.parametrize(
    ("name", "stride", "padding", "mask"),
    [
        # 2,880 windows take some three minutes on one core, the others a quarter of one.
        pytest.param("embed_padded", 4, True, None, marks=pytest.mark.exhaustive),
        ("embed_unpadded", 3, False, None),
        ("embed_masked", 3, False, "mask.mrc"),
    ],
)
def test_every_row_and_the_lineage(
    name: str, stride: int, padding: bool, mask: str | None, pipeline: Path, network: LoadedNetwork
) -> None:
    positions, vectors, attributes = stored(pipeline / name)
    embedding = embed_tomogram(
        network,
        read_volume(pipeline / "tomogram.mrc"),
        stride=stride,
        padding=padding,
        mask=read_volume(pipeline / mask) if mask else None,
        progress=False,
    )
    np.testing.assert_array_equal(embedding.positions(), positions)
    np.testing.assert_allclose(embedding.vectors, vectors, rtol=0, atol=HALF_PRECISION)
    for key in ("window_size", "stride", "tomogram_input_shape", "padding", "modelmd5"):
        assert embedding.attributes[key] == attributes[key], key


def test_some_rows_with_padding(pipeline: Path, network: LoadedNetwork) -> None:
    """What the exhaustive test above compares for every row, for both ends and some between."""
    positions, vectors, _ = stored(pipeline / "embed_padded")
    tomogram = read_volume(pipeline / "tomogram.mrc")
    np.testing.assert_array_equal(window_grid(tomogram.data.shape, 4).positions(), positions)
    rows = np.unique(np.r_[0, len(positions) - 1, np.random.default_rng(0).integers(0, len(positions), 30)])
    chosen = np.zeros(tomogram.data.shape, dtype=np.int8)
    chosen[tuple(positions[rows].astype(int).T)] = 1
    mask = Volume(chosen, None, Path("mask.mrc"))
    embedding = embed_tomogram(network, tomogram, stride=4, mask=mask, progress=False)
    np.testing.assert_array_equal(embedding.sites, rows)
    np.testing.assert_allclose(embedding.vectors, vectors[rows], rtol=0, atol=HALF_PRECISION)


def test_references(pipeline: Path, network: LoadedNetwork) -> None:
    frame = pd.read_pickle(pipeline / "embed_refs" / "embeddings.temb")
    paths = [pipeline / path for path in frame["filepath"]]
    embedding = embed_subvolumes(network, paths, progress=False)
    np.testing.assert_allclose(
        embedding.vectors, frame.drop(columns="filepath").to_numpy(np.float32), rtol=0, atol=HALF_PRECISION
    )
