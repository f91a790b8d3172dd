"""``tomotwin train``: what it says of a run that is not the usual one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.networks.checkpoint import load_checkpoint

Train = Callable[..., Any]


@pytest.fixture
def train(tmp_path: Path, run: Train) -> Train:
    """Train on five subvolumes of each of two classes, into a folder of ``tmp_path``."""
    rng = np.random.default_rng(0)
    for label in ("1abc", "2xyz"):
        for number in range(5):
            write_volume(tmp_path / "v" / f"{label}_{number}.mrc", rng.normal(size=(37, 37, 37)), 10.0)
    configuration = {
        "identifier": "FullyConvolutional",
        "network_config": {"width": 2, "output_channels": 8},
        "train_config": {"batchsize": 8},
    }
    (tmp_path / "c.json").write_text(json.dumps(configuration))

    def call(output: str, *options: Any) -> Any:
        return run(
            "train_main", "-v", tmp_path / "v", "-o", tmp_path / output, "-nc", tmp_path / "c.json",
            "--device", "cpu", "--no-progress", *options,
        )  # fmt: skip

    return call


def test_what_is_set_aside_is_said_in_one_line(train: Train, tmp_path: Path) -> None:
    outcome = train("out", "--epochs", "1")
    assert outcome.code == 0, outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith("note: no --validvolumes: 4 of 10 subvolumes")
    assert "2 of 5 1abc, 2 of 5 2xyz" in line
    outcome = train("out", "--epochs", "1", "--validvolumes", tmp_path / "v", "--overwrite")
    assert (outcome.code, outcome.err) == (0, "")


def test_a_checkpoint_from_elsewhere(train: Train, tmp_path: Path) -> None:
    valid = ("--validvolumes", tmp_path / "v")
    assert train("a", "--epochs", "1", "--seed", "3", *valid).code == 0
    assert train("b", "--epochs", "1", *valid).code == 0
    latest = tmp_path / "a" / "latest.pth"
    before = (tmp_path / "b" / "final.pth").read_bytes()
    outcome = train("b", "--epochs", "2", "--checkpoint", latest, *valid)
    assert outcome.code == 2 and "--overwrite" in outcome.err and str(tmp_path / "b") in outcome.err
    assert (tmp_path / "b" / "final.pth").read_bytes() == before
    outcome = train("a", "--epochs", "2", "--seed", "0", "--checkpoint", latest, *valid)
    assert outcome.code == 2 and "--seed" in outcome.err

    # Scores that cannot be bettered, and no best networks beside the checkpoint.
    alone = tmp_path / "alone" / "latest.pth"
    alone.parent.mkdir()
    shutil.copy(latest, alone)
    content = load_checkpoint(alone)
    torch.save({**content, "best_loss": -1.0, "best_f1": 2.0}, alone)
    outcome = train("c", "--epochs", "2", "--checkpoint", alone, *valid)
    assert outcome.code == 0, outcome.err
    reported = [Path(line.removeprefix("wrote ")) for line in outcome.out.splitlines() if "wrote" in line]
    assert {path.name for path in reported} == {
        "final.pth",
        "latest.pth",
        "history.csv",
        "training_curve.png",
    }
    assert all(path.is_file() for path in reported)


def test_a_training_of_tomotwin_goes_on_with_one_line_of_warning(train: Train, tmp_path: Path) -> None:
    valid = ("--validvolumes", tmp_path / "v")
    assert train("a", "--epochs", "1", *valid).code == 0
    content = load_checkpoint(tmp_path / "a" / "latest.pth")
    del content["training_state"]
    torch.save(content, tmp_path / "tt.pth")
    outcome = train("b", "--epochs", "2", "--checkpoint", tmp_path / "tt.pth", *valid)
    assert outcome.code == 0, outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith("note:") and "tt.pth" in line and "begin anew: history" in line
    assert outcome.out.startswith("1 epoch,")
