"""The landscape of a volume: its peaks, the basin of each, and the passes between basins.

Two peaks are connected at a level exactly if the basins between them are, so questions about connected
regions at many levels are answered on a graph of peaks instead of by filling voxels again and again (the
merge tree of the superlevel sets: Carr, Snoeyink & Axen, Computational Geometry 2003).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

_OFFSETS = [offset for offset in itertools.product((-1, 0, 1), repeat=3) if any(offset)]


@dataclass(frozen=True)
class Basins:
    """The voxels that count, each with the peak that it climbs to.

    Attributes
    ----------
    voxels : (voxel,) flat indices into the volume, rising.
    values : (voxel,) their values.
    basin : (voxel,) the number of the basin of each.
    peaks : (basin,) the highest voxel of each basin, as an index into ``voxels``, rising.
    links : (link, 2) pairs of touching basins.
    passes : (link,) the highest level at which the two are connected directly.
    """

    voxels: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    basin: npt.NDArray[np.int32]
    peaks: npt.NDArray[np.int64]
    links: npt.NDArray[np.int64]
    passes: npt.NDArray[np.float32]

    @property
    def heights(self) -> npt.NDArray[np.float32]:
        """(basin,) value of each peak."""
        return self.values[self.peaks]


def find_basins(
    volume: npt.NDArray[np.float32],  # (z, y, x)
    counted: npt.NDArray[np.bool_],  # (z, y, x)
    depth: float,
) -> Basins:
    """Divide the counted voxels among the peaks that steepest ascent leads to.

    A voxel touches its 26 neighbours. Of equal voxels the one with the lower index counts as higher, so a
    plateau is divided among one or more peaks whose passes are as high as they are.

    Parameters
    ----------
    volume : the landscape.
    counted : voxels that take part; their values are finite.
    depth : passes that lie deeper than this below *both* peaks are left out.

    Returns
    -------
    The basins; of their links only those that the highest connections need (a spanning forest).
    """
    voxels = np.flatnonzero(counted)
    values = volume.ravel()[voxels]
    # A border of one voxel spares the tests for the volume's end.
    number = np.full(np.array(volume.shape) + 2, -1, dtype=np.int32)
    places = _places_in_border(voxels, volume.shape)
    numbers = number.ravel()
    numbers[places] = np.arange(len(voxels), dtype=np.int32)
    plane, row = number.shape[1] * number.shape[2], number.shape[2]
    steps = [z * plane + y * row + x for z, y, x in _OFFSETS]

    basin, peaks = _climb(values, numbers, places, steps)
    links, passes = _touching(values, numbers, places, steps[len(steps) // 2 :], basin, peaks, depth)
    kept = _highest_connections(len(peaks), links, passes)
    return Basins(voxels, values, basin, peaks, links[kept], passes[kept])


def _places_in_border(voxels: npt.NDArray[np.int64], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    z, y, x = np.unravel_index(voxels, shape)
    return ((z + 1) * (shape[1] + 2) + y + 1) * (shape[2] + 2) + x + 1


def _climb(
    values: npt.NDArray[np.float32],
    numbers: npt.NDArray[np.int32],
    places: npt.NDArray[np.int64],
    steps: list[int],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Basin of each voxel and peak of each basin."""
    # The value behind the last one is that of all neighbours that do not count, whose number is -1.
    with_outside = np.append(values, np.float32(-np.inf))
    above = np.arange(len(values), dtype=np.int32)
    best = values.copy()
    for step in steps:
        neighbour = numbers[places + step]
        value = with_outside[neighbour]
        higher = (value > best) | ((value == best) & (neighbour < above))
        np.copyto(above, neighbour, where=higher)
        np.copyto(best, value, where=higher)
    # Every voxel points one step up; looking twice as far each time finds the top in a few rounds.
    while not np.array_equal(further := above[above], above):
        above = further
    peaks = np.flatnonzero(above == np.arange(len(above)))
    return np.searchsorted(peaks, above).astype(np.int32), peaks


def _touching(
    values: npt.NDArray[np.float32],
    numbers: npt.NDArray[np.int32],
    places: npt.NDArray[np.int64],
    steps: list[int],  # one of each two opposite ones
    basin: npt.NDArray[np.int32],
    peaks: npt.NDArray[np.int64],
    depth: float,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Pairs of touching basins and the pass between the two."""
    floors = values[peaks].astype(np.float64) - depth
    keys, levels = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    for step in steps:
        neighbour = numbers[places + step]
        voxel = np.flatnonzero(neighbour >= 0)
        neighbour = neighbour[voxel]
        apart = basin[voxel] != basin[neighbour]
        voxel, neighbour = voxel[apart], neighbour[apart]
        level = np.minimum(values[voxel], values[neighbour])
        low, high = np.minimum(basin[voxel], basin[neighbour]), np.maximum(basin[voxel], basin[neighbour])
        near = level >= np.minimum(floors[low], floors[high])
        key = low[near].astype(np.int64) * len(peaks) + high[near]
        keys, levels = _highest_of_each(np.append(keys, key), np.append(levels, level[near]))
    return np.stack(np.divmod(keys, max(len(peaks), 1)), axis=1), levels


def _highest_of_each(
    keys: npt.NDArray[np.int64], levels: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    if not len(keys):
        return keys, levels
    order = np.argsort(keys, kind="stable")
    keys, levels = keys[order], levels[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return keys[starts], np.maximum.reduceat(levels, starts)


def _highest_connections(
    count: int, links: npt.NDArray[np.int64], passes: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Which links a forest of the highest connections keeps, the highest pass first."""
    order = np.argsort(-passes, kind="stable")
    # Ranks instead of levels: the spanning tree takes a weight of zero for no link.
    ranks = np.arange(1, len(order) + 1, dtype=np.float64)
    first, second = links[order, 0], links[order, 1]
    forest = minimum_spanning_tree(coo_array((ranks, (first, second)), shape=(count, count)).tocsr())
    return order[np.sort(forest.data.astype(np.int64)) - 1]
