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
from tomotwin_lib.training.finetuned import CARD, Finetuned

# Fixtures of conftest.py, which tests cannot import by name.
Lab = Any
Run = Callable[..., Any]


def scores(before: dict[str, float], after: dict[str, float], f1_after: float = 0.5) -> pd.DataFrame:
    """A table of average precisions by class; F1 was 0.5."""
    rows = [
        (network, name, 9, 4, 0.5 if network == "before" else f1_after, 0.5, 0.75, area, np.nan)
        for network, areas in (("before", before), ("after", after))
        for name, area in areas.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the library was asked for; its answer is ``table``."""
    asked: dict[str, Any] = {
        "table": scores({"ribo": 0.25, "two": 0.5}, {"ribo": 0.75, "two": 0.5}),
        "parted": [("ribo", 9, 4, 0), ("two", 7, 3, 0)],
    }

    def answer(model: str, volume: Any, picks: pd.DataFrame, output: str, **options: Any) -> Finetuned:
        asked.update(model=model, volume=volume.path, picks=picks, **options)
        columns = ("class", "trained", "held_out", "near")
        options["on_parted"](pd.DataFrame(asked["parted"], columns=columns))
        return Finetuned(Path(output), asked["table"], asked.get("steps", 70), asked.get("not_scored", ()))

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
        "-b", "17", "--minutes", "2.5", "--complete", "--held_out", "0.4", "--seed", "3",
        "--device", "cpu", "--no-progress",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    picks = seen["picks"][["class", "X", "Y", "Z"]]
    assert picks.to_numpy().tolist() == [["ribo", 1, 2, 3], ["ribo", 4, 5, 6], ["two", 7, 8, 9]]
    assert seen["model"] == "default" and seen["volume"] == lab.tomogram
    assert seen["picks"]["file"].tolist() == [str(ribosomes)] * 2 + [str(others)]
    assert seen["box_sizes"] == 17
    options = {name: seen[name] for name in ("minutes", "complete", "share", "seed", "device", "progress")}
    assert options == {
        "minutes": 2.5, "complete": True, "share": 0.4, "seed": 3, "device": "cpu", "progress": False,
    }  # fmt: skip
    assert "train on / held out: ribo 9 / 4, two 7 / 3\n" in outcome.out
    assert "2.5 minutes of training; on top" in outcome.out
    assert "70 steps; in the mean F1 +0.000 and average precision +0.250" in outcome.out
    assert "finetuned.pth" in outcome.out and "before_and_after.csv" in outcome.out
    assert "offset (voxels)" in outcome.out and "–" in outcome.out and "nan" not in outcome.out
    assert not outcome.err


def test_it_says_of_which_classes_the_scores_say_little_and_what_is_lost(
    lab: Lab, tmp_path: Path, run: Run, seen: dict[str, Any]
) -> None:
    # Ten picks and three held out are enough; lost picks count as picks.
    seen["parted"] = [("ribo", 5, 3, 2), ("two", 6, 3, 0), ("three", 20, 2, 4)]
    options = ("-t", lab.tomogram, "-p", lab.positions, "-o", tmp_path, "-b", "17", "--minutes", "1")
    outcome = run("main", "finetune", *options)
    assert outcome.code == 0
    assert "6 too near to the plane between them for either" in outcome.out
    assert "\n1 minute of training;" in outcome.out
    assert "the scores will say little of two, three\n" in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (
            ({"ribo": 0.1, "two": 0.4}, 0.5),
            "before by mean average precision (0.375, now 0.250): keep that one",
        ),
        (({"ribo": 0.25, "two": 0.5}, 0.4), "before by mean F1 (0.500, now 0.400): keep that one"),
        (
            ({"ribo": 0.1, "two": 0.4}, 0.4),
            "F1 (0.500, now 0.400) and mean average precision (0.375, now 0.25",
        ),
        (({"ribo": 0.9, "two": 0.4}, 0.5), "of two it was better before"),
    ],
)
def test_it_says_where_the_network_was_better_before(
    after: tuple[dict[str, float], float], told: str, lab: Lab, tmp_path: Path, run: Run, seen: dict[str, Any]
) -> None:
    seen["table"] = scores({"ribo": 0.25, "two": 0.5}, *after)
    options = ("-t", lab.tomogram, "-p", lab.positions, "-o", tmp_path, "-b", lab.box_sizes)
    seen["not_scored"] = ("three",)
    outcome = run("main", "finetune", *options)
    assert outcome.code == 0
    assert told in outcome.err
    assert "too few picks on either side of the plane to compare three" in outcome.err
    assert "nothing is learnt" not in outcome.err


def test_it_says_where_there_was_no_time_to_learn(
    lab: Lab, tmp_path: Path, run: Run, seen: dict[str, Any]
) -> None:
    seen["steps"] = 5
    options = ("-t", lab.tomogram, "-p", lab.positions, "-o", tmp_path, "-b", "17", "--minutes", "0.5")
    outcome = run("main", "finetune", *options)
    assert outcome.code == 0
    assert "nothing is learnt in so short a time as 5 steps; give --minutes 10" in outcome.err


def test_earlier_results_are_replaced_only_when_asked(
    lab: Lab, tmp_path: Path, run: Run, seen: dict[str, Any]
) -> None:
    (tmp_path / CARD).write_text("earlier")
    options = ("-t", lab.tomogram, "-p", lab.positions, "-o", tmp_path, "-b", "17")
    outcome = run("main", "finetune", *options)
    assert outcome.code == 2 and "--overwrite" in outcome.err and str(tmp_path) in outcome.err
    assert "picks" not in seen
    assert run("main", "finetune", *options, "--overwrite").code == 0


def test_too_few_picks_are_refused_in_one_line(lab: Lab, tmp_path: Path, run: Run) -> None:
    options = ("-t", lab.tomogram, "-p", lab.positions, "-o", tmp_path, "-b", "17", "-m", lab.model)
    outcome = run("main", "finetune", *options)
    assert outcome.code == 2
    assert f"{lab.positions}: the 2 picks are too few" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("finetuned*"))


def test_what_is_wrong_names_the_file(lab: Lab, tmp_path: Path, run: Run) -> None:
    empty, outside, sizes = tmp_path / "1abc.coords", tmp_path / "2xyz.coords", tmp_path / "sizes.json"
    empty.write_text("")
    outside.write_text("1 2 3\n500 2 3\n")
    sizes.write_text('{"1abc": 17}')
    for picks, box, told in (
        ((outside, empty), "17", f"{empty}: there is no pick in it"),
        ((lab.positions, outside), "17", f"{outside}: 1 of 2 picks lie outside tomo.mrc"),
        ((lab.positions,), sizes, f"-b {sizes}: no box size fits 2xyz: "),
    ):
        options = ("-t", lab.tomogram, "-o", tmp_path / "out", "-m", lab.model)
        outcome = run("main", "finetune", *options, "-b", box, "-p", *picks)
        assert outcome.code == 2 and told in outcome.err, outcome.err
    assert not (tmp_path / "out").exists()
