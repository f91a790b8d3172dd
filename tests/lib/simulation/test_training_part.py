"""Simulated subvolumes in a data folder: they come and go, and what is somebody's own stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.recipe import Recipe
from tomotwin_lib.simulation.training_part import simulate_training_part

RECIPE = Recipe(
    tomogram_shape=(40, 60, 60), cut_shape=(40, 60, 60), crowding=0.02, subvolumes_per_class=2, tomograms=0
)


def subvolumes(folder: Path, part: str) -> list[str]:
    return sorted(path.name for path in (folder / "subvolumes" / part).iterdir())


def test_own_subvolumes_stay_and_simulated_ones_are_replaced(tmp_path: Path) -> None:
    own = tmp_path / "subvolumes" / "train" / "mine_1abc.mrc"
    own.parent.mkdir(parents=True)
    own.write_text("mine")

    made = simulate_training_part(tmp_path, RECIPE, progress=False)
    assert not made.reused
    kinds = ("1bar", "1rng", "1rod", "1shl", "1two")
    simulated = [f"sim_{kind}_000{index}.mrc" for kind in kinds for index in (0, 1)]
    assert subvolumes(tmp_path, "train") == ["mine_1abc.mrc", *simulated]
    assert subvolumes(tmp_path, "valid") == simulated[::2]
    files = list((tmp_path / "subvolumes").glob("*/sim_*"))
    before = {path: path.stat().st_mtime_ns for path in files}

    assert simulate_training_part(tmp_path, RECIPE, progress=False).reused
    assert {path: path.stat().st_mtime_ns for path in files} == before

    fewer = replace(RECIPE, subvolumes_per_class=1)
    assert not simulate_training_part(tmp_path, fewer, progress=False).reused
    assert subvolumes(tmp_path, "train") == ["mine_1abc.mrc", *simulated[::2]]
    assert own.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["simulated", "subvolumes"]


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    taken = tmp_path / "subvolumes" / "valid" / "sim_1bar_0000.mrc"
    taken.parent.mkdir(parents=True)
    taken.write_text("mine")
    with pytest.raises(InputError, match="was not simulated"):
        simulate_training_part(tmp_path, RECIPE, progress=False)
    assert taken.read_text() == "mine"
    assert subvolumes(tmp_path, "valid") == [taken.name]
