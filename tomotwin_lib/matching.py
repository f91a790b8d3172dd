"""Which picks lie on which particles, and the thresholds that would have chosen the best of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from tomotwin_lib.boxes import cube_iou, farthest_overlap
from tomotwin_lib.picking import Thresholds, above
from tomotwin_lib.products import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives, and what follows from them."""

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float:
        """Share of the positives that are true; 0 if none is."""
        return self.tp / (self.tp + self.fp) if self.tp else 0.0

    @property
    def recall(self) -> float:
        """Share of the particles that were found; 0 if none was."""
        return self.tp / (self.tp + self.fn) if self.tp else 0.0

    def f_score(self, beta: float = 1.0) -> float:
        """Weighted harmonic mean of precision and recall, where recall weighs ``beta`` times as much."""
        weighted = beta**2 * self.precision + self.recall
        return (1 + beta**2) * self.precision * self.recall / weighted if weighted else 0.0


class Matching:
    """Pairs of particles and picks, found once and counted for any choice of the picks.

    Parameters
    ----------
    truth : (particle, 3) centres of the particles' cubes, in voxels.
    picks : (pick, 3) centres of the picks' cubes, in voxels.
    box_size : edge length of all cubes, in voxels.
    minimum_iou : intersection over union that a pick must exceed to find a particle.
    """

    def __init__(
        self, truth: FloatArray, picks: FloatArray, box_size: float, minimum_iou: float = 0.6
    ) -> None:
        self.particles, self.picks = len(truth), len(picks)
        reach = farthest_overlap(box_size, minimum_iou) * (1 + 1e-6)
        near = cKDTree(truth.reshape(-1, 3)).query_ball_tree(cKDTree(picks.reshape(-1, 3)), reach, p=np.inf)
        pairs = [(particle, pick) for particle, found in enumerate(near) for pick in found]
        particle, pick = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        iou = cube_iou(truth[particle], box_size, picks[pick], box_size)
        # Each particle's best pick first: whatever picks are kept, its match is its first one that is.
        order = np.lexsort((pick, -iou, particle))
        order = order[iou[order] > minimum_iou]
        self._particle, self._pick = particle[order], pick[order]

    def counts(self, kept: BoolArray | None = None) -> Counts:
        """Count for the picks of a mask, all where ``None``.

        A particle is found if one of them lies on it; the best such pick is its match. A pick that is
        nobody's match is a false positive.
        """
        if kept is None:
            kept = np.ones(self.picks, dtype=bool)
        usable = kept[self._pick]
        found, first = np.unique(self._particle[usable], return_index=True)
        matches = np.unique(self._pick[usable][first])
        return Counts(len(found), int(kept.sum()) - len(matches), self.particles - len(found))


def best_thresholds(
    matching: Matching, metric: FloatArray, size: IntArray, *, fbeta: float = 1.0, step: float = 0.05
) -> tuple[Thresholds, Counts]:
    """Tune the lowest similarity, then the smallest, then the largest region, the ones before held fixed.

    Similarities are tried in steps of ``step`` from 0 up (from below the worst pick, where that is not above
    0), sizes on the odd numbers, the smallest from 1 up and the largest from above all picks down. A value is
    taken if it scores strictly better than those before it.

    Parameters
    ----------
    matching : of all picks.
    metric, size : (pick,) similarity and region size of the picks.
    fbeta : how many times as much as precision recall weighs.
    step : distance of the similarities that are tried.

    Returns
    -------
    The thresholds, and the counts of the picks between them.
    """
    worst = float(metric.min(initial=1))
    start = 0.0 if worst > 0 else float(np.floor(worst / step) - 1) * step
    kept = np.ones(len(metric), dtype=bool)

    def first_best(limits: Iterable[tuple[float, BoolArray]]) -> tuple[float, BoolArray]:
        # max() takes the first of equals.
        return max(limits, key=lambda limit: matching.counts(limit[1]).f_score(fbeta))

    metrics = (start + np.arange(0, 1 - start, step)).tolist()
    minimum_metric, kept = first_best((limit, above(metric, limit)) for limit in metrics)
    # Of the odd limits between two neighbouring sizes, which keep the same picks, the first will do.
    unlimited = [(0, kept)]
    smallest = ((limit, kept & (size > limit)) for limit in np.unique(size | 1).tolist())
    minimum_size, kept = first_best(itertools.chain(unlimited, smallest))
    unlimited = [(0, kept)]
    largest = ((limit, kept & (size < limit)) for limit in np.unique((size - 1) | 1)[::-1].tolist())
    maximum_size, kept = first_best(itertools.chain(unlimited, largest))
    thresholds = Thresholds(minimum_metric, int(minimum_size), int(maximum_size))
    return thresholds, matching.counts(kept)
