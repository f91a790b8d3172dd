"""How far picks lie from the centres of the particles that they find."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tomotwin_lib.products import FloatArray
from tomotwin_lib.reference_matching import match_references

COLUMNS = ["reference", "class", "found", "mean", "median", "worst_tenth"]


def centring_distances(
    picks: pd.DataFrame, truth: pd.DataFrame, box_sizes: int | Mapping[str, int]
) -> dict[str, FloatArray]:
    """The distance of each found particle's centre from the nearest pick of its reference.

    A pick anywhere within the particle's radius (half its box) counts, so that badly centred ones are
    measured too and do not just count as misses.

    Parameters
    ----------
    picks, truth, box_sizes : as for :func:`~tomotwin_lib.evaluation.evaluate_positions`.

    Returns
    -------
    By reference, (found,) distances in voxels.

    Raises
    ------
    InputError
        If no reference's class is in the truth, or a box size is missing.
    """
    distances = {}
    for own in match_references(picks, truth, box_sizes, within=1.0):
        particle, pick = own.matching.matches()
        distances[own.reference] = np.linalg.norm(own.particles[particle] - own.centres[pick], axis=1)
    return distances


def mean_distance(distances: Mapping[str, FloatArray]) -> float | None:
    """The mean over all found particles of what :func:`centring_distances` returned; ``None`` without any."""
    together = np.concatenate([*distances.values(), np.empty(0)])
    return float(together.mean()) if len(together) else None


def centring_table(distances: Mapping[str, FloatArray], classes: Mapping[str, str]) -> pd.DataFrame:
    """Mean, median and 90th percentile of distances, one row a reference.

    Parameters
    ----------
    distances : what :func:`centring_distances` returned; those of several tomograms put together.
    classes : by reference, what the truth calls its particles.

    Returns
    -------
    Columns ``COLUMNS``: found particles, and voxels; NaN where none was found.
    """
    rows = [
        (
            reference, classes[reference], len(own),
            *((float(own.mean()), float(np.median(own)), float(np.percentile(own, 90))) if len(own)
              else (np.nan,) * 3),
        )
        for reference, own in distances.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
