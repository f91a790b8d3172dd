"""``--limits``: the thresholds that one tomogram's scores suggest, for the picks of another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tomotwin_lib.formats.coordinates import read_coords
from tomotwin_lib.formats.frames import write_picks

Run = Callable[..., Any]


def write_located(path: Path, reference: str, *rows: tuple[float, float, int]) -> None:
    """A ``.tloc`` from rows of X, metric and size; those at 0, 100, 200 and 300 lie on the particles."""
    frame = pd.DataFrame(rows, columns=["X", "metric_best", "size"])
    frame = frame.assign(Y=50, Z=50, predicted_class=0, width=20, height=20, depth=20)
    frame.attrs["references"] = [reference]
    write_picks(path, frame)


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with two located tomograms, of other references of one class, and the truth of both."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / name).mkdir()
    write_located(
        tmp_path / "a" / "located.tloc",
        "m_1abc_0.mrc",
        (0, 0.9, 9),
        (100, 0.8, 9),
        (200, 0.7, 9),
        (50, 0.62, 9),
    )
    write_located(
        tmp_path / "b" / "located.tloc",
        "n_1abc.mrc",
        (0, 0.9, 9),
        (100, 0.64, 9),
        (200, 0.6, 9),
        (50, 0.5, 9),
    )
    truth = "\n".join(f"1abc {100 * n} 50 50" for n in range(4))
    (tmp_path / "truth.txt").write_text(truth + "\n")
    return tmp_path


EVALUATE = ("evaluate_main", "positions", "-p", "truth.txt", "-s", "20", "-l")


def test_limits_from_one_tomogram_score_and_pick_another(two: Path, run: Run) -> None:
    outcome = run(*EVALUATE, "a/located.tloc", "--optim")
    assert outcome.code == 0, outcome.err
    assert outcome.out.index("Best case") < outcome.out.index("All picks as located")
    best = json.loads((two / "a" / "evaluation_optim_dict.json").read_text())["m_1abc_0.mrc"]
    assert (best["TP"], best["FP"], best["AS_LOCATED_TP"], best["AS_LOCATED_FP"]) == (3, 0, 3, 1)
    assert best["O_METRIC"] == pytest.approx(0.65)
    assert "as located:" in (two / "a" / "evaluation_optim.txt").read_text()

    outcome = run(*EVALUATE, "a/located.tloc", "--limits", "a/evaluation_optim_dict.json")
    assert outcome.code == 0 and "chosen on these very picks" in outcome.err
    outcome = run(*EVALUATE, "b/located.tloc", "--limits", "a/evaluation_optim_dict.json", "--png")
    assert outcome.code == 0 and "chosen on these very picks" not in outcome.err
    written = {path.name for path in (two / "b").iterdir()} - {"located.tloc"}
    assert written == {"evaluation_limits.txt", "evaluation_limits_dict.json", "evaluation_limits.png"}
    row = json.loads((two / "b" / "evaluation_limits_dict.json").read_text())["n_1abc.mrc"]
    assert (row["TP"], row["FP"], row["FN"]) == (1, 0, 3)
    assert (row["BEST_CASE_TP"], row["BEST_CASE_FP"]) == (3, 0)
    assert (row["AS_LOCATED_TP"], row["AS_LOCATED_FP"]) == (3, 1)
    assert row["LIMITS_OF"] == "m_1abc_0.mrc, of the same class"
    assert "m_1abc_0.mrc, of the same class" in outcome.out and "0.650" in outcome.out

    outcome = run(
        "pick_main", "-l", "b/located.tloc", "-o", "coords", "--limits", "a/evaluation_optim_dict.json"
    )
    assert outcome.code == 0, outcome.err
    assert "m_1abc_0.mrc, of the same class" in outcome.out
    assert len(read_coords(two / "coords" / "n_1abc.coords")) == row["TP"] + row["FP"]


def test_both_kinds_of_limits_narrow_what_is_picked(two: Path, run: Run) -> None:
    (two / "limits.json").write_text('{"1abc": {"O_METRIC": 0.55, "O_MIN_SIZE": 0, "O_MAX_SIZE": 0}}')
    command = ("pick_main", "-l", "b/located.tloc", "--limits", "limits.json")
    assert run(*command, "-o", "wide").code == run(*command, "-o", "narrow", "--maxmetric", "0.7").code == 0
    assert len(read_coords(two / "wide" / "n_1abc.coords")) == 3
    assert len(read_coords(two / "narrow" / "n_1abc.coords")) == 2


def test_limits_and_optim_write_both(two: Path, run: Run) -> None:
    (two / "limits.json").write_text('{"1abc": {"O_METRIC": 0.61, "O_MIN_SIZE": 0, "O_MAX_SIZE": 0}}')
    assert run(*EVALUATE, "b/located.tloc", "--limits", "limits.json", "--optim", "-o", "o").code == 0
    stems = ("evaluation_limits", "evaluation_optim")
    assert {path.name for path in (two / "o").iterdir()} == {
        f"{stem}{ending}" for stem in stems for ending in (".txt", "_dict.json")
    }
    best = json.loads((two / "o" / "evaluation_optim_dict.json").read_text())["n_1abc.mrc"]
    assert best["TP"] == 3 and "BEST_CASE_TP" not in best and best["AS_LOCATED_FP"] == 1


def test_limits_in_per_cent_are_refused_where_similarities_are_cosines(two: Path, run: Run) -> None:
    pick = ("pick_main", "-l", "b/located.tloc", "-o", "p")
    for flag, value, said in (
        ("--minmetric", "80", "Did you mean 0.80?"),
        ("--maxmetric", "-1.5", "-1.5"),
        ("--minmetric", "nan", "nan"),
    ):
        outcome = run(*pick, flag, value)
        assert outcome.code == 2 and outcome.err.count("\n") == 1
        assert flag in outcome.err and said in outcome.err and "0.500 to 0.900" in outcome.err
    assert run(*pick, "--minmetric", "-1", "--maxmetric", "1").code == 0
    write_located(two / "far.tloc", "n_1abc.mrc", (0, 90, 9), (100, 0.5, 9))  # by a distance without bounds
    assert run("pick_main", "-l", "far.tloc", "-o", "p", "--minmetric", "80").code == 0
    assert len(read_coords(two / "p" / "n_1abc.coords")) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"m_2def.mrc": {"O_METRIC": 0.5, "O_MIN_SIZE": 0, "O_MAX_SIZE": 0}}', "n_1abc.mrc"),
        ('{"m_1abc.mrc": {"O_METRIC": ', "no JSON"),
        ('{"m_1abc.mrc": {"F1": 0.5}}', "O_METRIC"),
    ],
)
def test_unusable_limits_are_one_line_and_nothing_is_written(
    content: str, said: str, two: Path, run: Run
) -> None:
    (two / "limits.json").write_text(content)
    for command in (EVALUATE, ("pick_main", "-l")):
        outcome = run(*command, "b/located.tloc", "--limits", "limits.json", "-o", "o")
        assert outcome.code == 2 and outcome.err.count("\n") == 1
        assert "limits.json" in outcome.err and said in outcome.err
        assert not (two / "o").exists()
