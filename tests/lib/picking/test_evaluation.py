from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.boxes import cube_iou
from tomotwin_lib.errors import InputError
from tomotwin_lib.evaluation import (
    best_case_picks,
    evaluate_positions,
    mean_f1,
    score_table,
    write_evaluation,
)
from tomotwin_lib.formats.frames import read_picks
from tomotwin_lib.formats.ground_truth import read_box_sizes, read_particle_positions
from tomotwin_lib.matching import Counts, Matching, best_thresholds
from tomotwin_lib.picking import keep_picks

THRESHOLDS = ["O_METRIC", "O_MIN_SIZE", "O_MAX_SIZE"]


def truth_of(*rows: tuple[str, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["class", "X", "Y", "Z"])


def picks_of(
    *rows: tuple[float, float, float, float, int], references: tuple[str, ...] = ("m_1abc_0.mrc",)
) -> pd.DataFrame:
    """Picks of the first reference from rows of X, Y, Z, metric and size."""
    frame = pd.DataFrame(rows, columns=["X", "Y", "Z", "metric_best", "size"]).assign(predicted_class=0)
    frame.attrs["references"] = list(references)
    return frame


FOUR_PARTICLES = truth_of(*(("1abc", 100.0 * n, 50, 50) for n in range(4)))
# Two of four particles found, one of them twice, and a pick beside.
FOUR_PICKS = picks_of(
    (0, 50, 50, 0.90, 30), (1, 50, 50, 0.80, 40), (102, 50, 51, 0.70, 20), (250, 50, 50, 0.60, 50)
)


def test_by_hand() -> None:
    scores = evaluate_positions(FOUR_PICKS, FOUR_PARTICLES, 20)
    assert scores.iloc[0].to_dict() == {
        "reference": "m_1abc_0.mrc",
        "class": "1abc",
        "F1": 0.5,
        "Recall": 0.5,
        "Precision": 0.5,
        "TruePositiveRate": 0.5,
        "TP": 2,
        "FP": 2,
        "FN": 2,
    }


def test_f_beta_by_hand() -> None:
    counts = Counts(tp=3, fp=1, fn=3)
    assert counts.precision == 0.75 and counts.recall == 0.5
    assert counts.f_score() == pytest.approx(0.6)
    assert counts.f_score(2) == pytest.approx(5 * 0.75 * 0.5 / (4 * 0.75 + 0.5))
    assert counts.f_score(0.5) == pytest.approx(1.25 * 0.75 * 0.5 / (0.25 * 0.75 + 0.5))
    assert Counts(0, 0, 4).f_score() == Counts(0, 3, 0).precision == 0


def test_only_more_than_the_minimum_overlap_finds() -> None:
    truth = truth_of(("1abc", 0, 0, 0))
    assert evaluate_positions(picks_of((5, 0, 0, 0.9, 9)), truth, 20)["TP"].tolist() == [0]
    assert evaluate_positions(picks_of((4.9, 0, 0, 0.9, 9)), truth, 20)["TP"].tolist() == [1]


def test_the_best_match_counts_and_others_are_false() -> None:
    matching = Matching(np.zeros((1, 3)), np.array([[2.0, 0, 0], [1, 0, 0], [3, 0, 0]]), 20)
    assert matching.counts() == Counts(1, 2, 0)
    assert matching.counts(np.array([True, False, True])) == Counts(1, 1, 0)
    assert matching.counts(np.zeros(3, dtype=bool)) == Counts(0, 0, 1)


def test_nothing_to_match() -> None:
    nothing = np.empty((0, 3))
    assert Matching(nothing, nothing, 20).counts() == Counts(0, 0, 0)
    assert Matching(np.zeros((2, 3)), nothing, 20).counts() == Counts(0, 0, 2)
    assert Matching(nothing, np.zeros((2, 3)), 20).counts() == Counts(0, 2, 0)
    empty = FOUR_PICKS.iloc[:0]
    row = evaluate_positions(empty, FOUR_PARTICLES, 20, optimise=True).iloc[0]
    assert row["F1"] == 0 and row["FN"] == 4 and row[THRESHOLDS].tolist() == [0, 0, 0]


def test_optimised_by_hand() -> None:
    # Above 0.6 all false picks but the second are gone; it is the largest of what is left.
    row = evaluate_positions(FOUR_PICKS, FOUR_PARTICLES, 20, optimise=True).iloc[0]
    assert row[["TP", "FP", "FN"]].tolist() == [2, 0, 2]
    assert row["F1"] == pytest.approx(2 / 3)
    assert row[THRESHOLDS].tolist() == pytest.approx([0.6, 0, 39])
    small = FOUR_PICKS.assign(size=[30, 10, 20, 50])
    row = evaluate_positions(small, FOUR_PARTICLES, 20, optimise=True).iloc[0]
    assert row[THRESHOLDS].tolist() == pytest.approx([0.6, 11, 0]) and row["FP"] == 0


def test_negative_similarities_can_be_the_best() -> None:
    picks = FOUR_PICKS.assign(metric_best=[-0.1, -0.5, -0.2, -0.9])
    row = evaluate_positions(picks, FOUR_PARTICLES, 20, optimise=True, step=0.1).iloc[0]
    assert row["TP"] == 2 and row["FP"] == 0 and row["O_METRIC"] == pytest.approx(-0.5)


def random_case(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 120, (40, 3))
    near = truth[rng.integers(0, 40, 60)] + rng.normal(0, 2.5, (60, 3))
    frame = pd.DataFrame(np.vstack([near, rng.uniform(0, 120, (40, 3))]), columns=["X", "Y", "Z"])
    frame["metric_best"] = np.float32(np.r_[rng.normal(0.7, 0.15, 60), rng.normal(0.55, 0.15, 40)])
    frame["size"] = np.r_[rng.integers(20, 80, 60), rng.integers(2, 120, 40)]
    frame["predicted_class"] = 0
    frame.attrs["references"] = ["m_1abc_0.mrc"]
    return frame, truth_of(*(("1abc", *row) for row in truth.tolist()))


@pytest.mark.parametrize("seed", range(3))
def test_matching_equals_comparing_all_with_all(seed: int) -> None:
    picks, truth = random_case(seed)
    a, b = truth[["X", "Y", "Z"]].to_numpy(), picks[["X", "Y", "Z"]].to_numpy()
    matching = Matching(a, b, 14)
    rng = np.random.default_rng(seed)
    for share in (1, 0.7, 0.3):
        kept = rng.random(len(b)) < share
        iou = cube_iou(a[:, None], 14, b[kept], 14)
        found = iou.max(axis=1) > 0.6
        matches = set(iou.argmax(axis=1)[found])
        assert matching.counts(kept) == Counts(found.sum(), kept.sum() - len(matches), (~found).sum())


@pytest.mark.parametrize("fbeta", [0.5, 1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_optimised_is_never_worse_and_its_thresholds_give_its_score(seed: int, fbeta: float) -> None:
    picks, truth = random_case(seed)
    plain = evaluate_positions(picks, truth, 14, fbeta=fbeta).iloc[0]
    best = evaluate_positions(picks, truth, 14, fbeta=fbeta, optimise=True).iloc[0]
    assert best["F1"] > plain["F1"]
    kept = keep_picks(
        picks,
        minimum_metric=best["O_METRIC"],
        minimum_size=best["O_MIN_SIZE"],
        maximum_size=best["O_MAX_SIZE"],
    )
    again = evaluate_positions(kept, truth, 14, fbeta=fbeta).iloc[0]
    assert again[["F1", "TP", "FP", "FN"]].tolist() == best[["F1", "TP", "FP", "FN"]].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_thresholds_equal_trying_every_odd_size(seed: int) -> None:
    picks, truth = random_case(seed)
    positions = picks[["X", "Y", "Z"]].to_numpy()
    matching = Matching(truth[["X", "Y", "Z"]].to_numpy(), positions, 14)
    metric, size = picks["metric_best"].to_numpy(), picks["size"].to_numpy()
    best, counts = best_thresholds(matching, metric, size, step=0.05)
    masks = {limit: metric > limit for limit in np.arange(0, 1, 0.05)}
    score = {limit: matching.counts(mask).f_score() for limit, mask in masks.items()}
    assert best.minimum_metric == max(score, key=score.__getitem__)
    kept = masks[best.minimum_metric]
    score = {limit: matching.counts(kept & (size > limit)).f_score() for limit in [0, *range(1, 200, 2)]}
    assert best.minimum_size == max(score, key=score.__getitem__)
    kept = kept & (size > best.minimum_size)
    score = {0: matching.counts(kept).f_score()}
    score |= {limit: matching.counts(kept & (size < limit)).f_score() for limit in range(199, 0, -2)}
    assert score[best.maximum_size] == max(score.values()) == counts.f_score()
    same = [
        np.count_nonzero(kept & (size < m)) for m in (best.maximum_size, max(score, key=score.__getitem__))
    ]
    assert same[0] == same[1]


def test_classes_without_partner_are_told() -> None:
    truth = pd.concat([FOUR_PARTICLES, truth_of(("vesicle", 1, 1, 1))])
    picks = picks_of((0, 50, 50, 0.9, 30), references=("m_1abc_0.mrc", "m_2def_0.mrc"))
    scores = evaluate_positions(picks, truth, 20)
    assert scores["reference"].tolist() == ["m_1abc_0.mrc"]
    assert scores.attrs == {"without_truth": ["m_2def_0.mrc"], "without_reference": ["vesicle"]}
    table = score_table(scores)
    assert "m_2def_0.mrc" in table and "vesicle" in table and "mean F1 0.400 over 1 reference" in table
    with pytest.raises(InputError, match=r"m_1abc_0\.mrc, m_2def_0\.mrc.*vesicle"):
        evaluate_positions(picks, truth.iloc[-1:], 20)


def test_a_reference_named_as_its_class() -> None:
    truth = truth_of(("ribosome", 5, 5, 5))
    scores = evaluate_positions(picks_of((5, 5, 5, 0.9, 9), references=("Ribosome.mrc",)), truth, 20)
    assert scores[["class", "TP"]].to_numpy().tolist() == [["ribosome", 1]]


@pytest.mark.parametrize("options", [{"fbeta": 0}, {"fbeta": np.nan}, {"step": 0}, {"step": 2}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        evaluate_positions(FOUR_PICKS, FOUR_PARTICLES, 20, **options)  # type: ignore[arg-type]


def test_a_missing_box_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"m_1abc_0\.mrc.*5mrc"):
        evaluate_positions(FOUR_PICKS, FOUR_PARTICLES, {"5mrc": 37})


def test_written_files(tmp_path: Path) -> None:
    scores = evaluate_positions(FOUR_PICKS, FOUR_PARTICLES, 20, optimise=True)
    table, dictionary = write_evaluation(tmp_path / "new", scores)
    assert table == tmp_path / "new" / "evaluation_optim.txt"
    assert dictionary == tmp_path / "new" / "evaluation_optim_dict.json"
    assert table.read_text() == score_table(scores) + "\n"
    row = json.loads(dictionary.read_text())["m_1abc_0.mrc"]
    assert row["TP"] == 2 and row["O_MAX_SIZE"] == 39 and row["F1"] == pytest.approx(2 / 3)
    plain = write_evaluation(tmp_path, evaluate_positions(FOUR_PICKS, FOUR_PARTICLES, 20), optimised=False)
    assert [path.name for path in plain] == ["evaluation.txt", "evaluation_dict.json"]


@pytest.mark.parametrize("optimise", [False, True])
def test_same_scores_as_tomotwin(shared: Path, optimise: bool, tmp_path: Path) -> None:
    folder = shared / "interop" / "evaluate"
    expected = json.loads((folder / "expected.json").read_text())
    scores = evaluate_positions(
        read_picks(folder / "located.tloc"),
        read_particle_positions(folder / "particle_positions.txt"),
        read_box_sizes(folder / "boxsizes.json"),
        optimise=optimise,
        step=expected["stepsize"],
    )
    known = expected["optimised" if optimise else "plain"]
    _, dictionary = write_evaluation(tmp_path, scores, optimise)
    assert json.loads(dictionary.read_text()) == known
    assert mean_f1(scores) == pytest.approx(np.mean([row["F1"] for row in known.values()]))
    assert scores.attrs == {"without_truth": [], "without_reference": ["fiducial", "vesicle"]}


def test_best_case_picks_are_those_that_the_limits_keep() -> None:
    picks = pd.DataFrame(
        {
            "X": 0.0,
            "Y": 0.0,
            "Z": 0.0,
            "metric_best": [0.9, 0.7, 0.6, 0.9, 0.5],
            "size": [9, 9, 30, 3, 20],
            "predicted_class": [0, 0, 0, 1, 1],
        }
    )
    picks.attrs["references"] = ["a.mrc", "b.mrc"]
    scores = pd.DataFrame(
        [
            {"reference": "b.mrc", "O_METRIC": 0.4, "O_MIN_SIZE": 5, "O_MAX_SIZE": 0},
            {"reference": "a.mrc", "O_METRIC": 0.55, "O_MIN_SIZE": 0, "O_MAX_SIZE": 15},
        ]
    )
    kept = best_case_picks(picks, scores)
    assert kept[["predicted_class", "metric_best"]].to_numpy().tolist() == [[1, 0.5], [0, 0.9], [0, 0.7]]
    assert kept.attrs == picks.attrs
