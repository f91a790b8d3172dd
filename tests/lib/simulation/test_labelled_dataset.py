"""Labelled data sets of crowded specimens: what is written agrees with the truth written beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import read_box_sizes, read_particle_positions
from tomotwin_lib.formats.volumes import find_volumes, read_volume, write_volume
from tomotwin_lib.simulation.dataset import SimulatedDataset
from tomotwin_lib.simulation.labelled_dataset import simulate_labelled_dataset
from tomotwin_lib.simulation.recipe import Recipe
from tomotwin_lib.simulation.structures import find_structures

SMALL: dict[str, Any] = {
    "tomogram_shape": (48, 64, 60),
    "cut_shape": (40, 60, 60),
    "crowding": 0.03,
    "subvolumes_per_class": 2,
}


@pytest.fixture(scope="module")
def structure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The map of a compact molecule: an ellipsoid of half axes 40, 50 and 60 Å."""
    axes = np.meshgrid(*[np.arange(-10, 11)] * 3, indexing="ij")
    distance = np.sqrt(sum((axis / half) ** 2 for axis, half in zip(axes, (4, 5, 6), strict=True)))
    path = tmp_path_factory.mktemp("maps") / "1abc.mrc"
    write_volume(path, np.clip(4 - 4 * distance, 0, 1), 10.0)
    return path


@pytest.fixture(scope="module")
def recipe(structure: Path) -> Recipe:
    return Recipe(
        structures=(structure,), made_up=1, tomograms=2, distractors=True, snr=(2.0, 4.0),
        thickness_in_nanometres=(38.0, 42.0), seed=3, **SMALL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> SimulatedDataset:
    return simulate_labelled_dataset(tmp_path_factory.mktemp("data"), recipe, progress=False)


def test_every_file_is_there(made: SimulatedDataset) -> None:
    assert not made.reused
    assert [path.name for path in made.tomograms] == ["simulated_01.mrc", "simulated_02.mrc"]
    assert [path.name for path in made.references] == ["1abc.mrc", "0000.mrc"]
    assert made.picture is not None and made.picture.read_bytes().startswith(b"\x89PNG")
    for path in (*made.tomograms, *made.masks):
        volume = read_volume(path)
        assert volume.data.shape == (48, 64, 60) and volume.voxel_size_in_angstrom == pytest.approx(10)
    for folder, wanted in ((made.training, 4), (made.validation, 2), (made.references[0].parent, 2)):
        files = find_volumes([folder])
        assert len(files) == wanted
        assert all(read_volume(path).data.shape == (37, 37, 37) for path in files)
    assert [path for path in made.folder.iterdir() if path.name.startswith(".")] == []


def test_the_mask_agrees_with_the_positions(made: SimulatedDataset) -> None:
    assert made.mask_names is not None
    names = json.loads(made.mask_names.read_text())
    assert list(names.items())[:4] == [("0", "background"), ("1", "1abc"), ("2", "0000"), ("3", "membrane")]
    for positions, mask_file in zip(made.positions, made.masks, strict=True):
        mask = np.asarray(read_volume(mask_file).data)
        assert np.issubdtype(mask.dtype, np.integer) and mask.min() == 0
        particles = read_particle_positions(positions)
        assert list(particles.columns) == ["class", "X", "Y", "Z", "phi", "psi", "theta"]
        compact = particles[particles["class"] == "1abc"]
        assert len(compact) > 0
        z, y, x = np.rint(compact[["Z", "Y", "X"]].to_numpy()).astype(int).T
        assert (mask[z, y, x] == 1).all()
        # Nothing lies outside the ice, which is at most 42 of 48 voxels deep, in the middle.
        assert not mask[:3].any() and not mask[-3:].any()


def test_particles_are_dark_in_tomograms_and_bright_in_subvolumes(made: SimulatedDataset) -> None:
    for tomogram, mask_file in zip(made.tomograms, made.masks, strict=True):
        data, mask = (np.asarray(read_volume(path).data, dtype=float) for path in (tomogram, mask_file))
        assert data[mask == 1].mean() < data[mask == 0].mean() - 10
    for path in (made.training / "sim_1abc_0000.mrc", made.references[0]):
        window = np.asarray(read_volume(path).data, dtype=float)
        assert window[16:21, 16:21, 16:21].mean() > window.mean() + 20


def test_box_sizes_are_those_of_the_molecules(made: SimulatedDataset) -> None:
    sizes = read_box_sizes(made.box_sizes)
    assert isinstance(sizes, dict) and set(sizes) == {"1abc", "0000"}
    # 120 Å at the longest, and what the soft edge adds.
    assert 13 <= sizes["1abc"] <= 15


def test_the_same_recipe_gives_the_same_bytes_and_is_made_once(
    made: SimulatedDataset, recipe: Recipe, tmp_path: Path
) -> None:
    fewer = replace(recipe, tomograms=1, subvolumes_per_class=1)
    again = simulate_labelled_dataset(tmp_path / "again", fewer, progress=False)
    pairs = [
        (again.tomograms[0], made.tomograms[0]),
        (again.masks[0], made.masks[0]),
        (again.references[1], made.references[1]),
    ]
    for one, other in pairs:  # their headers tell when they were written
        np.testing.assert_array_equal(read_volume(one).data, read_volume(other).data, str(one))
    assert again.positions[0].read_bytes() == made.positions[0].read_bytes()
    assert made.positions[0].read_bytes() != made.positions[1].read_bytes()
    there = simulate_labelled_dataset(made.folder, recipe, progress=False)
    assert there.reused and there.references == made.references
    with pytest.raises(InputError, match="seed 3 instead of 4"):
        simulate_labelled_dataset(made.folder, replace(recipe, seed=4), progress=False)
    with pytest.raises(InputError, match=r"structures \S*1abc\S* instead of none"):
        simulate_labelled_dataset(made.folder, replace(recipe, structures=()), progress=False)


def test_a_range_of_voxel_sizes(structure: Path, tmp_path: Path) -> None:
    recipe = Recipe(structures=(structure,), voxel_size_in_angstrom=(8.0, 12.0), **SMALL)
    made = simulate_labelled_dataset(tmp_path / "data", recipe, progress=False)
    drawn = read_volume(made.tomograms[0]).voxel_size_in_angstrom
    assert drawn is not None and 8 <= drawn <= 12 and drawn != 10
    assert read_volume(made.references[0]).voxel_size_in_angstrom == pytest.approx(10)


def test_ranges_are_drawn_within_their_ends(recipe: Recipe) -> None:
    wide = replace(recipe, snr=(0.05, 0.5), defocus_in_micrometres=(2.0, 5.0))
    drawn = [wide.draw_imaging(np.random.default_rng(seed)) for seed in range(200)]
    ratios = np.array([imaging.snr for imaging in drawn])
    assert ratios.min() >= 0.05 and ratios.max() <= 0.5
    # Evenly in the logarithm: half of them lie below the geometric mean of the ends.
    assert abs((ratios < np.sqrt(0.05 * 0.5)).mean() - 0.5) < 0.12
    assert min(imaging.defocus_in_micrometres for imaging in drawn) >= 2
    fixed = replace(recipe, snr=(0.3, 0.3)).draw_imaging(np.random.default_rng(0))
    assert fixed.snr == 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crowding": None}, "Give one of the two"),
        ({"particles_per_class": 2}, "Give one of the two"),
        ({"crowding": 0.5}, "share is 0.5"),
        ({"snr": (0.0, 0.1)}, "above 0"),
        ({"snr": (0.2, 0.1)}, "no range"),
        ({"voxel_size_in_angstrom": (10.0, np.inf)}, "no range"),
        ({"thickness_in_nanometres": (20.0, 40.0)}, "thinner than a window"),
        ({"tomogram_shape": (20, 60, 60)}, "holds no window"),
        ({"made_up": 1001}, "at most 1000"),
        ({"made_up": -1}, "0 or more"),
        ({"method": "magic"}, "unknown"),
    ],
)
def test_recipes_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(**{**SMALL, **settings})


def test_what_cannot_be_made_is_refused_before_anything_is_written(structure: Path, tmp_path: Path) -> None:
    twin = tmp_path / "other" / "1abc_2.mrc"
    twin.parent.mkdir()
    twin.write_bytes(structure.read_bytes())
    for settings, message in (
        ({"structures": (structure, twin)}, "1abc.mrc and 1abc_2.mrc give the label 1abc"),
        ({"structures": (tmp_path / "none.mrc",)}, "no such file"),
        ({"voxel_size_in_angstrom": (1.0, 1.0), "structures": (structure,)}, "do not fit"),
        ({"crowding": None, "particles_per_class": 5000, "structures": (structure,)}, "can be filled"),
    ):
        with pytest.raises(InputError, match=message):
            simulate_labelled_dataset(tmp_path / "out", Recipe(**{**SMALL, **settings}), progress=False)
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_structures_are_found_in_folders(tmp_path: Path) -> None:
    for name in ("2def.cif.gz", "1abc.mrc", ".hidden.mrc", "notes.txt", "3ghi.PDB"):
        (tmp_path / name).write_text("")
    found = find_structures([tmp_path, tmp_path / "1abc.mrc"])
    assert [path.name for path in found] == ["1abc.mrc", "2def.cif.gz", "3ghi.PDB"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no map or model"):
        find_structures([tmp_path / "empty"])
