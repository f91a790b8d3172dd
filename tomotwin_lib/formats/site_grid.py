"""From coordinate columns back to the grid that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.products import Grid, IntArray
from tomotwin_lib.rows import row_blocks, row_slices

# Key of DataFrame.attrs under which this library keeps the grid; a masked file does not show all of it.
GRID_KEY = "grid"

# A 16-bit float holds every whole number up to here, every second one up to twice that, and so on.
_EXACT_IN_16_BITS = 2048

# No tomogram is that large; what is beyond is no coordinate.
_LARGEST = 10**6

_AXES = ("Z", "Y", "X")


@dataclass(frozen=True)
class Sites:
    """Where the rows of a frame lie.

    Attributes
    ----------
    grid : the grid.
    sites : (row,) flat indices into it in rising order; ``None`` when there is a row for every centre.
    order : (row,) the rows in the order of the sites; ``None`` when they are in that order.
    """

    grid: Grid
    sites: IntArray | None
    order: IntArray | None


def grid_attribute(grid: Grid) -> dict[str, list[int]]:
    """The grid as it is kept in a frame's attributes."""
    return {
        "origin_zyx": [int(value) for value in grid.origin],
        "stride_zyx": [int(value) for value in grid.stride],
        "shape_zyx": [int(value) for value in grid.shape],
    }


def sites_of_frame(path: Path, frame: pd.DataFrame, attributes: Mapping[str, Any]) -> Sites:
    """Find the grid of a frame and the place of each row in it.

    The grid is the one in the attributes, if this library wrote the file; otherwise the smallest one that
    holds all rows, with the ``stride`` (x, y, z) of the attributes or, failing that, the largest that fits.

    Parameters
    ----------
    path : the file, for messages.
    frame : columns X, Y, Z, in voxels.
    attributes : the frame's lineage.

    Raises
    ------
    InputError
        If there is no row, a coordinate is no whole number or not of the grid, two rows share a place, or
        16-bit coordinates are too coarse to tell where the rows lie.
    """
    if frame.empty:
        raise InputError(
            path, "it has no rows", "Embed the tomogram again; if there was a mask, with another"
        )
    columns = [_coordinates(path, frame, axis) for axis in _AXES]
    stored = _stored_grid(path, attributes)
    stride = stored.stride if stored else _stride(path, attributes)
    if any(column.values.dtype == np.float16 and column.highest > _EXACT_IN_16_BITS for column in columns):
        whole: list[IntArray] = [column.values.astype(np.int32) for column in columns]
        return _sites_of_coarse_columns(path, whole, stride, stored)
    grid = stored or _grid_around(path, columns, stride)
    if grid.size == len(frame) and _has_all(grid, columns):
        return Sites(grid, None, None)
    sites = np.zeros(len(frame), dtype=np.int64)
    for column, *line in zip(columns, grid.origin, grid.stride, grid.shape, strict=True):
        _add_indices(path, sites, column, *line)
    return _in_order(path, grid, sites)


@dataclass(frozen=True)
class _Column:
    """A column of coordinates that are whole numbers, as the frame has it."""

    axis: str
    values: npt.NDArray[Any]
    lowest: int
    highest: int


def _coordinates(path: Path, frame: pd.DataFrame, axis: str) -> _Column:
    """One coordinate column, checked."""
    values = frame[axis].to_numpy()
    if values.dtype.kind not in "fiu":
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(path, f"column {axis} holds no numbers", "Embed the tomogram again") from error
    lowest, highest, between = np.inf, -np.inf, None
    for block in row_blocks(values):
        ends = float(block.min()), float(block.max())
        if not np.isfinite(ends).all():
            raise InputError(
                path,
                f"coordinates in column {axis} overflowed: they are beyond what 16-bit floats can hold",
                "Embed the tomogram again",
            )
        lowest, highest = min(lowest, ends[0]), max(highest, ends[1])
        if between is None and (apart := block != np.rint(block)).any():
            between = block[apart][0]
    largest = max(abs(lowest), abs(highest))
    if largest > _LARGEST:
        raise InputError(path, f"column {axis} goes to {largest:g} voxels", "Embed it again")
    if between is not None:
        raise InputError(
            path,
            f"column {axis} holds {between:g}, which lies between voxels",
            "Give a file in which each row is a site of the embedding's grid",
        )
    return _Column(axis, values, int(lowest), int(highest))


def _has_all(grid: Grid, columns: list[_Column]) -> bool:
    """Whether the rows are all centres of the grid, in its order."""
    values = [column.values for column in columns]
    return all(
        all(np.array_equal(expected[:, axis], column[block]) for axis, column in enumerate(values))
        for block, expected in zip(row_slices(*values), grid.position_blocks(), strict=True)
    )


def _stored_grid(path: Path, attributes: Mapping[str, Any]) -> Grid | None:
    if GRID_KEY not in attributes:
        return None
    try:
        stored = attributes[GRID_KEY]
        grid = Grid(*(_three(stored[f"{part}_zyx"]) for part in ("origin", "stride", "shape")))
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(
            path, f"the grid in its attributes is damaged ({error})", "Make the file again"
        ) from error
    if min(grid.stride) < 1 or min(grid.shape) < 1 or max(grid.shape) > _LARGEST:
        raise InputError(path, f"the grid in its attributes makes no sense ({stored})", "Make the file again")
    return grid


def _three(values: Any) -> tuple[int, int, int]:
    z, y, x = (int(value) for value in values)
    return z, y, x


def _stride(path: Path, attributes: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """The stride in the attributes, in z, y, x; there it is in x, y, z, or one number for all axes."""
    stride = attributes.get("stride")
    if stride is None:
        return None
    try:
        x, y, z = (int(value) for value in (stride if isinstance(stride, list | tuple) else [stride] * 3))
    except (TypeError, ValueError) as error:
        raise InputError(
            path, f"its stride {stride!r} is not three numbers", "Embed the tomogram again"
        ) from error
    if min(x, y, z) < 1:
        raise InputError(
            path, f"its stride is {stride!r}", "Embed the tomogram again with a stride of 1 or more"
        )
    return z, y, x


def _grid_around(path: Path, columns: list[_Column], stride: tuple[int, int, int] | None) -> Grid:
    """The smallest grid that holds all coordinates."""
    origin, steps, shape = [], [], []
    for column, step in zip(columns, stride or (None,) * 3, strict=True):
        there = np.zeros(column.highest - column.lowest + 1, dtype=bool)
        for block in row_blocks(column.values):
            there[block.astype(np.int64) - column.lowest] = True
        offsets = np.flatnonzero(there)
        # The first offset is 0, which leaves the greatest common divisor of the others as it is.
        steps.append(step or max(1, int(np.gcd.reduce(offsets))))
        origin.append(column.lowest)
        shape.append(int(offsets[-1]) // steps[-1] + 1)
    return Grid(_three(origin), _three(steps), _three(shape))


def _add_indices(path: Path, sites: IntArray, column: _Column, origin: int, stride: int, count: int) -> None:
    """Add to each row's place the index along the next axis."""
    for block in row_slices(column.values):
        coordinates = column.values[block].astype(np.int64)
        indices, rest = np.divmod(coordinates - origin, stride)
        wrong = (rest != 0) | (indices < 0) | (indices >= count)
        if wrong.any():
            raise InputError(
                path,
                f"{column.axis} = {coordinates[wrong][0]} is not on the file's grid, "
                f"which has {count} centres from {origin} on, {stride} apart",
                "Embed the tomogram again",
            )
        sites[block] = sites[block] * count + indices


def _in_order(path: Path, grid: Grid, sites: IntArray) -> Sites:
    order: IntArray | None = None
    if (sites[1:] <= sites[:-1]).any():
        order = np.argsort(sites, kind="stable")
        sites = sites[order]
        doubles = np.flatnonzero(sites[1:] == sites[:-1])
        if len(doubles):
            z, y, x = grid.positions(sites[doubles[:1]])[0]
            raise InputError(
                path, f"two rows lie at X = {x:g}, Y = {y:g}, Z = {z:g}", "Embed the tomogram again"
            )
    return Sites(grid, None if len(sites) == grid.size else sites, order)


def _sites_of_coarse_columns(
    path: Path,
    columns: list[IntArray],
    stride: tuple[int, int, int] | None,
    stored: Grid | None,
) -> Sites:
    """Place rows whose coordinates were rounded to 16-bit floats above 2048."""
    too_coarse = InputError(
        path,
        "coordinates overflowed: 16-bit floats are inexact above 2048, and no row tells where it lies",
        "Embed the tomogram again",
    )
    if stride is None or any(column.min() > _EXACT_IN_16_BITS for column in columns):
        raise too_coarse
    # With a row for every centre, their order says where each one lies, and the columns only confirm it.
    full = stored or _grid_by_row_order(columns, stride)
    if full is not None and full.size == len(columns[0]) and _agrees(full, columns):
        return Sites(full, None, None)
    # Otherwise it still works if no two centres of the grid were rounded to the same number.
    origin: list[int] = []
    shape: list[int] = []
    indices: list[IntArray] = []
    for axis, (column, step) in enumerate(zip(columns, stride, strict=True)):
        first = stored.origin[axis] if stored else int(column.min())
        count = stored.shape[axis] if stored else (int(column.max()) - first) // step + 2
        centres = _rounded(first + step * np.arange(count))
        index: IntArray = np.searchsorted(centres, column)
        index[index == count] = 0
        if (np.diff(centres) == 0).any() or not np.array_equal(centres[index], column):
            raise too_coarse
        origin.append(first)
        shape.append(count if stored else int(index.max()) + 1)
        indices.append(index)
    grid = Grid(_three(origin), stride, _three(shape))
    return _in_order(path, grid, np.ravel_multi_index(tuple(indices), grid.shape))


def _grid_by_row_order(columns: list[IntArray], stride: tuple[int, int, int]) -> Grid | None:
    """The grid of a full file, from where x and y start anew."""
    z, y, x = columns
    count_x = _run_length(x)
    count_y = _run_length(y[::count_x])
    if len(x) % (count_x * count_y):
        return None
    origin = (int(z[0]), int(y[0]), int(x[0]))
    return Grid(origin, stride, (len(x) // (count_x * count_y), count_y, count_x))


def _run_length(column: IntArray) -> int:
    """Rows up to the first fall; rounding does not make rising numbers fall."""
    falls = np.flatnonzero(np.diff(column) < 0)
    return int(falls[0]) + 1 if len(falls) else len(column)


def _agrees(grid: Grid, columns: list[IntArray]) -> bool:
    """Whether the columns are the grid's coordinates in C order, rounded to 16-bit floats."""
    centres = np.meshgrid(*(_rounded(axis) for axis in grid.axes()), indexing="ij", sparse=True)
    return all(
        np.array_equal(column.reshape(grid.shape), np.broadcast_to(centre, grid.shape))
        for column, centre in zip(columns, centres, strict=True)
    )


def _rounded(coordinates: IntArray) -> npt.NDArray[np.int64]:
    return np.minimum(coordinates, 65504).astype(np.float16).astype(np.int64)
