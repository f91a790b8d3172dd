"""What passes between the stages: grids, embeddings and similarity maps as arrays.

How they lie on disk is the business of :mod:`tomotwin_lib.formats`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

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
        indices = np.stack(np.unravel_index(sites, self.shape), axis=1)
        return (np.asarray(self.origin) + indices * np.asarray(self.stride)).astype(np.float32)


@dataclass
class TomogramEmbedding:
    """The embedding of a tomogram.

    Attributes
    ----------
    vectors : (site, channel), float32, of unit norm.
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


@dataclass
class SimilarityMap:
    """The similarity of every embedded position to every reference; more is better.

    Attributes
    ----------
    values : (site, reference), float32.
    references : names of the references.
    grid, sites : as in :class:`TomogramEmbedding`.
    attributes : the lineage that TomoTwin keeps in ``DataFrame.attrs``.
    """

    values: FloatArray
    references: list[str]
    grid: Grid
    sites: IntArray | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    def volume(self, reference: int, fill: float = -np.inf) -> npt.NDArray[np.float32]:
        """The map of one reference on the grid, shape (z, y, x); ``fill`` where a mask left no value.

        It may be the map's own memory, and cannot be written to.
        """
        if self.sites is None:
            column = np.asarray(self.values[:, reference], dtype=np.float32)
            column.flags.writeable = False
            return column.reshape(self.grid.shape)
        volume = np.full(self.grid.size, fill, dtype=np.float32)
        volume[self.sites] = self.values[:, reference]
        volume.flags.writeable = False
        return volume.reshape(self.grid.shape)
