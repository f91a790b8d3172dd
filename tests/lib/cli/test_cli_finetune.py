"""``tomotwin finetune``: what the command reads, passes on and says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.training import finetuning
from tomotwin_lib.training.before_and_after import COLUMNS
from tomotwin_lib.training.finetuned import Finetuned

# Fixtures of conftest.py, which tests cannot import by name.
Lab = Any
Run = Callable[..., Any]


def scores(before: dict[str, float], after: dict[str, float]) -> pd.DataFrame:
    """A table of average precisions by class."""
    rows = [
        (network, name, 9, 4, 0.5, 0.5, 0.75, area, np.nan)
        for network, areas in (("before", before), ("after", after))
        for name, area in areas.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the library was asked for; its answer is ``table``."""
    asked: dict[str, Any] = {"table": scores({"ribo": 0.25, "two": 0.5}, {"ribo": 0.75, "two": 0.5})}

    def answer(model: str, volume: Any, picks: pd.DataFrame, output: str, **options: Any) -> Finetuned:
        asked.update(model=model, volume=volume.path, picks=picks, **options)
        return Finetuned(Path(output), asked["table"], 7, asked.get("not_scored", ()))

    monkeypatch.setattr(finetuning, "finetune", answer)
    return asked


def test_picks_of_several_files_are_put_together_by_their_names(
    lab: Lab, tmp_path: Path, run: Run, seen: dict[str, Any]
) -> None:
    ribosomes, others = tmp_path / "Ribo.coords", tmp_path / "truth.txt"
    ribosomes.write_text("1 2 3\n4 5 6\n")
    others.write_text("TWO 7 8 9 0 0 0\n")
    outcome = run(
        "main", "finetune", "-t", lab.tomogram, "-p", ribosomes, others, "-o", tmp_path / "out",
        "-b", lab.box_sizes, "--minutes", "2.5", "--complete", "--held_out", "0.4", "--seed", "3",
        "--device", "cpu", "--no-progress",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    picks = seen["picks"][["class", "X", "Y", "Z"]]
    assert picks.to_numpy().tolist() == [["ribo", 1, 2, 3], ["ribo", 4, 5, 6], ["two", 7, 8, 9]]
    assert seen["model"] == "default" and seen["volume"] == lab.tomogram
    assert seen["box_sizes"] == {"1abc": 17, "2xyz": 17}
    options = {name: seen[name] for name in ("minutes", "complete", "share", "seed", "device", "progress")}
    assert options == {
        "minutes": 2.5, "complete": True, "share": 0.4, "seed": 3, "device": "cpu", "progress": False,
    }  # fmt: skip
    assert "7 steps; average precision +0.250 in the mean" in outcome.out
    assert "finetuned.pth" in outcome.out and "before_and_after.csv" in outcome.out
    assert not outcome.err


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"ribo": 0.1, "two": 0.4}, "the network was better before: keep that one"),
        ({"ribo": 0.9, "two": 0.4}, "of two it was better before"),
    ],
)
def test_it_says_where_the_network_was_better_before(
    after: dict[str, float], told: str, lab: Lab, tmp_path: Path, run: Run, seen: dict[str, Any]
) -> None:
    seen["table"] = scores({"ribo": 0.25, "two": 0.5}, after)
    options = ("-t", lab.tomogram, "-p", lab.positions, "-o", tmp_path, "-b", "17")
    seen["not_scored"] = ("three",)
    outcome = run("main", "finetune", *options)
    assert outcome.code == 0
    assert told in outcome.err
    assert "too few picks on either side of the plane to compare three" in outcome.err


def test_too_few_picks_are_refused_in_one_line(lab: Lab, tmp_path: Path, run: Run) -> None:
    options = ("-t", lab.tomogram, "-p", lab.positions, "-o", tmp_path, "-b", "17", "-m", lab.model)
    outcome = run("main", "finetune", *options)
    assert outcome.code == 2
    assert "--picks: no plane parts its 2 picks" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("finetuned*"))
