"""Distance, centring, confusion, precision and recall, and the report over several tomograms: by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.centring import centring_distances, centring_table, mean_distance
from tomotwin_lib.confusion import AGAIN, NOTHING, add_up, confusion
from tomotwin_lib.errors import InputError
from tomotwin_lib.evaluation import evaluate_positions
from tomotwin_lib.figures import png_bytes, precision_recall_chart
from tomotwin_lib.honest_evaluation import SCORES, evaluate_honestly
from tomotwin_lib.matching import Counts, Matching
from tomotwin_lib.precision_recall import average_precision, precision_recall
from tomotwin_lib.thresholds import ThresholdCurve

A, B = "m_1abc_0.mrc", "m_2xyz_0.mrc"


def picks_of(*rows: tuple[float, float, int]) -> pd.DataFrame:
    """Rows of X, metric and number of the reference."""
    frame = pd.DataFrame(rows, columns=["X", "metric_best", "predicted_class"])
    frame = frame.assign(Y=0.0, Z=0.0, size=9)
    frame.attrs["references"] = [A, B]
    return frame


def truth_of(*rows: tuple[str, float]) -> pd.DataFrame:
    return pd.DataFrame([(name, x, 0.0, 0.0) for name, x in rows], columns=["class", "X", "Y", "Z"])


TRUTH = truth_of(("1abc", 0), ("1abc", 100), ("2xyz", 200))
# On 1abc, again on it, off its centre, on 2xyz, on nothing; 2xyz: its own.
PICKS = picks_of((1, 0.9, 0), (2, 0.8, 0), (109, 0.7, 0), (203, 0.6, 0), (300, 0.5, 0), (200, 0.9, 1))


def test_within_a_distance_against_all_pairs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, picks = (rng.uniform(0, 30, (rng.integers(1, 20), 3)) for _ in range(2))
        distance = np.linalg.norm(truth[:, None] - picks[None], axis=2)
        kept = rng.random(len(picks)) < 0.7
        distance[:, ~kept] = np.inf
        found = distance.min(axis=1) <= 5
        nearest = distance.argmin(axis=1)[found]
        matching = Matching(truth, picks, 8, within=5)
        expected = Counts(int(found.sum()), int(kept.sum()) - len(set(nearest)), int((~found).sum()))
        assert matching.counts(kept) == expected
        particle, pick = matching.matches(kept)
        assert particle.tolist() == np.flatnonzero(found).tolist() and pick.tolist() == nearest.tolist()


def test_the_distance_counts_up_to_its_limit() -> None:
    origin = np.zeros((1, 3))
    assert Matching(origin, np.array([[5.0, 0, 0]]), 20, within=5).counts() == Counts(1, 0, 0)
    assert Matching(origin, np.array([[5.001, 0, 0]]), 20, within=5).counts() == Counts(0, 1, 1)


def test_f_beta_by_distance() -> None:
    # Box 20: radius 10, half of it 5. One of two found, four false: precision 1/5, recall 1/2.
    row = evaluate_positions(PICKS, TRUTH, 20, fbeta=4, within=0.5).set_index("reference").loc[A]
    assert row[["TP", "FP", "FN"]].tolist() == [1, 4, 1]
    assert row["F1"] == pytest.approx(17 * (1 / 5) * (1 / 2) / (16 / 5 + 1 / 2))
    with pytest.raises(InputError, match="radius"):
        evaluate_positions(PICKS, TRUTH, 20, within=0)


def test_centring_sees_what_is_off_centre() -> None:
    distances = centring_distances(PICKS, TRUTH, 20)
    assert distances[A].tolist() == [1, 9] and distances[B].tolist() == [0]
    assert mean_distance(distances) == pytest.approx(10 / 3) and mean_distance({}) is None
    table = centring_table({A: distances[A], B: np.empty(0)}, {A: "1abc", B: "2xyz"}).set_index("reference")
    assert table.loc[A, ["found", "mean", "median"]].tolist() == [2, 5, 5]
    assert table.loc[B, "found"] == 0 and np.isnan(table.loc[B, "mean"])


def test_confusion_tells_what_each_pick_hits() -> None:
    table = confusion(PICKS, TRUTH, {"1abc": 20, "2xyz": 20}).set_index("reference")
    assert table.loc[A, ["1abc", "2xyz", AGAIN, NOTHING]].tolist() == [1, 1, 2, 1]
    assert table.loc[B, ["1abc", "2xyz", AGAIN, NOTHING]].tolist() == [0, 1, 0, 0]


def test_confusion_adds_up_over_tomograms_with_other_classes() -> None:
    one = confusion(PICKS, TRUTH, 20)
    other = confusion(picks_of((0, 0.9, 0), (50, 0.9, 0)), truth_of(("1abc", 0), ("3cde", 52)), 20)
    both = add_up([one, other]).set_index("reference")
    assert list(both.columns) == ["class", "1abc", "2xyz", "3cde", AGAIN, NOTHING]
    assert both.loc[A].tolist() == ["1abc", 2, 1, 1, 2, 1]


def curve(particles: int, tp: list[int], fp: list[int]) -> ThresholdCurve:
    return ThresholdCurve(A, "1abc", particles, 0.1, 5, np.array(tp), np.array(fp))


def test_precision_and_recall_of_two_tomograms_together() -> None:
    table = precision_recall([[curve(4, [4, 3, 2, 0], [4, 1, 0, 0])], [curve(2, [2, 2, 1, 0], [6, 6, 0, 0])]])
    assert table["threshold"].tolist() == [0.5, 0.6, 0.7]  # above that there is no pick
    assert table["Precision"].to_numpy() == pytest.approx([6 / 16, 5 / 12, 1])
    assert table["Recall"].to_numpy() == pytest.approx([1, 5 / 6, 1 / 2])
    # Recall gained, from the best threshold down, times the precision there.
    area = 1 / 2 * 1 + 1 / 3 * 5 / 12 + 1 / 6 * 6 / 16
    assert average_precision(table)[A] == pytest.approx(area)
    assert png_bytes(precision_recall_chart(table, thresholds={A: 0.6})).startswith(b"\x89PNG")
    assert precision_recall([]).empty and average_precision(precision_recall([])).empty
    precision_recall_chart(precision_recall([]))


def test_honest_scores_are_of_thresholds_of_the_others() -> None:
    tomograms = {
        # Best above 0.6: keeps one right, drops one false.
        "one": (picks_of((0, 0.9, 0), (50, 0.6, 0)), truth_of(("1abc", 0))),
        # Best below 0.55, which keeps two right; the threshold of `one` keeps one.
        "two": (picks_of((0, 0.9, 0), (100, 0.555, 0)), truth_of(("1abc", 0), ("1abc", 100))),
        "three": (picks_of((0, 0.9, 0), (50, 0.6, 0)), truth_of(("1abc", 0))),
    }
    found = evaluate_honestly(tomograms, 20)
    scores = found.scores.set_index("tomogram")
    assert scores.loc["two", "honest_f1"] == pytest.approx(2 / 3)
    assert scores.loc["two", "best_case_f1"] == 1
    assert scores.loc["two", "threshold"] > 0.6
    assert (scores["best_case_f1"] >= scores["honest_f1"]).all()
    assert found.summary["score"].tolist() == list(SCORES) and found.summary["low"].notna().all()
    assert found.by_reference.iloc[0][["reference", "tomograms"]].tolist() == [A, 3]
    assert found.confusion.set_index("reference").loc[A, "1abc"] == found.centring["found"].sum()


def test_one_tomogram_is_no_honest_score() -> None:
    with pytest.raises(InputError, match="two or more"):
        evaluate_honestly({"one": (PICKS, TRUTH)}, 20)
    apart = {"one": (PICKS, truth_of(("1abc", 0))), "two": (PICKS, truth_of(("2xyz", 0)))}
    with pytest.raises(InputError, match="share one"):
        evaluate_honestly(apart, 20)
