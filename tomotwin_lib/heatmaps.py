"""Similarity maps drawn on the voxels of their tomogram, and the files that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.mrc_header import read_header
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.products import FloatArray, Grid, SimilarityMap
from tomotwin_lib.tomogram_shapes import possible_shapes

# Heatmaps are named as the references' own files are; in the header this line tells them apart.
_LABEL = "tomotwin_lib: similarity heatmap"


def write_heatmap(path: Path, values: npt.NDArray[np.float32], voxel_size_in_angstrom: float | None) -> None:
    """Write a heatmap, whole or not at all, with a label by which :func:`check_heatmap_files` knows it.

    Parameters
    ----------
    path : the file; replaced if it is there.
    values : (z, y, x), as :func:`heatmap` returns them.
    voxel_size_in_angstrom : of the tomogram; ``None`` where nobody knows.
    """
    write_volume(path, values, voxel_size_in_angstrom, label=_LABEL)


def check_heatmap_files(paths: Iterable[Path]) -> None:
    """Check that heatmaps would replace nothing but heatmaps.

    Raises
    ------
    InputError
        If one of the files is there and is none that :func:`write_heatmap` wrote: it may be the reference
        itself, whose name a heatmap has.
    """
    for path in paths:
        if path.exists() and not _is_heatmap(path):
            raise InputError(
                path,
                "a heatmap of this name would overwrite it, and it is no heatmap that was written here; it "
                "may be the reference itself",
                "Choose another folder with -o, or move this file away",
            )


def _is_heatmap(path: Path) -> bool:
    try:
        return _LABEL in read_header(path).labels
    except InputError:
        return False


def heatmap(similarity: SimilarityMap, reference: int | str) -> npt.NDArray[np.float32]:
    """The similarity to one reference at every voxel of the tomogram as given.

    Each value lies at its own position; between the grid's positions the map is interpolated linearly.
    Voxels beyond the grid, and positions that a mask left out, hold the lowest value. One plane is worked on
    at a time, so hardly more memory is needed than for the result.

    Parameters
    ----------
    similarity : the map.
    reference : the reference's name or its number.

    Returns
    -------
    (z, y, x), of the tomogram's shape and sampling.

    Raises
    ------
    InputError
        If there is no such reference, or the map holds no value.
    """
    values = similarity.volume(_index_of(similarity, reference))
    finite = np.isfinite(values)
    if not finite.any():
        raise InputError(str(reference), "the similarity map holds no value", "Map the tomogram again")
    lowest = values.min(where=finite, initial=np.inf)
    values = np.where(finite, values, lowest)
    shape = tomogram_shape(similarity)
    (z_low, z_part), along_y, along_x = (
        _neighbours(*axis) for axis in zip(shape, *_axes(similarity.grid), strict=True)
    )
    result = np.full(shape, lowest, dtype=np.float32)
    inside = np.ix_(*(np.flatnonzero(low >= 0) for low, _ in (along_y, along_x)))
    for z in np.flatnonzero(z_low >= 0):
        plane = values[z_low[z]]
        if z_part[z]:
            plane = (1 - z_part[z]) * plane + z_part[z] * values[z_low[z] + 1]
        plane = _interpolate(_interpolate(plane, *along_y).T, *along_x).T
        result[z][inside] = plane
    return result


def tomogram_shape(similarity: SimilarityMap) -> tuple[int, int, int]:
    """Shape (z, y, x) of the tomogram as given, in voxels.

    The attributes may leave two shapes (:func:`~tomotwin_lib.tomogram_shapes.possible_shapes`); the grid
    tells which: it cannot reach beyond its tomogram.
    """
    grid = similarity.grid
    last = np.array(grid.origin) + np.array(grid.stride) * (np.array(grid.shape) - 1)
    for shape in possible_shapes(similarity.attributes):
        if (last < shape).all():
            return shape
    padded = bool(similarity.attributes.get("padding", False))
    border = int(similarity.attributes.get("window_size", 37)) - 1
    z, y, x = last + 1 if padded else last + 1 + border // 2
    return int(z), int(y), int(x)


def _index_of(similarity: SimilarityMap, reference: int | str) -> int:
    if isinstance(reference, str):
        if reference in similarity.references:
            return similarity.references.index(reference)
    elif 0 <= reference < len(similarity.references):
        return reference
    raise InputError(
        str(reference), "the map has no such reference", f"Choose one of {', '.join(similarity.references)}"
    )


def _axes(
    grid: Grid,
) -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]:
    return grid.origin, grid.stride, grid.shape


def _neighbours(
    length: int, origin: int, stride: int, count: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """For each voxel along an axis the grid point before it (−1: none) and the way to the next, 0 to 1."""
    voxels = np.arange(length)
    last = origin + stride * (count - 1)
    # The few voxels that a stride leaves over at the tomogram's end take the last value: no dark rim.
    end = length - 1 if length - 1 - last < stride else last
    steps = (np.clip(voxels, origin, last) - origin) / stride
    low = np.floor(steps).astype(np.intp)
    part = (steps - low).astype(np.float32)
    low[(voxels < origin) | (voxels > end)] = -1
    return low, part


def _interpolate(
    rows: FloatArray, low: npt.NDArray[np.intp], part: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Rows at fractional positions, for the positions that lie on the grid."""
    inside = low >= 0
    low, part = low[inside], part[inside][:, None]
    high = np.minimum(low + 1, len(rows) - 1)
    return ((1 - part) * rows[low] + part * rows[high]).astype(np.float32)
