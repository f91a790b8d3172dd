"""Thresholds chosen on some tomograms for others: by hand, and against trying everything."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.evaluation import evaluate_positions
from tomotwin_lib.picking import keep_picks
from tomotwin_lib.thresholds import (
    HIGHEST,
    HONEST_COLUMNS,
    ThresholdCurve,
    curve_from_record,
    curve_record,
    honest_scores,
    keep_above,
    pooled_thresholds,
    threshold_curves,
)

REFERENCE = "m_1abc_0.mrc"


def case(seed: int, classes: tuple[str, ...] = ("1abc", "2xyz")) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Picks near the truth and beside it, in half precision as files have them, and the truth."""
    rng = np.random.default_rng(seed)
    picks, truth = [], []
    for number, name in enumerate(classes):
        places = rng.uniform(0, 150, (15, 3))
        near = places[rng.integers(0, 15, 20)] + rng.normal(0, 2, (20, 3))
        frame = pd.DataFrame(np.vstack([near, rng.uniform(0, 150, (20, 3))]), columns=["X", "Y", "Z"])
        metric = np.r_[rng.normal(0.75, 0.1, 20), rng.normal(0.6, 0.1, 20)]
        picks.append(frame.assign(metric_best=np.float16(metric), size=9, predicted_class=number))
        truth.append(pd.DataFrame(places, columns=["X", "Y", "Z"]).assign(**{"class": name}))
    together = pd.concat(picks, ignore_index=True)
    together.attrs["references"] = [f"m_{name}_0.mrc" for name in classes]
    return together, pd.concat(truth, ignore_index=True)


def curve(
    particles: int, first: int, tp: list[int], fp: list[int], step: float = 0.1, reference: str = REFERENCE
) -> ThresholdCurve:
    return ThresholdCurve(reference, "1abc", particles, step, first, np.array(tp), np.array(fp))


# At 0.5, 0.6, 0.7, 0.8.
A = curve(4, 5, [4, 3, 2, 0], [4, 1, 0, 0])  # F1 2/3, 3/4, 2/3, 0
B = curve(2, 5, [2, 2, 1, 0], [6, 6, 0, 0])  # F1 2/5, 2/5, 2/3, 0


@pytest.mark.parametrize("step", [0.01, 0.05, 0.0003])
@pytest.mark.parametrize("seed", range(2))
def test_a_curve_equals_scoring_what_each_threshold_keeps(seed: int, step: float) -> None:
    picks, truth = case(seed)
    for number, found in enumerate(threshold_curves(picks, truth, 14, step)):
        own = picks[picks["predicted_class"] == number]
        assert found.tp[-1] == found.fp[-1] == 0
        for index in np.linspace(0, len(found.tp) - 1, 6).astype(int):
            kept = keep_picks(own, minimum_metric=found.thresholds[index])
            row = evaluate_positions(kept, truth, 14).set_index("reference").loc[found.reference]
            assert row[["TP", "FP", "FN"]].tolist() == [found.tp[index], found.fp[index], found.fn[index]]
        everything = evaluate_positions(own, truth, 14).set_index("reference").loc[found.reference]
        assert [found.tp[0], found.fp[0]] == everything[["TP", "FP"]].tolist()


def test_no_picks_and_no_step() -> None:
    picks, truth = case(0)
    (first, _) = threshold_curves(picks.iloc[:0], truth, 14)
    assert (first.tp.tolist(), first.fp.tolist(), first.fn.tolist()) == ([0], [0], [15])
    assert pooled_thresholds([[first]]) == {REFERENCE: HIGHEST}
    with pytest.raises(InputError, match="no step between thresholds"):
        threshold_curves(picks, truth, 14, 0)


def test_pooled_by_hand() -> None:
    # One alone: 0.6. Both: tp 6, 5, 3, 0 and fp 10, 7, 0, 0 of 6 particles give 12/22, 10/18, 6/9, 0.
    assert pooled_thresholds([[A]]) == {REFERENCE: 0.6}
    assert pooled_thresholds([[A], [B]]) == {REFERENCE: 0.7}
    # Where recall weighs more, more is kept.
    assert pooled_thresholds([[A], [B]], fbeta=4) == {REFERENCE: 0.5}


def test_of_equal_scores_the_highest_threshold_is_taken() -> None:
    flat = curve(2, 3, [2, 2, 2, 2, 0], [1, 1, 1, 1, 0])
    assert pooled_thresholds([[flat]]) == {REFERENCE: 0.6}
    assert pooled_thresholds([[curve(2, 3, [0, 0], [5, 0])]]) == {REFERENCE: HIGHEST}


def test_outside_of_its_range_a_curve_goes_on() -> None:
    low, high = curve(2, -5, [2, 0], [0, 0]), curve(2, 8, [2, 0], [0, 0])
    assert low.counts([-0.9, -0.5, -0.4, 0.9])[0].tolist() == [2, 2, 0, 0]
    # Together: all four up to −0.5, two up to 0.8.
    assert pooled_thresholds([[low], [high]]) == {REFERENCE: -0.5}


def test_other_steps_are_brought_together() -> None:
    fine = curve(4, 50, [4] * 10 + [3] * 15 + [0], [4] * 10 + [0] * 15 + [0], step=0.01)
    assert pooled_thresholds([[fine]]) == {REFERENCE: 0.74}
    # Of 8 particles, above 0.6 six and one false pick: 12/15; above 0.7 five and none: 10/13.
    assert pooled_thresholds([[A], [fine]]) == {REFERENCE: 0.6}


def test_honest_by_hand() -> None:
    scores = honest_scores({"a": [A], "b": [B]})
    assert list(scores.columns) == HONEST_COLUMNS
    # "a" at 0.7, the best of "b"; "b" at 0.6, the best of "a".
    assert scores[["tomogram", "threshold", "TP", "FP", "FN"]].to_numpy().tolist() == [
        ["a", 0.7, 2, 0, 2],
        ["b", 0.6, 2, 6, 0],
    ]
    assert scores["F1"].tolist() == pytest.approx([2 / 3, 2 / 5])
    assert scores["Recall"].tolist() == [0.5, 1] and scores["Precision"].tolist() == [1, 0.25]


def test_nothing_is_honest_without_another_tomogram() -> None:
    assert honest_scores({"a": [A]}).empty
    assert honest_scores({}).empty
    lonely = curve(3, 5, [3, 0], [0, 0], reference="m_2xyz_0.mrc")
    scores = honest_scores({"a": [A, lonely], "b": [B]})
    assert scores["reference"].tolist() == [REFERENCE, REFERENCE]


def test_honest_equals_leaving_each_tomogram_out() -> None:
    cases = {f"t{seed}": case(seed) for seed in range(3)}
    curves = {name: threshold_curves(*both, 14, 0.05) for name, both in cases.items()}
    scores = honest_scores(curves).set_index(["tomogram", "reference"])
    assert len(scores) == 6
    grid = np.arange(-2, 21) * 0.05
    for left_out, (picks, truth) in cases.items():
        for number, reference in enumerate(picks.attrs["references"]):
            best, threshold = -1.0, 0.0
            for limit in grid.round(10):
                counts = np.zeros(3)
                for name, (other, others_truth) in cases.items():
                    if name != left_out:
                        kept = keep_picks(other[other["predicted_class"] == number], minimum_metric=limit)
                        row = evaluate_positions(kept, others_truth, 14).set_index("reference").loc[reference]
                        counts += row[["TP", "FP", "FN"]].to_numpy(float)
                f1 = 2 * counts[0] / (2 * counts[0] + counts[1] + counts[2])
                if f1 >= best - 1e-12:
                    best, threshold = f1, limit
            kept = keep_picks(picks[picks["predicted_class"] == number], minimum_metric=threshold)
            row = evaluate_positions(kept, truth, 14).set_index("reference").loc[reference]
            found = scores.loc[(left_out, reference)]
            assert found["threshold"] == pytest.approx(threshold)
            assert found[["TP", "FP", "FN"]].tolist() == row[["TP", "FP", "FN"]].tolist()
            assert found["F1"] == pytest.approx(row["F1"])


def test_honest_does_not_see_the_tomogram_that_it_scores() -> None:
    before = honest_scores({"a": [A], "b": [B]})
    changed = curve(9, 2, [9, 9, 9, 8, 8, 7, 1, 0], [50, 40, 30, 20, 10, 5, 0, 0])
    after = honest_scores({"a": [changed], "b": [B]})
    assert before["threshold"][0] == after["threshold"][0]


def test_kept_are_those_above_the_threshold_of_their_own_reference() -> None:
    picks, _ = case(3, ("1abc", "2xyz", "3foo"))
    one, _, three = picks.attrs["references"]
    kept = keep_above(picks, {one: 0.7, three: -2.0})
    expected = [
        keep_picks(picks[picks["predicted_class"] == number], minimum_metric=limit)
        for number, limit in ((0, 0.7), (1, None), (2, None))
    ]
    pd.testing.assert_frame_equal(kept, pd.concat(expected, ignore_index=True))
    assert 20 < len(kept) < len(picks) and kept.attrs == picks.attrs


def test_a_curve_survives_its_record() -> None:
    picks, truth = case(5)
    for one in threshold_curves(picks, truth, 14):
        again = curve_from_record(json.loads(json.dumps(curve_record(one))))
        assert curve_record(again) == curve_record(one)
        assert pooled_thresholds([[again]]) == pooled_thresholds([[one]])
    record = curve_record(A)
    with pytest.raises(ValueError, match="not whole"):
        curve_from_record(record | {"fp": [1]})
    with pytest.raises(KeyError):
        curve_from_record({"reference": "a"} | {"tp": [], "fp": []})
