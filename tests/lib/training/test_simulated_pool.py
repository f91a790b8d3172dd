"""Pools of simulated tomograms: labelled as they are drawn, the same again, and never mixed up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.training.labelled_tomograms import GREY_LEVELS
from tomotwin_lib.training.simulated_pool import PoolRanges, labelled_structures, simulated_pool

RANGES = PoolRanges(
    shape=(40, 60, 60), structures=1, made_up=1, shapes=1, crowding=(0.02, 0.03), snr=(5.0, 5.0)
)


@pytest.fixture
def structures(tmp_path: Path) -> Path:
    """Two solid balls, of radius 5 and 4 voxels."""
    squares = sum(axis**2 for axis in np.ogrid[-10:11, -10:11, -10:11])
    for label, radius in (("1abc", 5), ("2xyz", 4)):
        ball = 1 / (1 + np.exp(2 * (np.sqrt(squares) - radius)))
        write_volume(tmp_path / "maps" / f"{label}.mrc", ball, 10.0)
    return tmp_path / "maps"


def pool(folder: Path, count: int = 1, **options: Any) -> list[Any]:
    return simulated_pool(folder, count, **{"made_up": 2, "ranges": RANGES, "progress": False} | options)


def test_particles_are_bright_where_they_are_said_to_be(tmp_path: Path, structures: Path) -> None:
    ranges = replace(RANGES, with_distractors=0.0, made_up=0, shapes=0)
    (tomogram,) = pool(tmp_path / "pool", structures=structures, exclude=["2XYZ"], ranges=ranges)
    assert tomogram.voxels.shape == RANGES.shape and not len(tomogram.distractors)
    assert set(tomogram.labels) == {"1abc"} and len(tomogram.labels) == len(tomogram.centres)
    near = np.zeros(RANGES.shape, bool)
    for z, y, x in np.rint(tomogram.centres).astype(int):
        near[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = True
    voxels = tomogram.voxels.numpy() / GREY_LEVELS
    assert voxels[near].mean() > voxels[~near].mean() + 1  # a deviation


def test_the_noise_apart_is_all_that_is_no_signal(tmp_path: Path, structures: Path) -> None:
    ranges = replace(
        RANGES, with_distractors=0.0, snr=(0.1, 0.1), low_pass_in_angstrom=(20.0,), made_up=0, shapes=0
    )
    options = {"structures": structures, "exclude": ["2xyz"], "ranges": ranges}
    (tomogram,) = pool(tmp_path / "pool", **options)
    assert tomogram.noise is not None
    noise = tomogram.noise.numpy().astype(float)
    signal = tomogram.voxels.numpy() - noise
    assert noise.std() > 0.8 * GREY_LEVELS and signal.std() < 0.5 * GREY_LEVELS
    # Noise and signal have nothing in common, and particles are in the signal.
    assert abs(np.corrcoef(noise.ravel(), signal.ravel())[0, 1]) < 0.05
    at = tuple(np.rint(tomogram.centres).astype(int).T)
    assert signal[at].mean() > 3 * signal.std() / np.sqrt(len(tomogram.centres))
    assert abs(noise[at].mean()) < 4 * noise.std() / np.sqrt(len(tomogram.centres))
    (read,) = pool(tmp_path / "pool", **options)
    assert read.noise.equal(tomogram.noise)


def test_more_of_a_pool_leaves_what_there_is(tmp_path: Path) -> None:
    (first,) = pool(tmp_path / "pool")
    stamp = (tmp_path / "pool" / "0000.npz").stat().st_mtime_ns
    again, second = pool(tmp_path / "pool", 2)
    assert (tmp_path / "pool" / "0000.npz").stat().st_mtime_ns == stamp
    assert again.voxels.equal(first.voxels) and again.labels == first.labels
    assert not second.voxels.equal(first.voxels)
    (elsewhere,) = pool(tmp_path / "other")
    assert elsewhere.voxels.equal(first.voxels)
    np.testing.assert_array_equal(elsewhere.centres, first.centres)


def test_pools_are_not_mixed(tmp_path: Path) -> None:
    pool(tmp_path)
    with pytest.raises(InputError, match=r"made with other seed \(0, not 1\)"):
        pool(tmp_path, seed=1)
    with pytest.raises(InputError, match=r"made with other made_up \(2, not 1\), ranges"):
        pool(tmp_path, made_up=1, ranges=PoolRanges())
    (tmp_path / "pool.json").write_text("[")
    with pytest.raises(InputError, match="no record"):
        pool(tmp_path)
    (tmp_path / "pool.json").unlink()
    with pytest.raises(InputError, match="npz files and no pool"):
        pool(tmp_path)


def test_bad_parameters_are_refused(tmp_path: Path, structures: Path) -> None:
    for options, told in (
        ({"made_up": 901}, "901 molecules"),
        ({"count": 0}, "number of tomograms: 0"),
        ({"seed": -1}, "-1 is no seed"),
        ({"structures": tmp_path / "none"}, "no such file or folder"),
        ({"structures": structures, "exclude": ["9zzz"]}, "no structure 9zzz"),
        ({"structures": structures, "exclude": ["1abc", "2xyz"]}, "no density map"),
    ):
        with pytest.raises(InputError, match=told):
            pool(tmp_path / "pool", **options)
    assert not list((tmp_path / "pool").glob("*.npz"))
    with pytest.raises(InputError, match="snr"):
        PoolRanges(snr=(0.0, 1.0))
    (structures / "other_1abc.map").write_bytes(b"")
    with pytest.raises(InputError, match="label 1abc too"):
        labelled_structures(structures)
