"""Picks chosen by how good and how large they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.products import FloatArray


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


def above(metric: FloatArray, limit: float) -> npt.NDArray[np.bool_]:
    """Whether each value is above the limit, told at the precision that the values have.

    TomoTwin's files hold half precision, where 0.7 reads 0.70019: rounded values that equal the rounded limit
    are not above it.
    """
    with np.errstate(over="ignore"):
        half = metric.astype(np.float16)
    if np.array_equal(half, metric):
        return half > np.float16(limit)
    return metric > limit
