"""Picks of several tomograms scored at thresholds that were chosen on the other ones.

What a threshold brings where the truth is not known, in one report: F1 by the overlap of boxes and F-beta by
the distance of centres, each honest and, apart and named so, at its best case; how well picks are centred;
what the false ones hit; precision against recall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tomotwin_lib.boxes import class_of_reference, names_of_class
from tomotwin_lib.centring import centring_distances, centring_table
from tomotwin_lib.confusion import add_up, confusion
from tomotwin_lib.errors import InputError
from tomotwin_lib.intervals import confidence_interval
from tomotwin_lib.precision_recall import average_precision, precision_recall
from tomotwin_lib.products import FloatArray
from tomotwin_lib.thresholds import (
    ThresholdCurve,
    honest_scores,
    keep_above,
    pooled_thresholds,
    threshold_curves,
)

BETA = 4.0
"""Recall weighs four times as much as precision in the CryoET challenge of the Chan Zuckerberg Initiative."""

WITHIN = 0.5
"""There a pick finds a particle within half the particle's radius."""

SCORES = {
    "honest_f1": "F1, honest",
    "honest_fbeta": "F-beta, honest",
    "best_case_f1": "F1, best case",
    "best_case_fbeta": "F-beta, best case",
}
"""Columns of scores → what to call them. Best case: thresholds chosen on the very picks that are scored."""

COLUMNS = ["tomogram", "reference", "class", *SCORES, "threshold", "threshold_fbeta"]

Tomograms = Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]


@dataclass(frozen=True)
class HonestEvaluation:
    """The scores of several tomograms.

    Attributes
    ----------
    scores : columns ``COLUMNS``, one row a tomogram and reference that both measures could score honestly;
        the thresholds are the honest ones.
    summary : one row a score: score, mean, low and high of the mean over the tomograms (each the mean of its
        references; NaN for low and high where there are too few for an interval).
    by_reference : mean scores of each reference, with ``average_precision``.
    centring : see :func:`~tomotwin_lib.centring.centring_table`, of the picks above the honest thresholds.
    confusion : see :func:`~tomotwin_lib.confusion.confusion`, of the same picks.
    curves : see :func:`~tomotwin_lib.precision_recall.precision_recall`, by overlap.
    thresholds : by reference, the similarity that is best on all tomograms together, by overlap: for
        tomograms that are not among them.
    """

    scores: pd.DataFrame
    summary: pd.DataFrame
    by_reference: pd.DataFrame
    centring: pd.DataFrame
    confusion: pd.DataFrame
    curves: pd.DataFrame
    thresholds: dict[str, float]


def evaluate_honestly(
    tomograms: Tomograms,
    box_sizes: int | Mapping[str, int],
    *,
    fbeta: float = BETA,
    within: float = WITHIN,
    step: float = 0.01,
) -> HonestEvaluation:
    """Score several tomograms, each at the thresholds that are best on all the others together.

    Parameters
    ----------
    tomograms : by name, picks without limits and ground truth as for
        :func:`~tomotwin_lib.evaluation.evaluate_positions`.
    box_sizes : as there.
    fbeta, within : of the measure by distance: how many times as much as precision recall weighs, and up to
        what share of its radius (half its box) from a particle's centre a pick finds it.
    step : distance of the thresholds that are tried.

    Raises
    ------
    InputError
        If there are fewer than two tomograms, no reference's class is in two of them, or for the reasons of
        ``evaluate_positions``.
    """
    if not (fbeta > 0 and np.isfinite(fbeta)):
        raise InputError("fbeta", f"{fbeta} is no weight above 0", "Give 4, as the CZII challenge does")
    if len(tomograms) < 2:
        raise InputError(
            "tomograms",
            f"{len(tomograms)} is too few: the thresholds for one tomogram are chosen on the others",
            "Give the picks and the ground truths of two or more",
        )
    overlap = {
        name: threshold_curves(picks, truth, box_sizes, step) for name, (picks, truth) in tomograms.items()
    }
    distance = {
        name: threshold_curves(picks, truth, box_sizes, step, within=within)
        for name, (picks, truth) in tomograms.items()
    }
    honest = honest_scores(overlap)
    if honest.empty:
        raise InputError(
            "ground truth", "no reference's class is in two of the tomograms", "Give tomograms that share one"
        )
    keys = ["tomogram", "reference"]
    by_distance = honest_scores(distance, fbeta=fbeta)
    scores = honest.merge(by_distance, on=[*keys, "class"], suffixes=("", "_fbeta"))
    scores = scores.rename(columns={"F1": "honest_f1", "F1_fbeta": "honest_fbeta"})
    for column, counted, beta in (("best_case_f1", overlap, 1.0), ("best_case_fbeta", distance, fbeta)):
        best = _best_cases(counted, beta)
        scores[column] = [best[name, reference] for name, reference in scores[keys].itertuples(index=False)]
    scores = scores[COLUMNS]
    kept = _kept(tomograms, scores)
    curves = precision_recall(overlap.values())
    return HonestEvaluation(
        scores=scores,
        summary=_summary(scores),
        by_reference=_by_reference(scores, curves),
        centring=_centring(kept, box_sizes, scores),
        confusion=add_up([confusion(picks, truth, box_sizes) for picks, truth in kept.values()]),
        curves=curves,
        thresholds=pooled_thresholds(overlap.values()),
    )


def differing_classes(picks: pd.DataFrame, truth: pd.DataFrame) -> tuple[dict[str, str], list[str]]:
    """What cannot be matched between the references of a tomogram and its ground truth.

    Parameters
    ----------
    picks, truth : of one tomogram, as for :func:`evaluate_honestly`.

    Returns
    -------
    The references whose class the truth lacks, with the class that was looked for, and the truth's classes
    that no reference is of.
    """
    classes = {str(name) for name in truth["class"]}
    found = {name: class_of_reference(name, classes) for name in picks.attrs["references"]}
    lacking = {name: names_of_class(name)[-1] for name, own in found.items() if own is None}
    return lacking, sorted(classes - set(found.values()))


def _best_cases(curves: Mapping[str, list[ThresholdCurve]], beta: float) -> dict[tuple[str, str], float]:
    """By tomogram and reference, the score at the threshold that is best on this very tomogram."""
    best = {}
    for name, own in curves.items():
        thresholds = pooled_thresholds([own], fbeta=beta)
        for curve in own:
            best[name, curve.reference] = curve.f_score(thresholds[curve.reference], beta)
    return best


def _kept(tomograms: Tomograms, scores: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """The picks above the honest thresholds, of the references that have one; with the truth."""
    kept = {}
    for name, own in scores.groupby("tomogram", sort=False):
        picks, truth = tomograms[str(name)]
        thresholds = dict(zip(own["reference"], own["threshold"], strict=True))
        numbers = [
            index for index, reference in enumerate(picks.attrs["references"]) if reference in thresholds
        ]
        scored = picks[picks["predicted_class"].isin(numbers)]
        kept[str(name)] = keep_above(scored, thresholds), truth
    return kept


def _summary(scores: pd.DataFrame) -> pd.DataFrame:
    by_tomogram = scores.groupby("tomogram", sort=False)[list(SCORES)].mean()
    rows = []
    for column in SCORES:
        low, high = confidence_interval(by_tomogram[column]) or (np.nan, np.nan)
        rows.append((column, float(by_tomogram[column].mean()), low, high))
    return pd.DataFrame(rows, columns=["score", "mean", "low", "high"])


def _by_reference(scores: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    grouped = scores.groupby(["reference", "class"], sort=False)
    table = grouped[list(SCORES)].mean().reset_index()
    table.insert(2, "tomograms", grouped.size().to_numpy())
    table["average_precision"] = table["reference"].map(average_precision(curves))
    return table


def _centring(kept: Tomograms, box_sizes: int | Mapping[str, int], scores: pd.DataFrame) -> pd.DataFrame:
    classes = dict(zip(scores["reference"], scores["class"], strict=True))
    together: dict[str, list[FloatArray]] = {reference: [] for reference in classes}
    for name, (picks, truth) in kept.items():
        scored = set(scores.loc[scores["tomogram"] == name, "reference"])
        for reference, own in centring_distances(picks, truth, box_sizes).items():
            if reference in scored:
                together[reference].append(own)
    return centring_table({name: np.concatenate(own) for name, own in together.items() if own}, classes)
