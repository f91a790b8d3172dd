"""Embeddings of TomoTwin's own run, with one of its checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.embedding.grids import masked_sites, window_grid
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
    ("name", "stride", "padding"), [("embed_padded", 4, True), ("embed_unpadded", 3, False)]
)
def test_positions_vectors_and_lineage(
    name: str, stride: int, padding: bool, pipeline: Path, network: LoadedNetwork
) -> None:
    positions, vectors, attributes = stored(pipeline / name)
    tomogram = read_volume(pipeline / "tomogram.mrc")
    grid = window_grid(tomogram.data.shape, stride, padding=padding)
    np.testing.assert_array_equal(grid.positions(), positions)

    # Both ends and some rows between: all of them would take minutes.
    rows = np.unique(np.r_[0, len(positions) - 1, np.random.default_rng(0).integers(0, len(positions), 30)])
    chosen = np.zeros(tomogram.data.shape, dtype=np.int8)
    chosen[tuple(positions[rows].astype(int).T)] = 1
    mask = Volume(chosen, None, Path("mask.mrc"))
    embedding = embed_tomogram(network, tomogram, stride=stride, padding=padding, mask=mask, progress=False)
    np.testing.assert_array_equal(embedding.sites, rows)
    np.testing.assert_allclose(embedding.vectors, vectors[rows], atol=HALF_PRECISION)
    for key in ("window_size", "stride", "tomogram_input_shape", "padding", "modelmd5"):
        assert embedding.attributes[key] == attributes[key], key


def test_mask_leaves_the_same_rows(pipeline: Path) -> None:
    tomogram = read_volume(pipeline / "tomogram.mrc")
    grid = window_grid(tomogram.data.shape, 3, padding=False)
    sites = masked_sites(read_volume(pipeline / "mask.mrc"), grid, tomogram.data.shape, tomogram.path)
    np.testing.assert_array_equal(grid.positions(sites), stored(pipeline / "embed_masked")[0])


def test_references(pipeline: Path, network: LoadedNetwork) -> None:
    frame = pd.read_pickle(pipeline / "embed_refs" / "embeddings.temb")
    paths = [pipeline / path for path in frame["filepath"]]
    embedding = embed_subvolumes(network, paths, progress=False)
    np.testing.assert_allclose(
        embedding.vectors, frame.drop(columns="filepath").to_numpy(np.float32), atol=HALF_PRECISION
    )
