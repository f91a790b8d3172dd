"""What passes between the stages: grids, embeddings and similarity maps as arrays.

How they lie on disk is the business of :mod:`tomotwin_lib.formats`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tomotwin_lib.rows import blocks, row_blocks, row_slices

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
#: What is kept of vectors, from (row, channel) to (row, value); each row by itself.
Keep = Callable[[npt.NDArray[np.float32]], FloatArray]


@dataclass(frozen=True)
class Grid:
    """A regular grid of window centres in a tomogram.

    Attributes
    ----------
    origin : (z, y, x) of the first centre, in voxels of the tomogram as given.
    stride : (z, y, x) distance of neighbouring centres, in voxels.
    shape : (z, y, x) number of centres along each axis.
    """

    origin: tuple[int, int, int]
    stride: tuple[int, int, int]
    shape: tuple[int, int, int]

    @property
    def size(self) -> int:
        """Number of centres."""
        return int(np.prod(self.shape))

    def axes(self) -> tuple[IntArray, IntArray, IntArray]:
        """The centres' coordinates along z, along y and along x, in voxels."""
        z, y, x = (
            origin + stride * np.arange(count)
            for origin, stride, count in zip(self.origin, self.stride, self.shape, strict=True)
        )
        return z, y, x

    def positions(self, sites: IntArray | None = None) -> npt.NDArray[np.float32]:
        """Coordinates of the given sites (all where ``None``), shape (site, 3), columns z y x, in voxels.

        A site is a flat index into the grid in C order: x varies fastest.
        """
        if sites is None:
            sites = np.arange(self.size)
        positions = np.empty((len(sites), 3), dtype=np.float32)
        rows, x = np.divmod(sites, self.shape[2])
        indices = (*np.divmod(rows, self.shape[1]), x)
        for axis, (index, origin, stride) in enumerate(zip(indices, self.origin, self.stride, strict=True)):
            positions[:, axis] = origin + index * stride
        return positions

    def position_blocks(self, sites: IntArray | None = None) -> Iterator[npt.NDArray[np.float32]]:
        """The :meth:`positions` of the given sites (all where ``None``), some at a time."""
        for block in blocks(self.size if sites is None else len(sites)):
            yield self.positions(np.arange(block.start, block.stop) if sites is None else sites[block])


@dataclass
class TomogramEmbedding:
    """The embedding of a tomogram.

    Attributes
    ----------
    vectors : (site, channel), of unit norm; float32, or float16 as files hold them. What was read may lie in
        its file still, and is read-only then: go through it with :func:`~tomotwin_lib.rows.row_blocks`.
    grid : where the sites lie.
    sites : (site,) flat indices into the grid in rising order; ``None`` when every centre has a vector.
    attributes : the lineage that TomoTwin keeps in ``DataFrame.attrs``.
    """

    vectors: FloatArray
    grid: Grid
    sites: IntArray | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    def positions(self) -> npt.NDArray[np.float32]:
        """Coordinates of the vectors, shape (site, 3), columns z y x, in voxels."""
        return self.grid.positions(self.sites)


@dataclass
class ReferenceEmbedding:
    """The embeddings of subvolumes, one a file.

    Attributes
    ----------
    vectors : (reference, channel), float32, of unit norm.
    paths : the files, in the order of the vectors.
    attributes : the lineage that TomoTwin keeps in ``DataFrame.attrs``.
    """

    vectors: FloatArray
    paths: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The files' names without their folders; what maps and picks call the references."""
        return [path.replace("\\", "/").rsplit("/", 1)[-1] for path in self.paths]


@dataclass(frozen=True)
class Spread:
    """Between what values lie.

    Attributes
    ----------
    lowest, highest, mean : (reference,); infinite or no number where there is no value.
    """

    lowest: npt.NDArray[np.float64]
    highest: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]


@dataclass
class SimilarityMap:
    """The similarity of every embedded position to every reference; more is better.

    Attributes
    ----------
    values : (site, reference); float32, or float16 as files hold them, and as with :class:`TomogramEmbedding`
        perhaps in the file still.
    references : names of the references.
    grid, sites : as in :class:`TomogramEmbedding`.
    attributes : the lineage that TomoTwin keeps in ``DataFrame.attrs``.
    """

    values: FloatArray
    references: list[str]
    grid: Grid
    sites: IntArray | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    def blocks(self) -> Iterator[FloatArray]:
        """The values some sites at a time, in their order."""
        return row_blocks(self.values)

    def spread(self) -> Spread:
        """Between what the finite values lie, reference by reference."""
        count = len(self.references)
        lowest, highest = np.full(count, np.inf), np.full(count, -np.inf)
        sums, counts = np.zeros(count), np.zeros(count)
        for block in self.blocks():
            values = block.astype(np.float32)
            finite = np.isfinite(values)
            # Conditions take ten times as long, and there is hardly ever need of one.
            where: Any = True if finite.all() else finite
            lowest = np.minimum(lowest, values.min(axis=0, initial=np.inf, where=where))
            highest = np.maximum(highest, values.max(axis=0, initial=-np.inf, where=where))
            sums += values.sum(axis=0, where=where, dtype=np.float64)
            counts += finite.sum(axis=0)
        means = np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0)
        return Spread(lowest, highest, means)

    def volume(self, reference: int, fill: float = -np.inf) -> npt.NDArray[np.float32]:
        """The map of one reference on the grid, shape (z, y, x); ``fill`` where a mask left no value.

        It may be the map's own memory, and cannot be written to.
        """
        if self.sites is None and self.values.dtype == np.float32:
            column = self.values[:, reference]
            column.flags.writeable = False
            return column.reshape(self.grid.shape)
        volume = np.full(self.grid.size, fill, dtype=np.float32)
        for block in row_slices(self.values):
            sites = block if self.sites is None else self.sites[block]
            volume[sites] = self.values[block, reference]
        volume.flags.writeable = False
        return volume.reshape(self.grid.shape)
