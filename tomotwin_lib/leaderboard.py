"""Networks compared by their scores on the tomograms whose particles are known: the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tomotwin_lib.intervals import confidence_interval
from tomotwin_lib.matching import f_scores
from tomotwin_lib.thresholds import ThresholdCurve, honest_scores

SCORE_COLUMNS = ["model", "tomogram", "reference", "class", "best_case_f1", "honest_f1"]
BOARD_COLUMNS = [
    "model", "tomograms", "mean_honest_f1", "honest_f1_low", "honest_f1_high", "mean_best_case_f1",
    "best_case_f1_low", "best_case_f1_high", "positions_per_second", "date",
]  # fmt: skip
CLASS_COLUMNS = [
    "model", "class", "tomograms", "mean_honest_f1", "honest_f1_low", "honest_f1_high", "mean_best_case_f1",
    "best_case_f1_low", "best_case_f1_high",
]  # fmt: skip


@dataclass(frozen=True)
class Evaluated:
    """What is known of one network on one benchmark tomogram.

    Attributes
    ----------
    best_case : rows of :func:`~tomotwin_lib.evaluation.evaluate_positions` with ``optimise``.
    curves : of the same picks; none where nobody has counted them, and then there is no honest score.
    positions, seconds : how many positions were embedded in what time, ``None`` where unknown.
    date : of the evaluation, ISO 8601, empty where unknown.
    """

    model: str
    tomogram: str
    best_case: list[dict[str, Any]]
    curves: list[ThresholdCurve] = field(default_factory=list)
    positions: int | None = None
    seconds: float | None = None
    date: str = ""


def benchmark_scores(evaluated: Sequence[Evaluated], *, fbeta: float = 1.0) -> pd.DataFrame:
    """Best-case and honest scores of each network, tomogram and reference.

    Both are computed from the counts, so that one ``fbeta`` holds for all.

    Parameters
    ----------
    evaluated : one entry a network and tomogram.
    fbeta : how many times as much as precision recall weighs.

    Returns
    -------
    Columns ``SCORE_COLUMNS``; ``honest_f1`` is NaN where no other tomogram gives a threshold.
    """
    rows = [
        (
            one.model, one.tomogram, row["reference"], row["class"],
            float(f_scores(row["TP"], row["FP"], row["FN"], fbeta)),
        )
        for one in evaluated
        for row in one.best_case
    ]  # fmt: skip
    best = pd.DataFrame(rows, columns=SCORE_COLUMNS[:-1])
    honest = []
    for model in dict.fromkeys(one.model for one in evaluated):
        curves = {one.tomogram: one.curves for one in evaluated if one.model == model}
        honest.append(honest_scores(curves, fbeta=fbeta).assign(model=model))
    if not honest:
        return best.assign(honest_f1=pd.Series(dtype=np.float64))
    scores = pd.concat(honest)[["model", "tomogram", "reference", "F1"]]
    found = best.merge(
        scores.rename(columns={"F1": "honest_f1"}), on=["model", "tomogram", "reference"], how="left"
    )
    return found.astype({"honest_f1": np.float64})


def leaderboard(scores: pd.DataFrame, evaluated: Sequence[Evaluated]) -> pd.DataFrame:
    """One row a network, best first: by honest score, those without one behind by best case.

    A tomogram's score is the mean over its references, a network's the mean over its tomograms, with the
    bootstrap interval over tomograms (:func:`~tomotwin_lib.intervals.confidence_interval`) as low and high,
    NaN where there are too few.

    Parameters
    ----------
    scores : what :func:`benchmark_scores` returned.
    evaluated : what it was given.

    Returns
    -------
    Columns ``BOARD_COLUMNS``.
    """
    rows = []
    for model, own in scores.groupby("model", sort=False):
        speeds = [one for one in evaluated if one.model == model and one.positions and one.seconds]
        seconds = sum(one.seconds or 0.0 for one in speeds)
        rows.append(
            {
                "model": model,
                **_means(own),
                "positions_per_second": sum(one.positions or 0 for one in speeds) / seconds
                if seconds
                else np.nan,
                "date": max(one.date for one in evaluated if one.model == model),
            }
        )
    board = pd.DataFrame(rows, columns=BOARD_COLUMNS)
    return board.sort_values(["mean_honest_f1", "mean_best_case_f1"], ascending=False, ignore_index=True)


def leaderboard_by_class(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a network and class, as :func:`leaderboard` has one a network.

    Returns
    -------
    Columns ``CLASS_COLUMNS``, classes in alphabetical order, the best network of each first.
    """
    rows = [
        {"model": model, "class": name, **_means(own)}
        for (name, model), own in scores.groupby(["class", "model"], sort=True)
    ]
    board = pd.DataFrame(rows, columns=CLASS_COLUMNS)
    return board.sort_values(
        ["class", "mean_honest_f1", "mean_best_case_f1"], ascending=[True, False, False], ignore_index=True
    )


def _means(scores: pd.DataFrame) -> dict[str, float | int]:
    """Means over tomograms, each the mean over its rows, with their intervals."""
    by_tomogram = scores.groupby("tomogram")[["honest_f1", "best_case_f1"]].mean()
    told: dict[str, float | int] = {"tomograms": len(by_tomogram)}
    for kind in ("honest", "best_case"):
        values = by_tomogram[f"{kind}_f1"]
        low, high = confidence_interval(values) or (np.nan, np.nan)
        told |= {
            f"mean_{kind}_f1": float(values.mean()),
            f"{kind}_f1_low": low,
            f"{kind}_f1_high": high,
        }
    return told
