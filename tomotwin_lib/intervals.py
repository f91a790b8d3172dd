"""How far a mean over a few tomograms can be trusted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

FEWEST = 3
"""Of fewer values no interval is told: resampling two of them says nothing."""


def confidence_interval(
    values: npt.ArrayLike, seed: int = 0, level: float = 0.95, resamples: int = 2000
) -> tuple[float, float] | None:
    """The interval that holds the mean of such values with probability ``level``, by bootstrap.

    Percentiles of the means of samples drawn with replacement (Efron and Tibshirani, 1993). Of few values it
    is rather too narrow: with three it can be no wider than from the lowest to the highest.

    Parameters
    ----------
    values : (tomogram,) one score each; NaN are left out.
    seed : of the samples; the same seed gives the same interval.
    level : probability, between 0 and 1.
    resamples : number of samples.

    Returns
    -------
    (low, high), or ``None`` where there are fewer than ``FEWEST`` values.
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if len(known) < FEWEST:
        return None
    interval = bootstrap(
        (known,),
        np.mean,
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)
