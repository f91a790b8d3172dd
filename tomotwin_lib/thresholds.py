"""Similarity thresholds chosen on some tomograms for others: what scores can honestly be hoped for.

A threshold that is chosen on the very picks that it is scored on flatters. Here the picks of each tomogram
are counted once for every threshold of a grid (a :class:`ThresholdCurve`); from these curves alone follow the
thresholds of any set of tomograms, and the scores of any tomogram at the thresholds of any others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.matching import Counts, f_scores
from tomotwin_lib.picking import above, limits_below
from tomotwin_lib.products import FloatArray, IntArray
from tomotwin_lib.reference_matching import ReferenceMatching, match_references

HIGHEST = 1.0
"""No similarity is above it: the threshold of a reference that none of its picks was right for."""

HONEST_COLUMNS = [
    "tomogram", "reference", "class", "threshold", "TP", "FP", "FN", "F1", "Recall", "Precision",
]  # fmt: skip

_SLACK = (
    1e-3  # Half precision, in which picks may be compared with a limit, is off by less than half of this.
)
_DIGITS = 10  # so that 7 steps of 0.01 are 0.07 and no 0.07000000000000001


@dataclass(frozen=True)
class ThresholdCurve:
    """How the picks of one reference in one tomogram count, by the similarity that they have to be above.

    The thresholds are the multiples of ``step`` from ``first`` on. The lowest keeps all picks and the highest
    none, so below and above them the counts stay what they are there.

    Attributes
    ----------
    reference, class_name : the reference's file name, and what the ground truth calls its particles.
    particles : number of particles of the class.
    step : distance of the thresholds.
    first : the lowest threshold in steps.
    tp, fp : (threshold,) particles that were found, and picks that found none.
    """

    reference: str
    class_name: str
    particles: int
    step: float
    first: int
    tp: IntArray
    fp: IntArray

    @property
    def thresholds(self) -> FloatArray:
        """(threshold,) the similarities, rising."""
        return ((self.first + np.arange(len(self.tp))) * self.step).round(_DIGITS)

    @property
    def fn(self) -> IntArray:
        """(threshold,) particles that were not found."""
        return self.particles - self.tp

    def counts(self, thresholds: npt.ArrayLike) -> tuple[IntArray, IntArray]:
        """True and false positives at any thresholds, those between two of the grid as at the upper one."""
        steps = np.ceil(np.asarray(thresholds) / self.step - 1e-6).astype(np.int64)
        index = np.clip(steps - self.first, 0, len(self.tp) - 1)
        return self.tp[index], self.fp[index]

    def f_score(self, threshold: float, beta: float = 1.0) -> float:
        """F-beta of the picks above a threshold."""
        return self.counts_above(threshold).f_score(beta)

    def counts_above(self, threshold: float) -> Counts:
        """The counts of the picks above one threshold."""
        found, false = (int(count) for count in self.counts(threshold))
        return Counts(found, false, self.particles - found)


def threshold_curves(
    picks: pd.DataFrame,
    truth: pd.DataFrame,
    box_sizes: int | Mapping[str, int],
    step: float = 0.01,
    *,
    within: float | None = None,
) -> list[ThresholdCurve]:
    """Count the picks of each reference for every threshold, in one pass over pairs of picks and particles.

    A pick is kept and finds a particle as in :func:`~tomotwin_lib.evaluation.evaluate_positions`; sizes of
    regions are not limited.

    Parameters
    ----------
    picks, truth, box_sizes : as there.
    step : distance of the thresholds, above 0 and up to 1.
    within : see :func:`~tomotwin_lib.reference_matching.match_references`.

    Returns
    -------
    One curve a reference whose class the truth holds.

    Raises
    ------
    InputError
        If the step is out of range, no reference's class is in the truth, or a box size is missing.
    """
    if not 0 < step <= 1:
        raise InputError("step", f"{step} is no step between thresholds", "Give a number above 0, up to 1")
    return [_curve(found, step) for found in match_references(picks, truth, box_sizes, within=within)]


def _curve(found: ReferenceMatching, step: float) -> ThresholdCurve:
    metric = found.metric.astype(np.float64)
    metric = metric[np.isfinite(metric)]
    lowest, highest = (metric.min(), metric.max()) if len(metric) else (0.0, 0.0)
    first = int(np.floor((lowest - _SLACK * max(1, abs(lowest))) / step)) - 1
    last = int(np.ceil((highest + _SLACK * max(1, abs(highest))) / step))
    if not len(metric):
        first = last = 0
    thresholds = (np.arange(first, last + 1) * step).round(_DIGITS)
    kept_by = limits_below(found.metric, thresholds)
    tp, fp = found.matching.counts_of_nested(kept_by, len(thresholds))
    return ThresholdCurve(found.reference, found.class_name, found.matching.particles, step, first, tp, fp)


def pooled_thresholds(curves: Iterable[Sequence[ThresholdCurve]], *, fbeta: float = 1.0) -> dict[str, float]:
    """The threshold of each reference that scores best on several tomograms together.

    Counts are summed over the tomograms whose ground truth holds the reference's class, so that a tomogram
    weighs as much as it has particles and picks. Of thresholds that score the same the highest is taken;
    where no pick was right, :data:`HIGHEST`.

    Parameters
    ----------
    curves : what :func:`threshold_curves` returned for each tomogram.
    fbeta : how many times as much as precision recall weighs.

    Returns
    -------
    By reference, in the order in which they first come.
    """
    best = {}
    for reference, own in curves_by_reference(curves).items():
        stack = stack_curves(own)
        best[reference] = _best(stack, *stack.summed(), fbeta)
    return best


def curves_by_reference(curves: Iterable[Sequence[ThresholdCurve]]) -> dict[str, list[ThresholdCurve]]:
    """The curves of each reference in several tomograms, references in the order in which they first come."""
    together: dict[str, list[ThresholdCurve]] = {}
    for curve in (curve for tomogram in curves for curve in tomogram):
        together.setdefault(curve.reference, []).append(curve)
    return together


def honest_scores(curves: Mapping[str, Sequence[ThresholdCurve]], *, fbeta: float = 1.0) -> pd.DataFrame:
    """Score each tomogram at the thresholds that are best on all the other ones together.

    Parameters
    ----------
    curves : by tomogram, what :func:`threshold_curves` returned for it.
    fbeta : how many times as much as precision recall weighs, in choosing and in scoring.

    Returns
    -------
    Columns ``HONEST_COLUMNS``, one row a tomogram and reference; F1 is F-beta where ``fbeta`` is not 1. There
    is no row where no other tomogram has particles of the reference's class in its ground truth.
    """
    together: dict[str, list[tuple[str, ThresholdCurve]]] = {}
    for tomogram, of_tomogram in curves.items():
        for curve in of_tomogram:
            together.setdefault(curve.reference, []).append((tomogram, curve))
    rows = []
    for own in together.values():
        if len(own) < 2:
            continue
        stack = stack_curves([curve for _, curve in own])
        tp, fp, particles = stack.summed()
        for index, (tomogram, curve) in enumerate(own):
            others = tp - stack.tp[index], fp - stack.fp[index], particles - curve.particles
            threshold = _best(stack, *others, fbeta)
            counts = curve.counts_above(threshold)
            rows.append(
                (
                    tomogram, curve.reference, curve.class_name, threshold, counts.tp, counts.fp, counts.fn,
                    counts.f_score(fbeta), counts.recall, counts.precision,
                )
            )  # fmt: skip
    scores = pd.DataFrame(rows, columns=HONEST_COLUMNS)
    order = {tomogram: index for index, tomogram in enumerate(curves)}
    return scores.sort_values(
        "tomogram", key=lambda names: names.map(order), kind="stable", ignore_index=True
    )


def keep_above(picks: pd.DataFrame, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """The picks above the threshold of their own reference.

    Parameters
    ----------
    picks : columns metric_best and predicted_class; the attribute ``references`` names the references.
    thresholds : by the reference's name. All picks of references that it does not name are kept.

    Returns
    -------
    A frame with the same columns, attributes and order.
    """
    metric, number = picks["metric_best"].to_numpy(), picks["predicted_class"].to_numpy()
    kept = np.ones(len(picks), dtype=bool)
    for index, reference in enumerate(picks.attrs["references"]):
        if reference in thresholds:
            own = number == index
            kept[own] = above(metric[own], thresholds[reference])
    return picks[kept].reset_index(drop=True)


def curve_record(curve: ThresholdCurve) -> dict[str, Any]:
    """A curve as plain JSON."""
    return {
        "reference": curve.reference,
        "class": curve.class_name,
        "particles": curve.particles,
        "step": curve.step,
        "first": curve.first,
        "tp": curve.tp.tolist(),
        "fp": curve.fp.tolist(),
    }


def curve_from_record(record: Mapping[str, Any]) -> ThresholdCurve:
    """The curve of a record that :func:`curve_record` made; KeyError or ValueError where it is none."""
    tp, fp = (np.asarray(record[name], dtype=np.int64) for name in ("tp", "fp"))
    step = float(record["step"])
    if not len(tp) or len(tp) != len(fp) or not step > 0:
        raise ValueError(f"the curve of {record['reference']} is not whole")
    return ThresholdCurve(
        str(record["reference"]), str(record["class"]), int(record["particles"]), step,
        int(record["first"]), tp, fp,
    )  # fmt: skip


@dataclass(frozen=True)
class Stack:
    """Curves of one reference in several tomograms, at thresholds that they share.

    ``thresholds`` is (threshold,), ``tp`` and ``fp`` are (tomogram, threshold), ``particles`` (tomogram,).
    """

    thresholds: FloatArray
    tp: IntArray
    fp: IntArray
    particles: IntArray

    def summed(self) -> tuple[IntArray, IntArray, int]:
        """True and false positives by threshold, and the number of particles, of all tomograms together."""
        return self.tp.sum(0), self.fp.sum(0), int(self.particles.sum())


def stack_curves(curves: Sequence[ThresholdCurve]) -> Stack:
    """Curves of one reference in several tomograms, at least one, on a grid that they share."""
    # Of different grids, which reports of different times may have, the coarsest.
    step = max(curve.step for curve in curves)
    low = min(curve.thresholds[0] for curve in curves)
    # Up to the same end whatever the curves: where nothing is right, the highest threshold is chosen, and it
    # must not tell of a tomogram that has no part in choosing.
    high = max(HIGHEST, *(curve.thresholds[-1] for curve in curves))
    thresholds = (np.arange(np.floor(low / step), np.ceil(high / step - 1e-6) + 1) * step).round(_DIGITS)
    tp, fp = zip(*(curve.counts(thresholds) for curve in curves), strict=True)
    return Stack(thresholds, np.stack(tp), np.stack(fp), np.array([curve.particles for curve in curves]))


def _best(stack: Stack, tp: IntArray, fp: IntArray, particles: int, fbeta: float) -> float:
    """The highest of the thresholds with the best score."""
    scores = f_scores(tp, fp, particles - tp, fbeta)
    return float(stack.thresholds[np.flatnonzero(scores >= scores.max() - 1e-12)[-1]])
