"""Counting and tuning against what their definitions say, compared pick by pick and limit by limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tomotwin_lib.boxes import cube_iou
from tomotwin_lib.matching import Counts, Matching, best_thresholds
from tomotwin_lib.picking import Thresholds
from tomotwin_lib.products import FloatArray, IntArray

BOX = 14
BoolArray = npt.NDArray[np.bool_]


def counted(iou: FloatArray, kept: BoolArray) -> Counts:
    """From (particle, pick), all compared with all."""
    of_kept = np.where(kept, iou, 0)
    found = of_kept.max(axis=1, initial=0) > 0.6
    matches = len(set(of_kept[found].argmax(axis=1))) if found.any() else 0
    return Counts(int(found.sum()), int(kept.sum()) - matches, int((~found).sum()))


def tuned(
    iou: FloatArray, metric: FloatArray, size: IntArray, fbeta: float, step: float
) -> tuple[Thresholds, Counts]:
    """Every limit counted anew, all odd sizes tried."""
    worst = float(metric.min(initial=1))
    start = 0.0 if worst > 0 else (np.floor(worst / step) - 1) * step
    precision: Any = np.float16 if (metric == metric.astype(np.float16)).all() else metric.dtype.type
    limits = [float(limit) for limit in start + np.arange(0, 1 - start, step)]
    kept = np.ones(len(metric), dtype=bool)
    best: dict[str, float] = {}
    odd = range(1, int(size.max(initial=1)) + 4, 2)
    for name, tried in (("metric", limits), ("smallest", [0, *odd]), ("largest", [0, *reversed(odd)])):
        before, highest = kept, -1.0
        for limit in tried:
            if name == "metric":
                inside = before & (metric.astype(precision) > precision(limit))
            elif name == "smallest":
                inside = before & (size > limit)
            else:
                inside = before & (size < (limit or np.inf))
            score = counted(iou, inside).f_score(fbeta)
            if score > highest:
                best[name], kept, highest = limit, inside, score
    thresholds = Thresholds(best["metric"], int(best["smallest"]), int(best["largest"]))
    return thresholds, counted(iou, kept)


def case(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Particles, some so close that they share picks, and picks on them and beside; often equally far."""
    truth = rng.uniform(0, 40, (rng.integers(1, 16), 3)).round(rng.integers(0, 2))
    picks = rng.uniform(0, 40, (rng.integers(1, 30), 3))
    near = rng.random(len(picks)) < 0.8
    centres = truth[rng.integers(0, len(truth), near.sum())]
    picks[near] = centres + rng.normal(0, 1.5, (near.sum(), 3)).round(rng.integers(0, 2))
    truth = np.concatenate([truth, truth[: len(truth) // 2] + rng.integers(0, 3, (len(truth) // 2, 3))])
    return truth, picks


@pytest.mark.parametrize("precision", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("level", [0.6, 0.0, -0.4])
def test_tuning_equals_counting_every_limit_anew(precision: Any, level: float) -> None:
    shared = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        truth, picks = case(rng)
        iou = cube_iou(truth[:, None], BOX, picks, BOX)
        matches = iou.argmax(axis=1)[(iou > 0.6).any(axis=1)]
        shared += len(set(matches)) < len(matches)
        metric = rng.normal(level, 0.3, len(picks))
        if seed % 2:  # equals, and on the limits
            metric = metric.round(1)
        # Half precision comes as 32 bits, as the readers give it.
        metric = metric.astype(precision).astype(np.promote_types(precision, np.float32))
        size = rng.integers(1, rng.choice([4, 30]), len(picks))
        fbeta, step = float(rng.choice([0.5, 1, 2])), float(rng.choice([0.05, 0.1, 0.3]))
        found = best_thresholds(Matching(truth, picks, BOX), metric, size, fbeta=fbeta, step=step)
        assert found == tuned(iou, metric, size, fbeta, step)
    assert shared > 4


@pytest.mark.parametrize("particles", [0, 3])
@pytest.mark.parametrize("number", [0, 3])
def test_tuning_where_nothing_matches(particles: int, number: int) -> None:
    truth, picks = np.zeros((particles, 3)), np.full((number, 3), 99.0)
    metric, size = np.linspace(0.2, 0.8, number), np.arange(number)
    found = best_thresholds(Matching(truth, picks, BOX), metric, size)
    assert found == (Thresholds(0.0, 0, 0), Counts(0, number, particles))


def test_a_match_moves_to_the_next_best_pick_that_is_left() -> None:
    # One particle, three picks: the best goes first, then the worst, then the one between.
    matching = Matching(np.zeros((1, 3)), np.array([[0.0, 0, 0], [2, 0, 0], [1, 0, 0]]), BOX)
    tp, fp = matching.counts_of_nested(np.array([1, 2, 3]), 4)
    assert (tp.tolist(), fp.tolist()) == ([1, 1, 1, 0], [2, 1, 0, 0])


def test_a_shared_pick_is_one_match() -> None:
    # The pick between two particles is both's match once the first particle's own has gone.
    matching = Matching(np.array([[0.0, 0, 0], [3, 0, 0]]), np.array([[0.0, 0, 0], [2, 0, 0]]), BOX)
    tp, fp = matching.counts_of_nested(np.array([1, 2]), 2)
    assert (tp.tolist(), fp.tolist()) == ([2, 2], [0, 0])
