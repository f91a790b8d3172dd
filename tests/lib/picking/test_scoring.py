"""Scoring a tomogram in one sweep: the same map and picks as by way of the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tomotwin_lib.embedding.subvolumes import embed_subvolumes
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.frames import (
    read_similarity_map,
    read_tomogram_embedding,
    write_similarity_map,
    write_tomogram_embedding,
)
from tomotwin_lib.formats.volumes import Volume, read_volume, write_volume
from tomotwin_lib.locating import locate
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.networks.fully_convolutional import FullyConvolutional
from tomotwin_lib.products import ReferenceEmbedding
from tomotwin_lib.scoring import score_tomogram
from tomotwin_lib.similarity import similarity_map


@pytest.fixture(scope="module")
def loaded() -> LoadedNetwork:
    torch.manual_seed(0)
    network = FullyConvolutional(width=2, output_channels=8)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.randn(8, 1, 37, 37, 37))
    network.requires_grad_(False).eval()
    return LoadedNetwork(network, {"distance": "COSINE"}, Path("model.pth"), "0" * 32)


@pytest.fixture(scope="module")
def tomogram(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    path = tmp_path_factory.mktemp("scoring") / "tomo.mrc"
    write_volume(path, np.random.default_rng(1).standard_normal((40, 44, 50), dtype=np.float32), 10.0)
    return read_volume(path)


@pytest.fixture(scope="module")
def references(loaded: LoadedNetwork, tomogram: Volume) -> ReferenceEmbedding:
    folder = tomogram.path.parent
    for name, (z, y, x) in {"1abc": (20, 20, 20), "2xyz": (20, 24, 30)}.items():
        window = -tomogram.data[z - 18 : z + 19, y - 18 : y + 19, x - 18 : x + 19]
        write_volume(folder / f"{name}.mrc", window, 10.0)
    return embed_subvolumes(loaded, [folder / "1abc.mrc", folder / "2xyz.mrc"], progress=False)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"stride": (1, 1, 2), "padding": False},
        {"stride": 6, "method": "windows", "batch_size": 7},
        {"stride": 4, "z_range": (8, 30)},
    ],
    ids=["dense", "unpadded", "windows", "slab"],
)
def test_the_map_and_the_picks_are_those_by_way_of_the_file(
    loaded: LoadedNetwork,
    tomogram: Volume,
    references: ReferenceEmbedding,
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    write_tomogram_embedding(tmp_path / "t.temb", embed_tomogram(loaded, tomogram, progress=False, **options))
    stored = similarity_map(read_tomogram_embedding(tmp_path / "t.temb"), references, progress=False)
    write_similarity_map(tmp_path / "t.tmap", stored)
    detour = read_similarity_map(tmp_path / "t.tmap")
    direct = score_tomogram(loaded, tomogram, references, progress=False, **options)
    assert (direct.grid, direct.references) == (detour.grid, detour.references)
    # A block of another shape may be multiplied in another order, which rarely rounds the other way.
    np.testing.assert_allclose(direct.values, detour.values, atol=1e-3)
    assert (direct.values == detour.values).mean() > 0.999
    expected, found = (
        locate(part, tolerance=0.3, global_min=-1, box_sizes=9, progress=False) for part in (detour, direct)
    )
    assert len(expected)
    pd.testing.assert_frame_equal(found, expected)
    assert {"modelmd5", "stride", "filepath", "window_size"} <= set(direct.attributes)


def test_a_mask_leaves_its_sites(
    loaded: LoadedNetwork, tomogram: Volume, references: ReferenceEmbedding
) -> None:
    chosen = np.zeros(tomogram.data.shape, dtype=np.int8)
    chosen[10:30, 5:20, 8:40] = 1
    mask = Volume(chosen, None, Path("mask.mrc"))
    whole = score_tomogram(loaded, tomogram, references, stride=4, progress=False)
    part = score_tomogram(loaded, tomogram, references, stride=4, mask=mask, progress=False)
    assert part.sites is not None and 0 < len(part.sites) < len(whole.values)
    np.testing.assert_array_equal(part.values, whole.values[part.sites])


def test_references_of_another_network_are_refused_before_any_work(
    loaded: LoadedNetwork, tomogram: Volume, references: ReferenceEmbedding
) -> None:
    other = replace(loaded, md5="1" * 32)
    with pytest.raises(InputError, match="same network"):
        score_tomogram(other, tomogram, references, progress=False)
