"""The landscape of a volume: its peaks, the basin of each, and the passes between basins.

Two peaks are connected at a level exactly if the basins between them are, so questions about connected
regions at many levels are answered on a graph of peaks instead of by filling voxels again and again (the
merge tree of the superlevel sets: Carr, Snoeyink & Axen, Computational Geometry 2003).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from tomotwin_lib.products import IntArray
from tomotwin_lib.rows import blocks

_OFFSETS = [offset for offset in itertools.product((-1, 0, 1), repeat=3) if any(offset)]
_BLOCK = 1 << 13  # voxels whose neighbours are looked at together: few enough for the processor's cache
_LAST = 2**32 - 1  # highest index that a voxel can have


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

    voxels: IntArray
    values: npt.NDArray[np.float32]
    basin: IntArray
    peaks: npt.NDArray[np.int64]
    links: npt.NDArray[np.int64]
    passes: npt.NDArray[np.float32]

    @property
    def heights(self) -> npt.NDArray[np.float32]:
        """(basin,) value of each peak."""
        return self.values[self.peaks]


def find_basins(
    voxels: IntArray,  # (voxel,)
    values: npt.NDArray[np.float32],  # (voxel,)
    shape: tuple[int, ...],
    depth: float,
) -> Basins:
    """Divide the voxels that count among the peaks that steepest ascent leads to.

    A voxel touches its 26 neighbours. Of equal voxels the one with the lower index counts as higher, so a
    plateau is divided among one or more peaks whose passes are as high as they are. No other voxels than
    those that count and their neighbours are visited.

    Parameters
    ----------
    voxels : flat indices of the voxels that count, rising.
    values : their finite values.
    shape : (z, y, x) of the volume that they lie in.
    depth : passes that lie deeper than this below *both* peaks are left out.

    Returns
    -------
    The basins; of their links only those that the highest connections need (a spanning forest).
    """
    neighbourhood = _Neighbourhood(voxels, shape)
    basin, peaks = _climb(values, neighbourhood)
    links, passes = _touching(values, neighbourhood, basin, peaks, depth)
    kept = _highest_connections(len(peaks), links, passes)
    return Basins(voxels, values, basin, peaks, links[kept], passes[kept])


class _Neighbourhood:
    """The 26 neighbours of each voxel that counts, by numbers that are one more than the index among these.

    A neighbour that does not count has the number 0. There is one number for each voxel of the volume, but
    memory is touched near those that count only.
    """

    def __init__(self, voxels: IntArray, shape: tuple[int, ...]) -> None:
        # A border of one voxel spares the tests for the volume's end.
        bordered = [length + 2 for length in shape]
        size = math.prod(bordered)
        self._numbers = np.zeros(size, dtype=index_type(size))
        self._places = np.empty(len(voxels), dtype=self._numbers.dtype)
        for block in blocks(len(voxels), _BLOCK):
            z, y, x = np.unravel_index(voxels[block], shape)
            self._places[block] = ((z + 1) * bordered[1] + y + 1) * bordered[2] + x + 1
        self._numbers[self._places] = np.arange(1, len(voxels) + 1, dtype=self._numbers.dtype)
        self._steps = [(z * bordered[1] + y) * bordered[2] + x for z, y, x in _OFFSETS]

    def blocks(self) -> Iterator[tuple[slice, Iterator[IntArray]]]:
        """Slices of the voxels, each with the numbers of their neighbours in the order of their places."""
        for block in blocks(len(self._places), _BLOCK):
            places = self._places[block].astype(np.intp)
            yield block, (self._numbers.take(places + step) for step in self._steps)


def _climb(
    values: npt.NDArray[np.float32], neighbourhood: _Neighbourhood
) -> tuple[IntArray, npt.NDArray[np.int64]]:
    """Basin of each voxel and peak of each basin."""
    keys = _keys(values)
    above = np.empty(len(values), dtype=index_type(len(values)))
    for block, neighbours in neighbourhood.blocks():
        highest = keys[1:][block].copy()
        for neighbour in neighbours:
            np.maximum(highest, keys.take(neighbour), out=highest)
        above[block] = _LAST - (highest & _LAST)
    del keys  # 64 bits a voxel
    # Every voxel points one step up; looking twice as far each time finds the top in a few rounds.
    while not np.array_equal(further := above[above], above):
        above = further
    top = above == np.arange(len(above), dtype=above.dtype)
    return (top.cumsum(dtype=above.dtype) - 1)[above], np.flatnonzero(top)


def _keys(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Whole numbers, by the voxels' numbers, that order voxels by value and, of equals, by index.

    The value stands in the upper 32 bits, the index, falling, in the lower.
    """
    keys = np.empty(len(values) + 1, dtype=np.int64)
    keys[0] = np.iinfo(np.int64).min  # below all others
    for block in blocks(len(values), _BLOCK):
        # The bits of a float are in the order of its size. That a negative zero comes before a positive one
        # only divides a plateau otherwise.
        bits = values[block].view(np.int32).astype(np.int64)
        bits = np.where(bits < 0, -(2**31) - bits - 1, bits)
        keys[1:][block] = (bits << 32) + (_LAST - np.arange(block.start, block.stop))
    return keys


def _touching(
    values: npt.NDArray[np.float32],
    neighbourhood: _Neighbourhood,
    basin: IntArray,
    peaks: npt.NDArray[np.int64],
    depth: float,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Pairs of touching basins and the pass between the two."""
    floors = values[peaks].astype(np.float64) - depth
    by_number = np.append(basin.dtype.type(-1), basin)
    found = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))]
    for block, neighbours in neighbourhood.blocks():
        own, in_block = basin[block], []
        for neighbour in itertools.islice(neighbours, len(_OFFSETS) // 2):  # one of each two opposite ones
            other = by_number.take(neighbour)
            apart = np.flatnonzero((other != own) & (other >= 0))
            low, high = np.minimum(own[apart], other[apart]), np.maximum(own[apart], other[apart])
            level = np.minimum(values[block][apart], values[neighbour[apart] - 1])
            near = level >= np.minimum(floors[low], floors[high])
            in_block.append((low[near].astype(np.int64) * len(peaks) + high[near], level[near]))
        found.append(_highest_of_each(*_joined(in_block)))
    keys, levels = _highest_of_each(*_joined(found))
    return np.stack(np.divmod(keys, max(len(peaks), 1)), axis=1), levels


def index_type(count: int) -> type[np.signedinteger[Any]]:
    """The smaller type of index that numbers so many."""
    return np.int32 if count < 2**31 else np.int64


def _joined(
    parts: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    keys, levels = zip(*parts, strict=True)
    return np.concatenate(keys), np.concatenate(levels)


def _highest_of_each(
    keys: npt.NDArray[np.int64], levels: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    if not len(keys):
        return keys, levels
    order = np.argsort(keys)
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
