"""Non-maximum suppression: of picks that lie on each other the best one stays."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from tomotwin_lib.boxes import cube_iou, farthest_overlap

__all__ = ["cube_iou", "suppress_overlapping"]


def suppress_overlapping(picks: pd.DataFrame, overlap: float = 0.6) -> pd.DataFrame:
    """Drop every pick whose cube overlaps that of a better pick which stays.

    Walks from the best pick down, so a pick that is itself dropped drops nobody. Each pick is compared with
    its neighbours only.

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
    sizes = ordered["width"].to_numpy(np.float64)
    # A hair more than the bound, because the tree compares rounded numbers; the IoU decides.
    reach = farthest_overlap(float(sizes.max()), overlap) * (1 + 1e-6)
    pairs = cKDTree(centres).query_pairs(reach, p=np.inf, output_type="ndarray")
    first, second = pairs[:, 0], pairs[:, 1]  # The lower row is the better pick.
    same = cube_iou(centres[first], sizes[first], centres[second], sizes[second]) > overlap
    pairs = pairs[same][np.argsort(first[same], kind="stable")]
    stays = np.ones(len(ordered), dtype=bool)
    for better, worse in pairs.tolist():
        if stays[better]:
            stays[worse] = False
    return ordered[stays].reset_index(drop=True)
