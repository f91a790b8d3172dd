"""Scores and best thresholds, with the picks matched again for every threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.products import FloatArray


def evaluate_by_matching_again(
    picks: pd.DataFrame, truth: pd.DataFrame, box_size: float, step: float
) -> pd.DataFrame:
    """Choose for each reference the thresholds that score best, and score with them.

    Follows: "A ground-truth cube is found if a pick's cube overlaps it with IoU above 0.6; picks that are
    nobody's best match are false positives. ``--optim`` tunes, one after the other, the lowest metric, the
    smallest size and the largest size"; for every threshold that is tried the picks that remain are matched
    anew.

    In its favour: all pairs of a matching are compared at once by NumPy.

    Parameters
    ----------
    picks : columns X, Y, Z, metric_best, size and predicted_class; attribute ``references``, which are named
        after the classes here.
    truth : columns class, X, Y, Z.
    box_size : edge length of all cubes, in voxels.
    step : distance of the thresholds of the metric.

    Returns
    -------
    One row a reference: reference, F1, O_METRIC, O_MIN_SIZE and O_MAX_SIZE (0: no limit).
    """
    rows = []
    for number, reference in enumerate(picks.attrs["references"]):
        particles = truth.loc[truth["class"] == reference, ["X", "Y", "Z"]].to_numpy(np.float64)
        own = picks[picks["predicted_class"] == number]

        def score(kept: pd.DataFrame, particles: npt.NDArray[np.float64] = particles) -> float:
            return _f1(particles, kept[["X", "Y", "Z"]].to_numpy(np.float64), box_size)

        largest_size = int(own["size"].max())
        metric, own, _ = _first_best(
            own, np.arange(0, 1, step).tolist(), lambda frame, limit: frame["metric_best"] > limit, score
        )
        minimum, own, _ = _first_best(
            own, [0, *range(1, largest_size + 2, 2)], lambda frame, limit: frame["size"] > limit, score
        )
        maximum, own, f1 = _first_best(
            own,
            [0, *range((largest_size + 1) | 1, 0, -2)],
            lambda frame, limit: frame["size"] < (limit or np.inf),
            score,
        )
        rows.append((reference, f1, metric, minimum, maximum))
    return pd.DataFrame(rows, columns=["reference", "F1", "O_METRIC", "O_MIN_SIZE", "O_MAX_SIZE"])


def _first_best(
    picks: pd.DataFrame,
    limits: Iterable[float],
    keeps: Callable[[pd.DataFrame, float], pd.Series[bool]],
    score: Callable[[pd.DataFrame], float],
) -> tuple[float, pd.DataFrame, float]:
    """The limit that scores best, the picks that it keeps, and their score."""
    best: tuple[float, pd.DataFrame, float] = (0.0, picks, -1.0)
    for limit in limits:
        kept = picks[keeps(picks, limit)]
        f1 = score(kept)
        if f1 > best[2]:
            best = (limit, kept, f1)
    return best


def _f1(particles: FloatArray, picks: FloatArray, box_size: float) -> float:
    """F1 of the picks, all of them matched with all particles."""
    if not len(picks):
        return 0.0
    shared = np.clip(box_size - np.abs(particles[:, None] - picks[None]), 0, None).prod(axis=2)
    iou = shared / (2 * box_size**3 - shared)
    found = iou.max(axis=1) > 0.6
    matches = len(np.unique(iou.argmax(axis=1)[found]))
    true_positives = int(found.sum())
    false_positives, missed = len(picks) - matches, len(particles) - true_positives
    if not true_positives:
        return 0.0
    precision = true_positives / (true_positives + false_positives)
    recall = true_positives / (true_positives + missed)
    return 2 * precision * recall / (precision + recall)
