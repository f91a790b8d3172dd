"""Subvolumes set aside for validation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.checkpoint import load_checkpoint
from tomotwin_lib.training import training_run
from tomotwin_lib.training.roles import assign_roles
from tomotwin_lib.training.settings import TrainSettings
from tomotwin_lib.training.split import split_by_class
from tomotwin_lib.training.trainer import train

CONFIGURATION: dict[str, Any] = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 2, "output_channels": 8},
    "train_config": {"batchsize": 8},
}


def fill(folder: Path, **counts: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for label, count in counts.items():
        for number in range(count):
            (folder / f"a_{label.removeprefix('c')}_{number:02}.mrc").touch()
    return folder


def names(paths: Any) -> list[str]:
    return [path.name for path in paths]


def test_a_fifth_of_each_class_is_set_aside(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", c1abc=20, c2xyz=7, c3two=2, c4one=1)
    split = split_by_class(folder, 5)
    assert sorted([*split.training, *split.validation]) == sorted(folder.iterdir())
    aside = names(split.validation)
    counts = {label: sum(label in name for name in aside) for label in ("1abc", "2xyz", "3two", "4one")}
    assert counts == {"1abc": 4, "2xyz": 2, "3two": 0, "4one": 0}
    assert "6 of 30 subvolumes" in split.note()
    assert "4 of 20 1abc, 2 of 7 2xyz, 0 of 2 3two, 0 of 1 4one" in split.note()


def test_the_choice_follows_from_seed_and_names(tmp_path: Path) -> None:
    one, other = (fill(tmp_path / place, c1abc=20, c2xyz=20) for place in ("a", "b"))
    chosen = names(split_by_class(one, 1).validation)
    assert names(split_by_class(other, 1).validation) == chosen
    assert names(split_by_class(one, 2).validation) != chosen
    fill(other, c0new=5)
    with_another = [name for name in names(split_by_class(other, 1).validation) if "0new" not in name]
    assert with_another == chosen


def test_too_few_to_set_aside_are_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "few", c1abc=5, c2xyz=1)
    with pytest.raises(InputError, match=r"few: there are too few .* 1abc alone .* --validvolumes"):
        assign_roles(TrainSettings(), folder, None)
    folder = fill(tmp_path / "negative", c1abc=5, c2xyz=5, c3one=1)
    settings = TrainSettings(only_negative_labels=("1abc", "2xyz"))
    with pytest.raises(InputError, match="with four subvolumes or more are negatives only"):
        assign_roles(settings, folder, None)


def test_nothing_is_both_trained_on_and_validated_with(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[training_run.TrainingRun] = []
    go = training_run.TrainingRun.go
    monkeypatch.setattr(
        training_run.TrainingRun, "go", lambda self, *options: seen.append(self) or go(self, *options)
    )
    volumes = tmp_path / "volumes"
    shutil.copytree(folders["volumes"], volumes)
    common: dict[str, Any] = {"device": "cpu", "progress": False}
    notes: list[str] = []
    train(CONFIGURATION, volumes, None, tmp_path / "out", epochs=1, seed=7, on_note=notes.append, **common)
    latest = tmp_path / "out" / "latest.pth"
    train(CONFIGURATION, volumes, None, tmp_path / "out", epochs=2, resume_from=latest, **common)
    for run in seen:
        assert names(run.validation.paths) == names(split_by_class(volumes, 7).validation)
        assert len(run.validation) == 4 and len(run.training) == 8
        assert not set(run.training.paths) & set(run.validation.paths)
    assert notes == [split_by_class(volumes, 7).note()]
    assert load_checkpoint(latest)["epoch"] == 1

    # With a folder of its own, what was set aside would now be trained on, and the other way round.
    with pytest.raises(InputError, match="validated with 4 of the training subvolumes"):
        train(
            CONFIGURATION, volumes, folders["validation"], tmp_path / "out",
            epochs=3, resume_from=latest, **common,
        )  # fmt: skip
    for path in split_by_class(volumes, 7).validation:
        path.unlink()
    with pytest.raises(InputError, match="and the subvolumes of that run"):
        train(CONFIGURATION, volumes, None, tmp_path / "out", epochs=3, resume_from=latest, **common)
