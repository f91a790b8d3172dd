"""Particles are where the similarity map has a peak that stands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from tomotwin_lib.basins import Basins, find_basins, index_type
from tomotwin_lib.boxes import box_size_of
from tomotwin_lib.competition import DROPPED, Competition
from tomotwin_lib.errors import InputError
from tomotwin_lib.products import FloatArray, IntArray, SimilarityMap
from tomotwin_lib.rows import blocks
from tomotwin_lib.suppression import suppress_overlapping

LOCATING = "locating"
"""The attribute of picks that tells how they were located; ``global_min`` is told by the picks themselves."""


@dataclass(frozen=True)
class Maxima:
    """Peaks of a volume, the highest first.

    Attributes
    ----------
    positions : (peak, 3) mean position of each peak's region, columns z y x, in voxels of the volume.
    sizes : (peak,) number of voxels of the region.
    values : (peak,) value of the peak.
    peaks : (peak,) the peak itself, the first of equals, as a flat index into the volume.
    """

    positions: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    peaks: IntArray

    def __len__(self) -> int:
        return len(self.values)

    def only(self, kept: npt.NDArray[np.bool_]) -> Maxima:
        """Some of them: those where ``kept`` (peak,) is true."""
        return Maxima(self.positions[kept], self.sizes[kept], self.values[kept], self.peaks[kept])


def locate(
    similarity: SimilarityMap,
    *,
    tolerance: float = 0.2,
    global_min: float = 0.5,
    box_sizes: int | Mapping[str, int] = 37,
    overlap: float = 0.6,
    compete: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Pick the particles that a similarity map shows.

    Each reference is located by itself: its maxima (:func:`find_maxima`), of which the best survives where
    their cubes overlap (:func:`~tomotwin_lib.suppression.suppress_overlapping`). Negatives
    (:func:`~tomotwin_lib.references.mark_negatives`) are not located: a maximum where one of them is more
    similar than the reference is no pick (:mod:`tomotwin_lib.competition`).

    Parameters
    ----------
    similarity : the map.
    tolerance, global_min : see :func:`find_maxima`.
    box_sizes : edge length of the particles' cubes in voxels of the tomogram: one for all, or by file name or
        label of the reference.
    overlap : intersection over union of two cubes above which they are the same particle.
    compete : whether references of other proteins are rivals of a reference too, as negatives are.
    progress : whether to show a progress bar.

    Returns
    -------
    One row a pick, reference after reference, the best pick first. Columns X, Y, Z (voxels of the tomogram),
    size (voxels of the map), metric_best, predicted_class (number of the reference), width, height, depth
    (voxels of the tomogram). The attributes are the map's, with the names of the ``references``, which leave
    out the negatives, with the options (``locating``), and, where there are rivals, with ``dropped``: by
    reference and rival, the maxima that the rival took.

    Raises
    ------
    InputError
        If a reference has no box size or an option is out of range.
    """
    if not 0 <= overlap <= 1:
        raise InputError("overlap", f"{overlap} is no intersection over union", "Give a number from 0 to 1")
    competition = Competition(similarity, among_targets=compete)
    sizes = [box_size_of(similarity.references[column], box_sizes) for column in competition.targets]
    picks, dropped = [], {}
    bar = tqdm(sizes, desc="Locate", unit="reference", disable=not progress)
    for number, (column, box_size) in enumerate(zip(competition.targets, bar, strict=True)):
        maxima = find_maxima(similarity.volume(column), tolerance, global_min)
        if competition.rivals(column):
            name = similarity.references[column]
            stays, dropped[name] = competition.outcome(column, maxima.peaks, maxima.values)
            maxima = maxima.only(stays)
        positions = np.asarray(similarity.grid.origin) + maxima.positions * similarity.grid.stride
        found = pd.DataFrame(
            {
                "X": positions[:, 2].astype(np.float32),
                "Y": positions[:, 1].astype(np.float32),
                "Z": positions[:, 0].astype(np.float32),
                "size": maxima.sizes,
                "metric_best": maxima.values,
                "predicted_class": number,
                "width": box_size,
                "height": box_size,
                "depth": box_size,
            }
        )
        picks.append(suppress_overlapping(found, overlap))
    if not picks:
        raise InputError(
            "similarity map", "it has no reference", "Map the tomogram with at least one reference"
        )
    table = pd.concat(picks, ignore_index=True)
    table.attrs.update(similarity.attributes)
    table.attrs[LOCATING] = {"tolerance": tolerance, "overlap": overlap, "compete": compete}
    table.attrs["references"] = [similarity.references[column] for column in competition.targets]
    if dropped:
        table.attrs[DROPPED] = dropped
    return table


def find_maxima(volume: FloatArray, tolerance: float = 0.2, global_min: float = 0.5) -> Maxima:
    """Local maxima that stand out of their surroundings, with the regions that belong to them.

    The region of a maximum is the connected part (26 neighbours) of the volume around it that is no more than
    ``tolerance`` lower. The maximum counts if it is higher than ``global_min`` and its region

    - holds no higher value and no maximum that counts already (of equals that share a region, one counts),
    - has more than one voxel.

    Where the volume ends nothing tells a maximum from a slope: a maximum on one of the six faces, alone or
    with a plateau of equal values, does not count, though it still overrules lower ones. The voxels on the
    twelve edges are left out altogether, as are voxels that are not finite. (An axis of one or two voxels has
    no inside and counts as having no faces.) Same regions as TomoTwin's, without its block seams.

    One look at every voxel finds those at or above ``global_min - tolerance``, which regions can hold; from
    there on only these are visited, each as often whatever the number of maxima. Beside the volume it takes
    some 5 bytes a voxel where few of them count, some 40 where all do.

    Parameters
    ----------
    volume : (z, y, x).
    tolerance : how far below its maximum a region reaches, in units of the volume.
    global_min : what a maximum must exceed.

    Raises
    ------
    InputError
        If the tolerance is negative or either number is not finite.
    """
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise InputError("tolerance", f"{tolerance} is not a number of 0 or more", "Give 0.2, for example")
    if not np.isfinite(global_min):
        raise InputError("global_min", f"{global_min} is not a finite number", "Give 0.5, for example")
    voxels, values = _can_belong(np.asarray(volume, dtype=np.float32), np.float64(global_min) - tolerance)
    basins = find_basins(voxels, values, volume.shape, tolerance)
    region, overruled = _merge(basins, tolerance)

    heights = basins.heights.astype(np.float64)
    tops = np.full(region.max(initial=-1) + 1, -np.inf)
    np.maximum.at(tops, region, heights)
    # A region counts through any of its highest plateaus that lies inside the volume.
    candidate = (heights == tops[region]) & ~_on_face(basins, volume.shape)
    counts = np.zeros(len(tops), dtype=bool)
    counts[region[candidate]] = True
    counts[region[overruled & (heights == tops[region])]] = False
    counts &= tops > global_min
    # Highest first; of equals the one whose peak comes first in the volume.
    highest = np.flatnonzero(heights == tops[region])[::-1]
    first = np.empty(len(tops), dtype=np.int64)
    first[region[highest]] = highest
    sizes, positions = _measure(basins, region, np.where(counts, tops - tolerance, np.inf), volume.shape)
    order = np.lexsort((first, -tops))
    kept = order[sizes[order] > 1]
    peaks = basins.voxels[basins.peaks[first[kept]]]
    return Maxima(positions[kept], sizes[kept], tops[kept].astype(np.float32), peaks)


def _can_belong(
    volume: npt.NDArray[np.float32], lowest: np.float64
) -> tuple[IntArray, npt.NDArray[np.float32]]:
    """Flat indices and values of the voxels that a region can hold: not on an edge, not below ``lowest``."""
    # Told in 64 bits, as the thresholds of the regions are, so that no region loses a voxel to rounding.
    bound = np.float32(lowest)
    if bound < lowest:
        bound = np.nextafter(bound, np.float32(np.inf))
    flat = volume.reshape(-1)
    voxels, values = [np.empty(0, dtype=index_type(flat.size))], [np.empty(0, dtype=np.float32)]
    for block in blocks(flat.size):
        high = np.flatnonzero(flat[block] >= bound)
        value, high = flat[block][high], high + block.start
        kept = np.isfinite(value) & (_ends_met(high, volume.shape) < 2)
        voxels.append(high[kept].astype(voxels[0].dtype))
        values.append(value[kept])
    return np.concatenate(voxels), np.concatenate(values)


def _ends_met(voxels: IntArray, shape: tuple[int, ...]) -> npt.NDArray[np.int8]:
    """For each voxel the number of axes along which it is the first or the last: 1 on faces, 2 on edges."""
    met = np.zeros(len(voxels), dtype=np.int8)
    for place, length in zip(np.unravel_index(voxels, shape), shape, strict=True):
        if length > 2:
            met += (place == 0) | (place == length - 1)
    return met


def _merge(basins: Basins, tolerance: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Join the basins of each region.

    Walks from the highest pass down. What a pass joins has one highest peak; the pass belongs to that peak's
    region if it is within the tolerance below. The lower of the two peaks that meet is overruled by the
    higher if the pass lies within *its* region.

    Returns
    -------
    Number of the region of each basin, and whether the basin's peak was overruled by a higher one.
    """
    heights = basins.heights.astype(np.float64)
    overruled = np.zeros(len(heights), dtype=bool)
    within = np.zeros(len(basins.links), dtype=bool)
    highest = list(range(len(heights)))  # Union-find: each basin points towards the highest that it joined.
    height_of = heights.tolist()
    rows = zip(basins.links.tolist(), basins.passes.astype(np.float64).tolist(), strict=True)
    for row, ((a, b), level) in enumerate(rows):
        while highest[a] != a:
            highest[a] = a = highest[highest[a]]
        while highest[b] != b:
            highest[b] = b = highest[highest[b]]
        if height_of[a] < height_of[b]:
            a, b = b, a
        within[row] = level >= height_of[a] - tolerance
        overruled[b] = height_of[b] < height_of[a] and level >= height_of[b] - tolerance
        highest[b] = a
    return _components(len(heights), basins.links[within]), overruled


def _on_face(basins: Basins, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Whether each basin's peak, or the plateau that it is part of, touches a face of the volume."""
    heights = basins.heights
    touches = np.zeros(len(heights), dtype=bool)
    for block in blocks(len(basins.voxels)):
        basin = basins.basin[block]
        top = basins.values[block] == heights[basin]
        touches[basin[top][_ends_met(basins.voxels[block][top], shape) > 0]] = True
    level = (basins.passes[:, None] == heights[basins.links]).all(axis=1)
    plateau = _components(len(touches), basins.links[level])
    touching = np.zeros(plateau.max(initial=-1) + 1, dtype=bool)
    touching[plateau[touches]] = True
    return touching[plateau]


def _components(count: int, links: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if not count:
        return np.empty(0, dtype=np.int64)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(count, count)).tocsr()
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _measure(
    basins: Basins,
    region: npt.NDArray[np.int64],  # (basin,)
    thresholds: npt.NDArray[np.float64],  # (region,)
    shape: tuple[int, ...],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Size and mean position of each region's voxels above its threshold."""
    of_basin = thresholds[region]
    sizes = np.zeros(len(thresholds), dtype=np.int64)
    sums = np.zeros((len(shape), len(thresholds)))
    for block in blocks(len(basins.voxels)):
        basin = basins.basin[block]
        members = np.flatnonzero(basins.values[block] >= of_basin[basin])
        of_member = region[basin[members]]
        np.add.at(sizes, of_member, 1)
        for axis, index in enumerate(np.unravel_index(basins.voxels[block][members], shape)):
            np.add.at(sums[axis], of_member, index.astype(np.float64))
    return sizes, (sums / np.maximum(sizes, 1)).T
