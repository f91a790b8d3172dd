"""What lies where a reference's picks are: its particles, others, or nothing that is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from tomotwin_lib.boxes import box_size_of, class_of_reference
from tomotwin_lib.errors import InputError
from tomotwin_lib.products import FloatArray
from tomotwin_lib.reference_matching import match_references

AGAIN = "again or off centre"
"""Picks on the reference's own particles that are no match: a second one, or one too far from the centre."""

NOTHING = "background"
"""Picks with no known particle."""


def confusion(
    picks: pd.DataFrame,
    truth: pd.DataFrame,
    box_sizes: int | Mapping[str, int],
    *,
    within: float | None = None,
) -> pd.DataFrame:
    """Count what the picks of each reference hit.

    A pick that is a match counts for its class. Any other counts for the particle within whose radius (half
    its box) it lies, for the one nearest to its centre in units of the radius where there are several.

    Parameters
    ----------
    picks, truth, box_sizes : as for :func:`~tomotwin_lib.evaluation.evaluate_positions`; classes of the
        ground truth without a box size cannot be hit.
    within : see :func:`~tomotwin_lib.reference_matching.match_references`.

    Returns
    -------
    One row a reference whose class the truth holds: reference, class, one column a class of the truth with a
    size (alphabetical), ``AGAIN`` and ``NOTHING``. Rows of several tomograms can be added up.

    Raises
    ------
    InputError
        If no reference's class is in the truth, or the box size of a reference is missing.
    """
    sizes = _sizes_of_classes(truth, box_sizes)
    hit = _hits(picks[["X", "Y", "Z"]].to_numpy(np.float64), truth, sizes)
    names = [*sizes, AGAIN, NOTHING]
    rows = []
    for own in match_references(picks, truth, box_sizes, within=within):
        hits = hit[own.rows].copy()
        hits[hits == own.class_name] = AGAIN
        hits[np.unique(own.matching.matches()[1])] = own.class_name
        counts = pd.Series(hits, dtype=object).value_counts()
        counted = [int(counts.get(name, 0)) for name in names]
        rows.append((own.reference, own.class_name, *counted))
    return pd.DataFrame(rows, columns=["reference", "class", *names])


def add_up(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The confusion of several tomograms together; a class that one does not hold counts 0 there."""
    together = pd.concat(tables, ignore_index=True)
    counted = [name for name in together.columns if name not in ("reference", "class", AGAIN, NOTHING)]
    columns = [*sorted(counted), AGAIN, NOTHING]
    summed = together.groupby(["reference", "class"], sort=False)[columns].sum().astype(np.int64)
    return summed.reset_index()


def _sizes_of_classes(truth: pd.DataFrame, box_sizes: int | Mapping[str, int]) -> dict[str, int]:
    sizes = {}
    for name in sorted(set(truth["class"].astype(str))):
        known = isinstance(box_sizes, int) or class_of_reference(name, [key.lower() for key in box_sizes])
        if known:
            sizes[name] = box_size_of(name, box_sizes)
    if not sizes:
        raise InputError("box sizes", "there is none for any class of the ground truth", "Add them")
    return sizes


def _hits(centres: FloatArray, truth: pd.DataFrame, sizes: Mapping[str, int]) -> npt.NDArray[np.object_]:
    """(pick,) the class of the particle that each pick lies in, or ``NOTHING``."""
    hit, nearest = np.full(len(centres), NOTHING, dtype=object), np.full(len(centres), 1.0)
    for name, size in sizes.items():
        own = truth.loc[truth["class"] == name, ["X", "Y", "Z"]].to_numpy(np.float64)
        distances, _ = cKDTree(own).query(centres, distance_upper_bound=size / 2)
        shares = np.asarray(distances) / (size / 2)
        closer = shares < nearest
        hit[closer], nearest[closer] = name, shares[closer]
    return hit
