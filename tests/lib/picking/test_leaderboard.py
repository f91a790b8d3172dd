"""Networks compared: means, intervals, and the rule that promotes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.intervals import confidence_interval
from tomotwin_lib.leaderboard import (
    BOARD_COLUMNS,
    CLASS_COLUMNS,
    SCORE_COLUMNS,
    Evaluated,
    benchmark_scores,
    leaderboard,
    leaderboard_by_class,
)
from tomotwin_lib.promotion import better_choice, first_choice
from tomotwin_lib.thresholds import ThresholdCurve

RULE = {"margin": 0.01, "worst_class_drop": 0.05}


def row(reference: str, tp: int, fp: int, fn: int) -> dict[str, Any]:
    """A best-case row; its F1 is another one, as that of a report with another beta is."""
    return {"reference": f"{reference}.mrc", "class": reference, "TP": tp, "FP": fp, "FN": fn, "F1": 0.123}


def curve(reference: str, particles: int, tp: list[int], fp: list[int]) -> ThresholdCurve:
    return ThresholdCurve(f"{reference}.mrc", reference, particles, 0.1, 5, np.array(tp), np.array(fp))


def table(
    model: str, honest: dict[str, list[float]], best: dict[str, list[float]] | None = None
) -> pd.DataFrame:
    """Scores of a model by class, one a tomogram; NaN for none."""
    rows = [
        (model, f"t{index}", f"{name}.mrc", name, (best or honest)[name][index], value)
        for name, values in honest.items()
        for index, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def test_interval_by_hand() -> None:
    assert confidence_interval([0.5, 0.6]) is None
    assert confidence_interval([0.5, 0.6, np.nan]) is None
    assert confidence_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    # Each of the 27 samples of three is as likely: all three the lowest in 1 of 27, more than 2.5%.
    assert confidence_interval([0.2, 0.5, 0.8]) == pytest.approx((0.2, 0.8))


def test_interval_is_repeatable_and_covers() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(0.7, 0.1, (100, 12))
    found = [confidence_interval(sample, seed=3, resamples=500) for sample in samples]
    assert found[0] == confidence_interval(samples[0], seed=3, resamples=500)
    covered = np.mean([low <= 0.7 <= high for low, high in (interval or (0, 0) for interval in found)])
    assert 0.85 <= covered <= 1


def test_scores_are_those_of_the_counts_with_one_beta_for_all() -> None:
    evaluated = [
        Evaluated("net", "a", [row("x", 3, 1, 1)], [curve("x", 4, [4, 3, 2, 0], [4, 1, 0, 0])]),
        Evaluated("net", "b", [row("x", 1, 0, 1)], [curve("x", 2, [2, 2, 1, 0], [6, 6, 0, 0])]),
        Evaluated("old", "a", [row("x", 4, 4, 0)]),
    ]
    scores = benchmark_scores(evaluated)
    assert list(scores.columns) == SCORE_COLUMNS
    assert scores["best_case_f1"].tolist() == pytest.approx([3 / 4, 2 / 3, 2 / 3])
    # At the best threshold of the other one, as in the test of honest scores.
    assert scores["honest_f1"].tolist() == pytest.approx([2 / 3, 2 / 5, np.nan], nan_ok=True)
    assert benchmark_scores(evaluated, fbeta=2)["best_case_f1"][2] == pytest.approx(5 * 0.5 / (4 * 0.5 + 1))
    assert list(benchmark_scores([]).columns) == SCORE_COLUMNS


def test_leaderboard_by_hand() -> None:
    scores = pd.concat(
        [
            table("low", {"x": [0.1, 0.3, 0.5], "y": [0.3, 0.5, 0.7]}),
            table("high", {"x": [0.6, np.nan], "y": [0.8, np.nan]}, {"x": [0.7, 0.5], "y": [0.9, 0.7]}),
        ]
    )
    evaluated = [
        Evaluated("low", "t0", [], positions=1000, seconds=2.0, date="2026-01-02T00:00:00+00:00"),
        Evaluated("low", "t1", [], positions=3000, seconds=2.0, date="2026-01-01T00:00:00+00:00"),
        Evaluated("high", "t0", []),
    ]
    board = leaderboard(scores, evaluated)
    assert list(board.columns) == BOARD_COLUMNS
    assert board["model"].tolist() == ["high", "low"]
    assert board["tomograms"].tolist() == [2, 3]
    assert board["mean_honest_f1"].tolist() == pytest.approx([0.7, 0.4])
    assert board["mean_best_case_f1"].tolist() == pytest.approx([0.7, 0.4])
    assert np.isnan(board["honest_f1_low"][0])
    assert [board["honest_f1_low"][1], board["honest_f1_high"][1]] == pytest.approx([0.2, 0.6])
    assert board["positions_per_second"].tolist() == pytest.approx([np.nan, 1000], nan_ok=True)
    assert board["date"].tolist() == ["", "2026-01-02T00:00:00+00:00"]
    classes = leaderboard_by_class(scores)
    assert list(classes.columns) == CLASS_COLUMNS
    assert classes[["class", "model"]].to_numpy().tolist() == [
        ["x", "high"], ["x", "low"], ["y", "high"], ["y", "low"],
    ]  # fmt: skip
    assert classes["mean_honest_f1"].tolist() == pytest.approx([0.6, 0.3, 0.8, 0.5])
    assert leaderboard(scores.iloc[:0], []).empty and leaderboard_by_class(scores.iloc[:0]).empty


def test_the_first_is_the_best_of_those_that_were_scored_on_most() -> None:
    scores = pd.concat(
        [
            table("one", {"x": [0.9]}),
            table("two", {"x": [0.5, 0.7]}),
            table("three", {"x": [0.6, 0.7]}),
            table("untrained", {"x": [0.9, 0.9]}),
        ]
    )
    verdict = first_choice(scores, ["one", "two", "three"])
    assert verdict.model == "three"
    assert "best of 2" in verdict.why and "0.650" in verdict.why and "2 benchmark tomograms" in verdict.why


def test_the_first_without_a_benchmark() -> None:
    nothing = table("net", {"x": []})
    assert first_choice(nothing, ["net"]).model == "net"
    assert first_choice(nothing, ["net", "other"]).model is None
    assert "no network" in first_choice(nothing, []).why


@pytest.mark.parametrize(
    ("new", "promoted", "told"),
    [
        ({"x": [0.62, 0.62], "y": [0.6, 0.6]}, True, "0.610"),  # exactly the margin
        ({"x": [0.61, 0.61], "y": [0.6, 0.6]}, False, "not better by 0.01"),
        ({"x": [0.8, 0.8], "y": [0.55, 0.55]}, True, "no class worse by more than 0.05"),  # exactly the drop
        ({"x": [0.9, 0.9], "y": [0.54, 0.54]}, False, "class y is worse by 0.060"),
        ({"x": [0.9, 0.9], "y": [0.4, 0.8]}, True, ""),  # classes count over all tomograms
    ],
)
def test_the_rule_by_hand(new: dict[str, list[float]], promoted: bool, told: str) -> None:
    scores = pd.concat([table("old", {"x": [0.6, 0.6], "y": [0.6, 0.6]}), table("new", new)])
    verdict = better_choice(scores, "old", ["old", "new"], **RULE)
    assert verdict.model == ("new" if promoted else None)
    assert told in verdict.why and "honest" in verdict.why


def test_the_rule_takes_the_best_that_may_be() -> None:
    scores = pd.concat(
        [
            table("old", {"x": [0.6, 0.6], "y": [0.6, 0.6]}),
            table("good", {"x": [0.7, 0.7], "y": [0.7, 0.7]}),
            table("lopsided", {"x": [1.0, 1.0], "y": [0.5, 0.5]}),
            table("better", {"x": [0.7, 0.75], "y": [0.7, 0.7]}),
        ]
    )
    names = ["old", "good", "lopsided", "better"]
    assert better_choice(scores, "old", names, **RULE).model == "better"
    assert better_choice(scores, "old", ["old", "good", "lopsided"], **RULE).model == "good"
    stays = better_choice(scores, "good", ["old", "good", "lopsided"], **RULE)
    assert stays.model is None and "class y is worse by 0.200" in stays.why and "1 other neither" in stays.why


def test_best_cases_are_compared_where_there_is_one_tomogram() -> None:
    scores = pd.concat(
        [table("old", {"x": [np.nan]}, {"x": [0.5]}), table("new", {"x": [np.nan]}, {"x": [0.6]})]
    )
    verdict = better_choice(scores, "old", ["old", "new"], **RULE)
    assert verdict.model == "new" and "best-case" in verdict.why and "too few tomograms" in verdict.why


def test_only_what_both_were_scored_on_is_compared() -> None:
    old = table("old", {"x": [0.6, 0.6]})
    more = table("new", {"x": [0.65, 0.65, 0.1]})  # the third tomogram is new
    assert better_choice(pd.concat([old, more]), "old", ["old", "new"], **RULE).model == "new"
    less = better_choice(pd.concat([old, table("new", {"x": [0.9]})]), "old", ["old", "new"], **RULE)
    assert less.model is None and "no scores on t1" in less.why
    none = better_choice(more, "old", ["old", "new"], **RULE)
    assert none.model is None and "old, in production, has no scores" in none.why
    two = table("old", {"x": [0.6, 0.6], "y": [0.1, 0.1]})
    lacking = better_choice(pd.concat([two, more]), "old", ["old", "new"], **RULE)
    assert lacking.model is None and "no scores of y.mrc" in lacking.why
    assert "the only network" in better_choice(old, "old", ["old"], **RULE).why
