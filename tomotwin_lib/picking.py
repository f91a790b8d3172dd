"""Picks chosen by how good and how large they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.products import FloatArray


@dataclass(frozen=True)
class Thresholds:
    """Limits that picks lie strictly between; a ``maximum_size`` of 0 is no limit."""

    minimum_metric: float
    minimum_size: int
    maximum_size: int


def keep_picks(
    picks: pd.DataFrame,
    minimum_metric: float | None = None,
    maximum_metric: float | None = None,
    minimum_size: float | None = None,
    maximum_size: float | None = None,
) -> pd.DataFrame:
    """The picks strictly between the given limits; these are the limits that the evaluation tunes.

    Parameters
    ----------
    picks : columns metric_best and size.
    minimum_metric, maximum_metric : limits of the similarity; ``None`` for no limit.
    minimum_size, maximum_size : limits of the region's size, in voxels of the similarity map; ``None`` for no
        limit. A ``maximum_size`` of 0 is no limit either: that is how an evaluation says that it needs none.

    Returns
    -------
    A frame with the same columns and attributes.
    """
    metric, size = picks["metric_best"].to_numpy(), picks["size"].to_numpy()
    kept = np.ones(len(picks), dtype=bool)
    if minimum_metric is not None:
        kept &= above(metric, minimum_metric)
    if maximum_metric is not None:
        kept &= above(-metric, -maximum_metric)
    if minimum_size is not None:
        kept &= size > minimum_size
    if maximum_size:
        kept &= size < maximum_size
    return picks[kept].reset_index(drop=True)


def keep_within(picks: pd.DataFrame, limits: Mapping[str, Thresholds]) -> pd.DataFrame:
    """The picks within limits of their own reference.

    Parameters
    ----------
    picks : columns metric_best, size and predicted_class; the attribute ``references`` names the references.
    limits : by the reference's name; picks of references that it does not name are left out.

    Returns
    -------
    A frame with the same columns and attributes, reference after reference in the order of ``limits``.
    """
    references = np.asarray(picks.attrs["references"], dtype=object)
    kept = [
        keep_picks(
            picks[picks["predicted_class"].isin(np.flatnonzero(references == name))],
            minimum_metric=own.minimum_metric,
            minimum_size=own.minimum_size,
            maximum_size=own.maximum_size,
        )
        for name, own in limits.items()
    ]
    chosen = pd.concat(kept, ignore_index=True) if kept else picks.iloc[:0].copy()
    chosen.attrs = dict(picks.attrs)
    return chosen


def above(metric: FloatArray, limit: float) -> npt.NDArray[np.bool_]:
    """Whether each value is above the limit, told at the precision that the values have.

    TomoTwin's files hold half precision, where 0.7 reads 0.70019: rounded values that equal the rounded limit
    are not above it.
    """
    return limits_below(metric, np.array([limit])) > 0


def limits_below(metric: FloatArray, limits: FloatArray) -> npt.NDArray[np.int64]:
    """How many of the limits, which rise, each value is :func:`above`; what is no number is above none."""
    with np.errstate(over="ignore"):
        half = metric.astype(np.float16)
        precision = np.float16 if np.array_equal(half, metric) else np.result_type(metric, np.float16)
        rounded = limits.astype(precision)
    return np.where(np.isnan(metric), 0, np.searchsorted(rounded, metric.astype(precision))).astype(np.int64)
