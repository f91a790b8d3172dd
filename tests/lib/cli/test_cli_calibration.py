"""`evaluate tomograms`, and what `locate` and `pick` make of its calibration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.calibration import SHARE
from tomotwin_lib.formats.frames import read_picks, write_picks, write_similarity_map
from tomotwin_lib.products import Grid, SimilarityMap

Run = Callable[..., Any]
REFERENCE = "m_1abc_0.mrc"
SHAPE = (24, 24, 120)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tomograms with picks and truth: of each three right picks and two worse false ones."""
    monkeypatch.chdir(tmp_path)
    for name, shift in (("a", 0.0), ("b", 0.005)):
        picks = pd.DataFrame({"X": [10.0, 30, 50, 70, 90], "metric_best": [0.9, 0.85, 0.8, 0.65, 0.6]})
        picks["metric_best"] += shift
        picks = picks.assign(Y=10.0, Z=10.0, size=9, predicted_class=0, width=10, height=10, depth=10)
        picks.attrs.update(references=[REFERENCE], tomogram_input_shape=SHAPE, modelmd5="m")
        write_picks(tmp_path / f"{name}.tloc", picks)
        (tmp_path / f"{name}.txt").write_text("".join(f"1abc {x} 10 10\n" for x in (10, 31, 50)))
    return tmp_path


EVALUATE = (
    "evaluate_main", "tomograms", "-l", "a.tloc", "b.tloc", "-p", "a.txt", "b.txt", "-s", "10", "-o", "o",
)  # fmt: skip


def test_several_tomograms(folder: Path, run: Run) -> None:
    outcome = run(*EVALUATE)
    assert outcome.code == 0, outcome.err
    assert {path.name for path in (folder / "o").iterdir()} == {
        "evaluation_tomograms.json", "by_tomogram.csv", "confusion.csv", "precision_recall.csv",
        "precision_recall.png", "calibration.json",
    }  # fmt: skip
    report = json.loads((folder / "o" / "evaluation_tomograms.json").read_text())
    # The highest threshold that is best on b, 0.80, loses one of a: precision 1, recall 2/3.
    means = [row["mean"] for row in report["summary"]]
    assert means == pytest.approx([(0.8 + 1) / 2, (17 * 2 / 3 / (16 + 2 / 3) + 1) / 2, 1, 1])
    assert report["summary"][0]["low"] is None  # of two tomograms no interval
    assert report["centring"][0]["found"] == 5 and report["centring"][0]["mean"] == pytest.approx(2 / 5)
    assert pd.read_csv(folder / "o" / "by_tomogram.csv")["tomogram"].tolist() == ["a", "b"]
    assert "too few tomograms" in outcome.out and "best case" in outcome.out


def test_info_tells_a_calibration(folder: Path, run: Run) -> None:
    assert run(*EVALUATE).code == 0
    outcome = run("main", "info", "o/calibration.json")
    assert outcome.code == 0 and "MD5 m" in outcome.out
    # Two false picks of each; b was located down to 0.605 only.
    told = "2 tomograms of 138,240 voxels together, 4 false picks, known for similarities from 0.605"
    assert REFERENCE in outcome.out and told in outcome.out


def test_as_many_truths_as_tomograms(folder: Path, run: Run) -> None:
    outcome = run("evaluate_main", "tomograms", "-l", "a.tloc", "b.tloc", "-p", "a.txt", "-o", "o")
    assert outcome.code == 2 and "--positions" in outcome.err


def test_ground_truths_in_another_order_are_refused(folder: Path, run: Run) -> None:
    swapped = ("-p", "b.txt", "a.txt", "-s", "10", "-o", "o")
    outcome = run("evaluate_main", "tomograms", "-l", "a.tloc", "b.tloc", *swapped)
    assert outcome.code == 2 and "b.txt stands where the ground truth of a.tloc" in outcome.err
    # Picks that are all called located.tloc are told apart by their folders, or by what was picked.
    for place, name in (("1", "a"), ("2", "b")):
        picks = read_picks(folder / f"{name}.tloc")
        (folder / place).mkdir()
        picks.attrs["filepath"] = f"/data/{name}.mrc"
        write_picks(folder / place / "located.tloc", picks)
    outcome = run("evaluate_main", "tomograms", "-l", "1/located.tloc", "2/located.tloc", *swapped)
    assert outcome.code == 2 and "that of 2/located.tloc" in outcome.err


def test_classes_that_do_not_fit_are_told(folder: Path, run: Run) -> None:
    for name in ("a", "b"):
        picks = read_picks(folder / f"{name}.tloc")
        picks.attrs["references"] = [REFERENCE, "m_2xyz_0.mrc", "m_9zzz_0.mrc"]
        write_picks(folder / f"{name}.tloc", picks)
    with (folder / "a.txt").open("a") as truth:
        truth.write("2xyz 90 10 10\nvesicle 50 20 20\n")
    outcome = run(*EVALUATE)
    assert outcome.code == 0, outcome.err
    of_a, of_b = outcome.err.splitlines()
    assert "a.txt" in of_a and "m_9zzz_0.mrc (9zzz): not scored, and not in calibration.json" in of_a
    assert "no reference is of its vesicle: not scored" in of_a and "2xyz" not in of_a
    assert "b.txt" in of_b and "m_2xyz_0.mrc (2xyz): not scored there" in of_b and "9zzz" in of_b


def test_what_cannot_be_evaluated_is_one_line(folder: Path, run: Run) -> None:
    one = run("evaluate_main", "tomograms", "-l", "a.tloc", "-p", "a.txt", "-s", "10", "-o", "o")
    assert one.code == 2 and "1 is too few" in one.err and "two or more" in one.err
    onto = run(*EVALUATE[:-1], "a.txt")
    assert onto.code == 2 and "a.txt: it is a file" in onto.err


def map_of(folder: Path) -> None:
    """A map with two high peaks and two as low as the background."""
    values = np.zeros((3, 3, 40), dtype=np.float32)
    for place, height in ((5, 0.95), (14, 0.9), (24, 0.62), (33, 0.6)):
        values[1, 1, place : place + 2] = height, height - 0.1
    attributes = {"tomogram_input_shape": SHAPE, "modelmd5": "m"}
    grid = Grid((6, 6, 3), (3, 3, 3), values.shape)
    write_similarity_map(
        folder / "map.tmap", SimilarityMap(values.reshape(-1, 1), [REFERENCE], grid, None, attributes)
    )


def test_locate_and_pick_keep_the_share(folder: Path, run: Run) -> None:
    assert run(*EVALUATE).code == 0
    map_of(folder)
    locate = ("locate_main", "findmax", "-m", "map.tmap", "-b", "10", "-o", "l", "--no-progress")
    with_file = (*locate, "--calibration", "o/calibration.json")
    outcome = run(*with_file)
    assert outcome.code == 0 and "expected false" in outcome.out
    picks = read_picks(folder / "l" / "located.tloc")
    # Of the false picks 0.655, 0.65, 0.605 and 0.6 of two tomograms none lies above 0.9, two above 0.62, and
    # one more is reckoned with; below 0.605, where one tomogram has no picks, nothing is known.
    two = 1 / 2 / 0.708  # Gehrels (1986), table 2: two picks at their lower limit
    assert picks[SHARE].to_numpy() == pytest.approx([two, two, 1, 1], rel=1e-3)
    kept = run("pick_main", "-l", "l/located.tloc", "-o", "p", "--max_false_picks", "0.75")
    assert kept.code == 0, kept.err
    assert len((folder / "p" / "m_1abc_0.coords").read_text().splitlines()) == 2
    assert run(*with_file, "--max_false_picks", "0.75").code == 0
    assert len(read_picks(folder / "l" / "located.tloc")) == 2
    none = run(*with_file, "--max_false_picks", "0.05")
    # 1 / 2 / 0.708 is 0.706…, and the share that is named must do.
    assert none.code == 0 and none.err.count("\n") == 1
    for said in (REFERENCE, "leaves none of its 4 picks", "at least 0.707", "more tomograms than these 2"):
        assert said in none.err
    assert run(*with_file, "--max_false_picks", "0.707").err == ""
    assert len(read_picks(folder / "l" / "located.tloc")) == 2


def test_pick_says_which_share_would_keep_some(folder: Path, run: Run) -> None:
    picks = read_picks(folder / "a.tloc").assign(**{SHARE: [0.25, 0.25, 0.5, 1, 1]})
    picks["predicted_class"] = [0, 0, 0, 1, 1]
    picks.attrs["references"] = [REFERENCE, "m_2xyz_0.mrc", "m_3abc_0.mrc"]
    write_picks(folder / "c.tloc", picks)
    pick = ("pick_main", "-l", "c.tloc", "-o", "p", "--max_false_picks")
    some, none = run(*pick, "0.3"), run(*pick, "0.1")
    assert some.code == none.code == 0
    # Nothing can be promised of 2xyz, and 3abc had no picks to lose.
    assert some.err.count("\n") == 1 and "m_2xyz_0.mrc" in some.err and "--minmetric" in some.err
    assert none.err.count("\n") == 2 and "Give 0.25 or more" in none.err and "limits" not in none.err


def test_references_that_the_calibration_does_not_know_are_told(folder: Path, run: Run) -> None:
    assert run(*EVALUATE).code == 0
    picks = read_picks(folder / "a.tloc")
    picks["predicted_class"] = [0, 0, 0, 1, 1]
    picks.attrs["references"] = [REFERENCE, "m_2xyz_0.mrc", "m_3abc_0.mrc"]
    write_picks(folder / "c.tloc", picks)
    pick = ("pick_main", "-l", "c.tloc", "-o", "p", "--calibration", "o/calibration.json")
    for limit, fate in ((("--max_false_picks", "0.9"), "are all dropped"), ((), "the share 1")):
        outcome = run(*pick, *limit)
        assert outcome.code == 0 and outcome.err.count("\n") == 1
        assert "knows nothing of m_2xyz_0.mrc: their 2 picks" in outcome.err and fate in outcome.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--max_false_picks", "0.05"), "--calibration"),
        (("--max_false_picks", "5", "--calibration", "o/calibration.json"), "Did you mean 0.05? Give"),
        (("--max_false_picks", "20", "--calibration", "o/calibration.json"), "Did you mean 0.2? Give"),
        (("--max_false_picks", "0", "--calibration", "o/calibration.json"), "0 is no share. Give"),
        (("--calibration", "missing.json"), "missing.json"),
    ],
)
def test_what_cannot_be_used_is_one_line(flags: tuple[str, ...], said: str, folder: Path, run: Run) -> None:
    assert run(*EVALUATE).code == 0
    map_of(folder)
    outcome = run("locate_main", "findmax", "-m", "map.tmap", "-b", "10", "-o", "l", *flags)
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and said in outcome.err
    assert not list((folder / "l").glob("*"))


def test_picks_without_shares_need_a_calibration(folder: Path, run: Run) -> None:
    outcome = run("pick_main", "-l", "a.tloc", "-o", "p", "--max_false_picks", "0.05")
    assert outcome.code == 2 and "`tomotwin locate findmax … --calibration FILE`" in outcome.err


def test_positions_by_distance(folder: Path, run: Run) -> None:
    outcome = run(
        "evaluate_main", "positions", "-p", "a.txt", "-l", "a.tloc", "-s", "10", "-o", "d", "--distance"
    )
    assert outcome.code == 0, outcome.err
    scores = json.loads((folder / "d" / "evaluation_distance_dict.json").read_text())[REFERENCE]
    assert scores["TP"] == 3 and scores["FP"] == 2
    assert "background" in outcome.out and "Centring" in outcome.out
