"""How well each method picked, seen and unseen proteins apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.comparison.picking import Picked
from tomotwin_lib.honest_evaluation import SCORES, HonestEvaluation, evaluate_honestly
from tomotwin_lib.intervals import confidence_interval

STEP = 0.005
"""Distance of the thresholds that are tried: correlations lie closer together than similarities."""

COLUMNS = [
    "snr", "method", "proteins", "classes", "tomograms",
    *(f"{score}{part}" for score in SCORES for part in ("", "_low", "_high")),
    "found", "centring", "seconds",
]  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """The evaluation of a method at a noise level, and its lines in the table (columns ``COLUMNS``)."""

    evaluation: HonestEvaluation
    rows: list[dict[str, object]]


def score_method(
    snr: float,
    method: str,
    picked: Mapping[str, Picked],
    truths: Mapping[str, pd.DataFrame],
    box_sizes: Mapping[str, int],
    unseen: Collection[str],
) -> Scored:
    """Score a method's picks of all tomograms of a noise level.

    Parameters
    ----------
    picked, truths : by tomogram.
    unseen : classes that no network was trained on; all others are seen.

    Returns
    -------
    A line for the seen and one for the unseen proteins, as far as there are any. Intervals are of the mean
    over tomograms (each the mean of its classes). ``centring`` is the mean distance in voxels of the
    ``found`` particles from the nearest pick above the honest threshold; seconds are the median a tomogram.
    """
    tomograms = {name: (one.picks, truths[name]) for name, one in picked.items()}
    evaluation = evaluate_honestly(tomograms, box_sizes, step=STEP)
    seconds = float(np.median([one.seconds for one in picked.values()]))
    rows: list[dict[str, object]] = []
    for proteins in ("seen", "unseen"):
        scores = _of_group(evaluation.scores, unseen, proteins)
        if scores.empty:
            continue
        row: dict[str, object] = {
            "snr": snr, "method": method, "proteins": proteins, "classes": scores["class"].nunique(),
            "tomograms": scores["tomogram"].nunique(), "seconds": seconds,
        }  # fmt: skip
        by_tomogram = scores.groupby("tomogram")[list(SCORES)].mean()
        for score in SCORES:
            low, high = confidence_interval(by_tomogram[score]) or (np.nan, np.nan)
            row |= {score: float(by_tomogram[score].mean()), f"{score}_low": low, f"{score}_high": high}
        centring = _of_group(evaluation.centring, unseen, proteins)
        found = centring["found"].to_numpy()
        weighted = (centring["mean"].fillna(0) * centring["found"]).sum()
        row |= {
            "found": int(found.sum()),
            "centring": float(weighted / found.sum()) if found.sum() else np.nan,
        }
        rows.append(row)
    return Scored(evaluation, rows)


def _of_group(table: pd.DataFrame, unseen: Collection[str], proteins: str) -> pd.DataFrame:
    return table[table["class"].isin(list(unseen)) == (proteins == "unseen")]
