"""Which points lie near which: points in the cells of a grid, so that nobody compares all with all."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from tomotwin_lib.products import FloatArray

_POINTS = 1 << 12  # points asked for at a time
_PAIRS = 1 << 18  # pairs compared at a time, unless one point alone has more
_CELLS = 1 << 20  # most cells along an axis: the number of a cell then fits 64 bits

_ROWS = list(itertools.product((-1, 0, 1), repeat=2))


class Cells:
    """Points sorted into cubic cells as wide as the reach, so that near ones lie in touching cells.

    Only cells that hold a point are kept, so empty space costs nothing.

    Parameters
    ----------
    points : (point, 3), finite.
    reach : distance along each axis up to which two points are near.
    """

    def __init__(self, points: FloatArray, reach: float) -> None:
        self._reach = reach
        self._origin = points.min(axis=0) if len(points) else np.zeros(3)
        extent = (points - self._origin).max(axis=0, initial=0)
        # A hair wider than the reach: no rounded quotient puts near points two cells apart.
        self._edge = max(reach * (1 + 1e-6), float(extent.max()) / _CELLS, 1e-9)
        # An empty cell on either side parts the rows of cells, which are numbered one after the other.
        self._shape = np.floor(extent / self._edge).astype(np.int64) + 3
        cells = self._cells_of(points)
        # Kept in the order of the cells: neighbours lie together in memory.
        self._order = np.argsort(cells, kind="stable")
        self._cells = cells[self._order]
        self._points = points[self._order].T.copy()

    def _cells_of(self, points: FloatArray) -> npt.NDArray[np.int64]:
        place = np.floor((points - self._origin) / self._edge) + 1
        a, b, c = np.clip(place, 0, self._shape - 1).astype(np.int64).T
        return np.asarray((a * self._shape[1] + b) * self._shape[2] + c)

    def near(self, points: FloatArray) -> tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The pairs of the first of some points with the points near them in the cells.

        As many points are taken as bounded memory can compare, at least one; ask again for those behind.

        Parameters
        ----------
        points : (point, 3), finite, at least one.

        Returns
        -------
        How many of the points were taken, and for each pair the number of the point, rising, and that of the
        point in the cells.
        """
        points = points[:_POINTS]
        own = self._cells_of(points)
        steps = np.array([(a * self._shape[1] + b) * self._shape[2] for a, b in _ROWS])
        begins, ends = np.empty((2, len(points), len(steps)), dtype=np.int64)
        order = np.argsort(own)  # Rising, for the sake of the search in the cells.
        middles = own[order, None] + steps
        begins[order] = np.searchsorted(self._cells, middles - 1)
        ends[order] = np.searchsorted(self._cells, middles + 1, side="right")
        counts = (ends - begins).sum(axis=1)
        taken = max(int(np.searchsorted(counts.cumsum(), _PAIRS, side="right")), 1)
        begins, lengths = begins[:taken].ravel(), (ends - begins)[:taken].ravel()
        first = np.repeat(np.arange(taken), counts[:taken])
        place = np.repeat(begins - (lengths.cumsum() - lengths), lengths) + np.arange(len(first))
        for axis, along in enumerate(self._points):
            near = np.abs(points[first, axis] - along[place]) <= self._reach
            first, place = first[near], place[near]
        return taken, first, self._order[place]
