"""``tomotwin train_on_tomograms``: from a folder to a network, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.networks.checkpoint import load_checkpoint
from tomotwin_lib.training import centred_subvolumes, labelled_folder

Run = Callable[..., Any]


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    """A tomogram of two classes, and a tiny network."""
    data = np.random.default_rng(0).standard_normal((41, 60, 60)).astype(np.float32)
    write_volume(tmp_path / "data" / "tomograms" / "t.mrc", data, 10.0)
    lines = ["1abc 20 20 20", "1abc 40 20 20", "2xyz 20 40 20", "2xyz 40 40 20"]
    (tmp_path / "data" / "ground_truth").mkdir()
    (tmp_path / "data" / "ground_truth" / "t.txt").write_text("\n".join(lines) + "\n")
    configuration = {
        "identifier": "FullyConvolutional",
        "network_config": {"width": 2, "output_channels": 8},
        "train_config": {"shares": {"particles": 4, "off_centre": 1, "background": 1, "hard": 1}},
    }
    (tmp_path / "c.json").write_text(json.dumps(configuration))
    return [
        "train_on_tomograms", "-o", tmp_path / "out", "-c", tmp_path / "c.json", "--steps", 2, "--device",
        "cpu", "--no-progress",
    ]  # fmt: skip


def test_from_a_folder_to_a_network(run: Run, arguments: list[object], tmp_path: Path) -> None:
    outcome = run("main", *arguments, "-t", tmp_path / "data")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("2 batches in 0.")
    assert f"next: tomotwin embed tomogram -v TOMOGRAM.mrc -m {tmp_path / 'out' / 'final.pth'}" in outcome.out
    assert "after 2 batches a network has hardly learnt" in outcome.err
    for name in ("final.pth", "steps.csv", "training_curve.png"):
        assert f"wrote {tmp_path / 'out' / name}" in outcome.out
        assert (tmp_path / "out" / name).stat().st_size
    checkpoint = load_checkpoint(tmp_path / "out" / "final.pth")
    assert checkpoint["voxel_size_in_angstrom"] == pytest.approx(10)
    told = checkpoint["tomotwin_config"]
    assert told["train_config"]["shares"]["off_centre"] == 1 and told["train_config"]["pairs"] > 0
    final = tmp_path / "out" / "final.pth"
    for more in ((), ("--resume",)):
        outcome = run("main", *arguments, "-t", tmp_path / "data", *more)
        assert outcome.code == 2 and "is finished" in outcome.err and "--resume" not in outcome.err
        assert f"--start {final}" in outcome.err and "--overwrite" in outcome.err


def test_options_are_checked_before_anything_is_read(
    run: Run, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled_folder, "read_labelled_tomograms", None)
    monkeypatch.setattr(centred_subvolumes, "read_centred_subvolumes", None)
    folder = ("-t", tmp_path / "data", "--subvolumes", tmp_path / "none")
    for more, told in (
        (("--start", "defualt"), "defualt"),
        (
            ("--start", "default"),
            "default: it is another network than the configuration's (network_config.width",
        ),
        (("--exclude", "1abc"), "--exclude: it belongs to --simulate"),
        (("--resume",), "no training that was cut off"),
    ):
        outcome = run("main", *arguments, *folder, *more)
        assert outcome.code == 2 and told in outcome.err, outcome.err
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_used_is_one_line(run: Run, arguments: list[object], tmp_path: Path) -> None:
    folder = ("-t", tmp_path / "data")
    for more, told in (
        ((), "one of the arguments -t/--tomograms --simulate is required"),
        ((*folder, "--simulate", "pool"), "not allowed with"),
        ((*folder, "--made_up", "3"), "--made_up: it belongs to --simulate"),
        (("--simulate", tmp_path / "pool", "--exclude", "1abc"), "--exclude: it leaves out structures"),
        (("--simulate", tmp_path / "pool", "--negatives", "gold"), "--negatives: it belongs to --tomograms"),
        ((*folder, "--minutes", "0"), "--minutes: 0.0 is no time"),
        ((*folder, "--resume"), "latest.pth"),
        ((*folder, "--negatives", "2xyz"), "1 of their 1 classes"),
        (("-t", tmp_path / "c.json"), "no folder tomograms"),
        ((*folder, "--start", tmp_path / "none.pth"), "none.pth"),
        ((*folder, "--negatives", "fiducial"), "the class fiducial; there are 1abc, 2xyz"),
    ):
        outcome = run("main", *arguments, *more)
        assert outcome.code == 2 and told in outcome.err and len(outcome.err.splitlines()) == 1, outcome.err
    (tmp_path / "c.json").write_text(
        '{"identifier": "FullyConvolutional", "train_config": {"loss": "SupConLoss"}}'
    )
    outcome = run("main", *arguments, *folder)
    assert outcome.code == 2 and "train_config has unknown keys: loss" in outcome.err
    assert not list((tmp_path / "out").glob("*.pth"))
