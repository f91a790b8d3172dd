"""References and tomograms that were sampled differently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.networks.checkpoint import load_network, save_checkpoint
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.voxel_sizes import differing_voxel_sizes, unlike_the_network, voxel_sizes

NETWORK = {"identifier": "FullyConvolutional", "network_config": {"width": 2}, "distance": "COSINE"}


@pytest.mark.parametrize(
    ("tomogram", "reference", "differs"),
    [(10.0, 10.0, False), (10.0, 10.9, False), (10.0, 4.0, True), (10.0, 11.2, True), (None, 4.0, False)],
)
def test_more_than_a_tenth_is_told(
    tmp_path: Path, tomogram: float | None, reference: float, differs: bool
) -> None:
    data = np.zeros((4, 4, 4), dtype=np.float32)
    write_volume(tmp_path / "t.mrc", data, tomogram)
    write_volume(tmp_path / "unknown.mrc", data, None)
    write_volume(tmp_path / "r.mrc", data, reference)
    paths = [tmp_path / "gone.mrc", tmp_path / "unknown.mrc", tmp_path / "r.mrc"]
    told = differing_voxel_sizes(tmp_path / "t.mrc", paths)
    assert (told is not None) == differs
    if told is not None:
        assert "r.mrc" in told and f"{reference:g} Å" in told


def test_a_tomogram_that_is_gone_tells_nothing(tmp_path: Path) -> None:
    assert differing_voxel_sizes(tmp_path / "gone.mrc", [tmp_path / "gone.mrc"]) is None


@pytest.mark.parametrize(
    ("trained", "tomogram", "differs"),
    [(10.0, 10.9, False), (10.0, 4.0, True), (5.0, 10.0, True), (None, 4.0, False), (10.0, None, False)],
)
def test_a_network_knows_the_voxel_size_that_it_was_trained_at(
    tmp_path: Path, trained: float | None, tomogram: float | None, differs: bool
) -> None:
    network = build_network(NETWORK)
    save_checkpoint(
        tmp_path / "n.pth", network, NETWORK, epoch=0, loss=0, best_loss=0, best_f1=0,
        voxel_size_in_angstrom=trained,
    )  # fmt: skip
    write_volume(tmp_path / "t.mrc", np.zeros((4, 4, 4), np.float32), tomogram)
    sizes = voxel_sizes([tmp_path / "t.mrc"])
    told = unlike_the_network(*next(iter(sizes.items())), load_network(tmp_path / "n.pth", "cpu"))
    assert (told is not None) == differs
    if told is not None:
        assert f"t.mrc has voxels of {tomogram:g} Å and n.pth was trained at {trained:g} Å" in told
