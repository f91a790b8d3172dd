"""Non-maximum suppression: of picks that lie on each other the best one stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.boxes import cube_iou, farthest_overlap
from tomotwin_lib.neighbours import Cells

__all__ = ["cube_iou", "suppress_overlapping"]

_ROWS = 1 << 12  # picks whose turn comes at a time


def suppress_overlapping(picks: pd.DataFrame, overlap: float = 0.6) -> pd.DataFrame:
    """Drop every pick whose cube overlaps that of a better pick which stays.

    Walks from the best pick down, so a pick that is itself dropped drops nobody. Each pick that still stands
    when its turn comes is compared with its neighbours only, a bounded number of pairs at a time: time and
    memory grow with the picks, also where many of them lie in one place.

    Parameters
    ----------
    picks : columns X, Y, Z and width in voxels, and metric_best, more is better.
    overlap : intersection over union of the cubes above which two picks are the same particle.

    Returns
    -------
    The picks that stay, the best one first, with the attributes of ``picks``.
    """
    ordered = picks.sort_values("metric_best", ascending=False, kind="stable", ignore_index=True)
    if len(ordered) < 2:
        return ordered
    centres = ordered[["X", "Y", "Z"]].to_numpy(np.float64)
    stays = _stays(centres, ordered["width"].to_numpy(np.float64), overlap)
    return ordered[stays].reset_index(drop=True)


def _stays(
    centres: npt.NDArray[np.float64],  # (pick, 3), the best pick first
    sizes: npt.NDArray[np.float64],  # (pick,)
    overlap: float,
) -> npt.NDArray[np.bool_]:
    # A hair more than the bound, because the distances are rounded; the IoU decides.
    reach = farthest_overlap(float(sizes.max()), overlap) * (1 + 1e-6)
    cells = Cells(centres, reach)
    stays = np.ones(len(centres), dtype=bool)
    row = 0
    while row < len(centres):
        rows = row + np.flatnonzero(stays[row : row + _ROWS])
        row = min(row + _ROWS, len(centres))
        if not len(rows):
            continue
        taken, first, second = cells.near(centres[rows])
        if taken < len(rows):
            rows, row = rows[:taken], int(rows[taken])
        first = rows[first]
        worse = second > first  # The higher row is the worse pick.
        first, second = first[worse], second[worse]
        same = cube_iou(centres[first], sizes[first], centres[second], sizes[second]) > overlap
        first, second = first[same], second[same]
        begins, ends = np.searchsorted(first, rows), np.searchsorted(first, rows, side="right")
        for better, begin, end in zip(rows.tolist(), begins.tolist(), ends.tolist(), strict=True):
            if stays[better]:
                stays[second[begin:end]] = False
    return stays
