"""Maxima of a similarity map, each grown by a flood fill of its own."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from tomotwin_lib.products import FloatArray

_NEIGHBOURS = np.array([step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)])


def locate_by_flooding(
    volume: FloatArray, *, tolerance: float = 0.2, global_min: float = 0.5, box_size: float = 37
) -> pd.DataFrame:
    """Pick the maxima of a map that stand out.

    Follows: "Strict local maxima above ``global_min``, in falling order. Each grows the connected region
    (full neighbourhood) of values within ``tolerance`` of it; it is dropped if the region meets a higher
    value or a region already taken. A pick is the unweighted mean position of its region, with the region's
    ``size`` (more than one voxel) and the maximum as ``metric_best``. The voxels on the twelve edges of the
    volume never count. Then non-maximum suppression: boxes of the class's size whose cube IoU exceeds 0.6."
    Every flood fill works on a copy of the volume of its own.

    In its favour: no blocks, whose seams break peaks; the fill takes a whole front of voxels at a time;
    suppression keeps the better of two picks, not the worse.

    Parameters
    ----------
    volume : (z, y, x).
    box_size : edge length of the cubes, in voxels of the map.

    Returns
    -------
    Columns Z, Y, X (voxels of the map), size and metric_best, the best pick first.
    """
    taken = np.zeros(volume.shape, dtype=bool)
    picks = []
    for peak in _maxima(volume, global_min):
        best = volume[peak]
        region = _flood(volume, peak, float(best) - tolerance)
        values = volume[region]
        if len(values) < 2 or values.max() > best or taken[region].any():
            continue
        taken[region] = True
        picks.append((*(axis.mean() for axis in region), len(values), best))
    found = pd.DataFrame(picks, columns=["Z", "Y", "X", "size", "metric_best"])
    return _suppress(found, box_size)


def _maxima(volume: FloatArray, global_min: float) -> list[tuple[int, ...]]:
    """Voxels above all of their neighbours and ``global_min``, the highest first."""
    highest = ndimage.maximum_filter(volume, size=3, mode="constant", cval=-np.inf)
    candidates = np.argwhere((volume == highest) & (volume > global_min))
    ends = np.array(volume.shape) - 1
    candidates = candidates[((candidates == 0) | (candidates == ends)).sum(axis=1) < 2]
    order = np.argsort(-volume[tuple(candidates.T)], kind="stable")
    return [tuple(peak) for peak in candidates[order].tolist() if _is_strict(volume, peak)]


def _is_strict(volume: FloatArray, peak: list[int]) -> bool:
    around = volume[tuple(slice(max(c - 1, 0), c + 2) for c in peak)]
    return int((around == volume[tuple(peak)]).sum()) == 1


def _flood(volume: FloatArray, seed: tuple[int, ...], lowest: float) -> tuple[npt.NDArray[np.integer], ...]:
    """Indices of the connected voxels around the seed that are not below ``lowest``."""
    # A border that is below everything spares the tests for the volume's end.
    padded = np.pad(volume, 1, constant_values=-np.inf)
    filled = np.zeros(padded.shape, dtype=bool)
    steps = _NEIGHBOURS @ (np.array(padded.strides) // padded.itemsize)
    values, marks = padded.ravel(), filled.ravel()
    front = np.array([np.ravel_multi_index(tuple(c + 1 for c in seed), padded.shape)])
    region = [front]
    marks[front] = True
    while len(front):
        reached = np.unique(front[:, None] + steps)
        front = reached[(values[reached] >= lowest) & ~marks[reached]]
        marks[front] = True
        region.append(front)
    return tuple(axis - 1 for axis in np.unravel_index(np.concatenate(region), padded.shape))


def _suppress(picks: pd.DataFrame, box_size: float, overlap: float = 0.6) -> pd.DataFrame:
    centres = picks[["Z", "Y", "X"]].to_numpy(np.float64)
    stays = np.ones(len(picks), dtype=bool)
    for row in range(len(picks)):
        if stays[row]:
            shared = np.clip(box_size - np.abs(centres[row + 1 :] - centres[row]), 0, None).prod(axis=1)
            stays[row + 1 :] &= shared / (2 * box_size**3 - shared) <= overlap
    return picks[stays].reset_index(drop=True)
