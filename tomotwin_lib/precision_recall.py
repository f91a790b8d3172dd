"""Precision against recall, for every similarity that a pick may have to exceed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from tomotwin_lib.thresholds import ThresholdCurve, curves_by_reference, stack_curves

COLUMNS = ["reference", "class", "threshold", "TP", "FP", "FN", "Precision", "Recall"]


def precision_recall(curves: Iterable[Sequence[ThresholdCurve]]) -> pd.DataFrame:
    """The curve of each reference over several tomograms together.

    Parameters
    ----------
    curves : what :func:`~tomotwin_lib.thresholds.threshold_curves` returned for each tomogram.

    Returns
    -------
    Columns ``COLUMNS``, reference after reference, thresholds rising, those left out that keep the same picks
    as the one before; counts are sums over the tomograms. Thresholds that keep no pick are left out: they
    have no precision.
    """
    tables = []
    for reference, own in curves_by_reference(curves).items():
        stack = stack_curves(own)
        tp, fp, particles = stack.summed()
        new = np.append(True, (np.diff(tp) != 0) | (np.diff(fp) != 0)) & (tp + fp > 0)
        tp, fp = tp[new], fp[new]
        tables.append(
            pd.DataFrame(
                {
                    "reference": reference,
                    "class": own[0].class_name,
                    "threshold": stack.thresholds[new],
                    "TP": tp,
                    "FP": fp,
                    "FN": particles - tp,
                    "Precision": tp / (tp + fp),
                    "Recall": tp / max(particles, 1),
                }
            )
        )
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def average_precision(table: pd.DataFrame) -> pd.Series:
    """The area under each reference's curve: its precision, averaged over the recall that it gains.

    Particles that no pick finds, however low the similarity, count as gained with a precision of 0. No
    interpolation flatters (as scikit-learn's ``average_precision_score``).

    Parameters
    ----------
    table : what :func:`precision_recall` returned.

    Returns
    -------
    By reference, 0 to 1.
    """
    areas = {}
    for reference, own in table.groupby("reference", sort=False):
        falling = own.sort_values("threshold", ascending=False)
        gained = np.diff(falling["Recall"].to_numpy(np.float64), prepend=0.0)
        areas[reference] = float((gained * falling["Precision"].to_numpy(np.float64)).sum())
    return pd.Series(areas, name="average precision", dtype=np.float64)
