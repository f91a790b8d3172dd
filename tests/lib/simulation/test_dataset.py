"""The folder that a simulated data set makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import label_from_name, read_box_sizes, read_particle_positions
from tomotwin_lib.formats.volumes import read_subvolume, read_volume
from tomotwin_lib.simulation import dataset
from tomotwin_lib.simulation.dataset import SimulatedDataset, simulate_dataset
from tomotwin_lib.simulation.microscope import Microscope
from tomotwin_lib.simulation.particles import KINDS, WINDOW
from tomotwin_lib.simulation.tomograms import simulate_tomogram

SMALL: dict[str, Any] = {
    "tomogram_shape": (48, 80, 100),
    "tomograms": 2,
    "particles_per_class": 1,
    "subvolumes_per_class": 3,
    "cut_shape": (60, 96, 96),
    "progress": False,
}
LABELS_IN_HEADER = slice(224, 1024)  # they hold the date of writing


def content(folder: Path) -> dict[str, bytes]:
    """Every file's bytes, without the dates in the headers of volumes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            raw = bytearray(path.read_bytes())
            if path.suffix == ".mrc":
                raw[LABELS_IN_HEADER] = b""
            found[path.relative_to(folder).as_posix()] = bytes(raw)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimulatedDataset:
    return simulate_dataset(tmp_path_factory.mktemp("simulated") / "demo", seed=5, **SMALL)


def test_the_folder_is_laid_out_as_a_users(made: SimulatedDataset) -> None:
    assert sorted(path.name for path in made.folder.iterdir()) == [
        "ground_truth",
        "references",
        "simulation.json",
        "subvolumes",
        "tomograms",
    ]
    assert not made.reused
    assert [path.stem for path in made.tomograms] == ["simulated_01", "simulated_02"]
    assert [path.stem for path in made.positions] == ["simulated_01", "simulated_02"]
    assert all(path.is_file() for path in (*made.tomograms, *made.positions, *made.references))
    assert read_box_sizes(str(made.box_sizes)) == {code: kind.box_size for code, kind in KINDS.items()}


def test_file_names_carry_the_labels(made: SimulatedDataset) -> None:
    for folder, expected in ((made.training, 3), (made.validation, 1), (made.references[0].parent, 1)):
        labels = [label_from_name(path.name) for path in folder.glob("*.mrc")]
        assert sorted(labels) == sorted(list(KINDS) * expected)


def test_volumes_have_the_voxel_size_and_the_window(made: SimulatedDataset) -> None:
    for path in made.tomograms:
        volume = read_volume(path)
        assert volume.voxel_size_in_angstrom == 10.0
        assert volume.data.shape == SMALL["tomogram_shape"]
        assert np.std(volume.data) == pytest.approx(30, abs=0.5)
    subvolumes = [*made.training.iterdir(), *made.validation.iterdir(), *made.references]
    for path in subvolumes:
        assert read_subvolume(path, WINDOW).shape == (WINDOW,) * 3
        assert read_volume(path).voxel_size_in_angstrom == 10.0


def test_the_truth_lies_where_the_tomogram_has_its_particles(made: SimulatedDataset) -> None:
    positions = read_particle_positions(made.positions[0])
    assert list(positions.columns) == ["class", "X", "Y", "Z", "phi", "psi", "theta"]
    assert sorted(positions["class"]) == sorted(KINDS)
    again = simulate_tomogram(
        SMALL["tomogram_shape"], 1, rng=np.random.default_rng([5, 0, 0]), snr=0.15, microscope=Microscope()
    )
    voxels = np.asarray(read_volume(made.tomograms[0]).data, dtype=float)
    assert np.corrcoef(voxels.ravel(), again.data.ravel())[0, 1] > 0.999
    np.testing.assert_allclose(positions[["X", "Y", "Z"]], again.particles[["X", "Y", "Z"]], atol=1e-3)


def test_particles_are_dark_in_tomograms_and_bright_in_subvolumes(tmp_path: Path) -> None:
    """Nearly without noise, the middle of the solid rod and of the hollow barrel stand out from the mean."""
    clean = simulate_dataset(tmp_path / "clean", **{**SMALL, "snr": 100.0})
    matter = {"1rod": 1, "1bar": -1}
    half = WINDOW // 2
    for path in (*clean.references, *(clean.folder / "subvolumes").rglob("*.mrc")):
        sign = matter.get(label_from_name(path.name), 0)
        middle = read_subvolume(path)[(slice(half - 2, half + 3),) * 3].mean()
        assert sign * middle > 30 or sign == 0
    for tomogram, positions in zip(clean.tomograms, clean.positions, strict=True):
        voxels = read_volume(tomogram).data
        truth = read_particle_positions(positions).set_index("class")
        for code, sign in matter.items():
            z, y, x = truth.loc[code, ["Z", "Y", "X"]].to_numpy(dtype=float).round().astype(int)
            middle = voxels[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3].mean()
            assert -sign * middle > 30


def test_nothing_is_cut_twice_or_out_of_the_tomograms(made: SimulatedDataset) -> None:
    cuts = [*made.training.iterdir(), *made.validation.iterdir(), *made.references]
    assert len({read_subvolume(path).tobytes() for path in cuts}) == len(cuts)
    tomogram = np.asarray(read_volume(made.tomograms[0]).data)
    for path in made.references:
        corner = -read_subvolume(path)[0, 0, :8].astype(np.int8)
        windows = np.lib.stride_tricks.sliding_window_view(tomogram, 8, axis=2)
        assert not (windows == corner).all(axis=-1).any()


def test_the_same_seed_gives_the_same_files(made: SimulatedDataset, tmp_path: Path) -> None:
    again = simulate_dataset(tmp_path / "again", seed=5, **SMALL)
    assert content(again.folder) == content(made.folder)


def test_another_seed_gives_other_volumes(made: SimulatedDataset, tmp_path: Path) -> None:
    first, other = content(made.folder), content(simulate_dataset(tmp_path / "b", seed=6, **SMALL).folder)
    assert first.keys() == other.keys()
    same = {name for name in first if first[name] == other[name]}
    assert same == {"ground_truth/boxsizes.json"}


def test_more_training_data_leave_the_tomograms_as_they_are(made: SimulatedDataset, tmp_path: Path) -> None:
    more = simulate_dataset(tmp_path / "more", seed=5, **{**SMALL, "subvolumes_per_class": 4})
    first, second = content(made.folder), content(more.folder)
    assert first["tomograms/simulated_01.mrc"] == second["tomograms/simulated_01.mrc"]
    assert first["references/1bar.mrc"] == second["references/1bar.mrc"]


def test_a_data_set_is_made_once_and_products_beside_it_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = simulate_dataset(tmp_path / "a", **SMALL)
    (first.folder / "products").mkdir()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("simulated again")

    monkeypatch.setattr(dataset, "simulate_tomogram", never)
    again = simulate_dataset(tmp_path / "a", **SMALL)
    assert again.reused
    assert (again.tomograms, again.references) == (first.tomograms, first.references)
    with pytest.raises(InputError, match=r"snr 0\.15 instead of 0\.3"):
        simulate_dataset(tmp_path / "a", **{**SMALL, "snr": 0.3})
    first.references[0].unlink()
    with pytest.raises(InputError, match="1 files of the data set are gone"):
        simulate_dataset(tmp_path / "a", **SMALL)


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        simulate_dataset(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="not a folder"):
        simulate_dataset(tmp_path / "mine.txt", **SMALL)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "simulation.json").write_text("[]")
    with pytest.raises(InputError, match="no record"):
        simulate_dataset(tmp_path / "broken", **SMALL)


def test_a_failed_simulation_leaves_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "write_box_sizes", fail)
        with pytest.raises(OSError, match="full"):
            simulate_dataset(tmp_path / "a", **SMALL)
    assert list((tmp_path / "a").iterdir()) == []
    assert not simulate_dataset(tmp_path / "a", **SMALL).reused


def test_a_model_is_written_and_never_replaced(tmp_path: Path) -> None:
    configuration = {"identifier": "FullyConvolutional", "network_config": {"widths": [4, 8]}}
    options = {**SMALL, "model_name": "tiny", "model_configuration": configuration}
    made = simulate_dataset(tmp_path / "a", **options)
    assert made.model == tmp_path / "a" / "models" / "tiny.json"
    assert json.loads(made.model.read_text()) == configuration
    assert simulate_dataset(tmp_path / "a", **options).reused
    with pytest.raises(InputError, match="another model"):
        simulate_dataset(tmp_path / "a", **{**options, "model_configuration": {"identifier": "Other"}})
    assert json.loads(made.model.read_text()) == configuration
    with pytest.raises(InputError, match="model name"):
        simulate_dataset(tmp_path / "b", **{**options, "model_name": "../tiny"})
    assert not (tmp_path / "b").exists()


def test_without_subvolumes_there_are_tomograms_and_references(tmp_path: Path) -> None:
    made = simulate_dataset(tmp_path / "a", **{**SMALL, "subvolumes_per_class": 0})
    assert all(path.exists() for path in (*made.tomograms, *made.references, *made.positions))
    assert not (tmp_path / "a" / "subvolumes").exists()
    assert simulate_dataset(tmp_path / "a", **{**SMALL, "subvolumes_per_class": 0}).reused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"snr": 0.0}, "signal-to-noise"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"tomograms": 0}, "tomograms"),
        ({"particles_per_class": 0}, "particles per class"),
        ({"subvolumes_per_class": -1}, "subvolumes per class"),
        ({"tomogram_shape": (30, 80, 80)}, "30 × 80 × 80"),
        ({"tomogram_shape": (80, 80)}, "80 × 80"),
        ({"particles_per_class": 60}, "do not fit"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused_and_nothing_is_left(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        simulate_dataset(tmp_path / "a", **{**SMALL, **change})
    assert not list(tmp_path.rglob("*.mrc"))
