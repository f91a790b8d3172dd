"""Which picks lie on which particles, and the thresholds that would have chosen the best of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tomotwin_lib.boxes import cube_iou, farthest_overlap
from tomotwin_lib.neighbours import Cells
from tomotwin_lib.picking import Thresholds, limits_below
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
        return float(_share(self.tp, self.fp))

    @property
    def recall(self) -> float:
        """Share of the particles that were found; 0 if none was."""
        return float(_share(self.tp, self.fn))

    def f_score(self, beta: float = 1.0) -> float:
        """Weighted harmonic mean of precision and recall, where recall weighs ``beta`` times as much."""
        return float(f_scores(self.tp, self.fp, self.fn, beta))


class Matching:
    """Pairs of particles and picks, found once and counted for any choice of the picks.

    Parameters
    ----------
    truth : (particle, 3) centres of the particles' cubes, in voxels.
    picks : (pick, 3) centres of the picks' cubes, in voxels.
    box_size : edge length of all cubes, in voxels.
    minimum_iou : intersection over union that a pick must exceed to find a particle.
    within : largest distance of a pick from the centre of a particle that it finds, in voxels: decides in
        place of the overlap where it is given, and the nearest pick is the best.
    """

    def __init__(
        self,
        truth: FloatArray,
        picks: FloatArray,
        box_size: float,
        minimum_iou: float = 0.6,
        *,
        within: float | None = None,
    ) -> None:
        self.particles, self.picks = len(truth), len(picks)
        # A hair more than the bound, because the distances are rounded; closeness decides.
        reach = farthest_overlap(box_size, minimum_iou) if within is None else within
        cells = Cells(picks.reshape(-1, 3), reach * (1 + 1e-6))
        pairs = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))]
        start = 0
        while start < len(truth):
            taken, particle, pick = cells.near(truth[start:])
            particle += start
            if within is None:
                close = cube_iou(truth[particle], box_size, picks[pick], box_size)
                finds = close > minimum_iou
            else:
                close = -np.linalg.norm(truth[particle] - picks[pick], axis=1)
                finds = -close <= within
            pairs.append((particle[finds], pick[finds], close[finds]))
            start += taken
        particle, pick, close = (np.concatenate(column) for column in zip(*pairs, strict=True))
        # Each particle's best pick first: whatever picks are kept, its match is its first one that is.
        order = np.lexsort((pick, -close, particle))
        self._particle, self._pick = particle[order], pick[order]

    def counts(self, kept: BoolArray | None = None) -> Counts:
        """Count for the picks of a mask, all where ``None``.

        A particle is found if one of them lies on it; the best such pick is its match. A pick that is
        nobody's match is a false positive.
        """
        if kept is None:
            kept = np.ones(self.picks, dtype=bool)
        tp, fp = self.counts_of_nested(kept.astype(np.int64), 1)
        return Counts(int(tp[0]), int(fp[0]), self.particles - int(tp[0]))

    def matches(self, kept: BoolArray | None = None) -> tuple[IntArray, IntArray]:
        """The particles that the picks of a mask (all where ``None``) find, and their matches.

        Returns
        -------
        Numbers of the particles, rising, and of the pick that is the match of each, (found,) both.
        """
        particle, pick = self._particle, self._pick
        if kept is not None:
            particle, pick = particle[kept[pick]], pick[kept[pick]]
        found, first = np.unique(particle, return_index=True)
        return found, pick[first]

    def counts_of_nested(
        self, kept_by: IntArray, limits: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Count for each of several limits, every one of which keeps some of the picks that the last kept.

        One pass over the pairs, whatever the number of limits: among a particle's picks, the best first, one
        becomes its match when all better ones have gone, and stays it until it goes itself.

        Parameters
        ----------
        kept_by : (pick,) by how many of the limits each pick is kept: by those, from the first.
        limits : number of the limits.

        Returns
        -------
        True and false positives, (limit,) each, as :meth:`counts` tells them for the picks that are kept.
        """
        ends = kept_by[self._pick]
        # How many limits keep one of the better picks of the same particle. Raised from particle to particle,
        # so that one running maximum over all pairs starts anew with each.
        floors = self._particle * (limits + 1)
        starts = np.maximum(np.append(0, np.maximum.accumulate(ends + floors)[:-1])[: len(ends)] - floors, 0)
        matches = starts < ends
        found = _covering(starts[matches], ends[matches], limits)
        # All matches of a pick end with it, so together they are one span from the earliest.
        earliest = np.full(self.picks, limits, dtype=np.int64)
        np.minimum.at(earliest, self._pick, starts)
        matched = earliest < kept_by
        true = _covering(earliest[matched], kept_by[matched], limits)
        kept = _covering(np.zeros_like(kept_by), kept_by, limits)
        return found, kept - true


def _covering(starts: IntArray, ends: IntArray, count: int) -> npt.NDArray[np.int64]:
    """For each of ``count`` places how many of the half-open spans lie over it."""
    changes = np.bincount(starts, minlength=count + 1) - np.bincount(ends, minlength=count + 1)
    return changes.cumsum()[:count]


def _share(part: int | IntArray, rest: int | IntArray) -> npt.NDArray[np.float64]:
    """The part in part and rest; 0 where there is no part."""
    return np.asarray(part / np.maximum(np.add(part, rest), 1))


def f_scores(
    tp: int | IntArray, fp: int | IntArray, fn: int | IntArray, beta: float = 1.0
) -> npt.NDArray[np.float64]:
    """F-beta of true positives, false positives and false negatives, element by element; 0 where tp is."""
    precision, recall = _share(tp, fp), _share(tp, fn)
    weighted = beta**2 * precision + recall
    return (1 + beta**2) * precision * recall / np.where(weighted, weighted, 1)


def best_thresholds(
    matching: Matching, metric: FloatArray, size: IntArray, *, fbeta: float = 1.0, step: float = 0.05
) -> tuple[Thresholds, Counts]:
    """Tune the lowest similarity, then the smallest, then the largest region, the ones before held fixed.

    Similarities are tried in steps of ``step`` from 0 up (from below the worst pick, where that is not above
    0), sizes on the odd numbers, the smallest from 1 up and the largest from above all picks down. A value is
    taken if it scores strictly better than those before it. The time grows with the picks and with the
    limits, not with the product of the two.

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

    def first_best(kept_by: IntArray, limits: int) -> tuple[int, Counts]:
        tp, fp = matching.counts_of_nested(kept_by, limits)
        fn = matching.particles - tp
        best = int(f_scores(tp, fp, fn, fbeta).argmax())  # The first of equals.
        return best, Counts(int(tp[best]), int(fp[best]), int(fn[best]))

    metrics = start + np.arange(0, 1 - start, step)
    kept_by = limits_below(metric, metrics)
    best, counts = first_best(kept_by, len(metrics))
    minimum_metric, kept = float(metrics[best]), kept_by > best
    # Of the odd limits between two neighbouring sizes, which keep the same picks, the first will do. Before
    # them all stands no limit.
    smallest = np.unique(size | 1)
    kept_by = np.where(kept, 1 + np.searchsorted(smallest, size), 0)
    best, counts = first_best(kept_by, 1 + len(smallest))
    minimum_size, kept = int(np.append(0, smallest)[best]), kept_by > best
    largest = np.unique((size - 1) | 1)[::-1]
    kept_by = np.where(kept, 1 + np.searchsorted(-largest, -size), 0)
    best, counts = first_best(kept_by, 1 + len(largest))
    return Thresholds(minimum_metric, minimum_size, int(np.append(0, largest)[best])), counts
