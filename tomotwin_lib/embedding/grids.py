"""Where in a tomogram the windows lie."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

import numpy as np

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume, require_finite
from tomotwin_lib.products import Grid, IntArray

Shape = tuple[int, int, int]


def checked_stride(stride: int | Sequence[int]) -> Shape:
    """The stride along (z, y, x), in voxels, from one number or three.

    Raises
    ------
    InputError
        If it is neither, or a number is below 1.
    """
    numbers = np.atleast_1d(np.asarray(stride))
    if numbers.shape == (1,):
        numbers = numbers.repeat(3)
    if numbers.shape != (3,) or not np.issubdtype(numbers.dtype, np.integer) or numbers.min() < 1:
        raise InputError(
            "--stride", f"{stride} is not possible", "Give one or three whole numbers of at least 1"
        )
    return int(numbers[0]), int(numbers[1]), int(numbers[2])


def window_grid(
    volume_shape: Sequence[int],
    stride: int | Sequence[int] = 2,
    window_size: int = 37,
    padding: bool = True,
    z_range: tuple[int, int] | None = None,
    source: str | Path = "volume",
) -> Grid:
    """Centres of the windows of a tomogram.

    Parameters
    ----------
    volume_shape : (z, y, x), in voxels.
    stride : along (z, y, x) or one for all, in voxels.
    window_size : edge of a window, in voxels.
    padding : whether the tomogram is continued by reflection. Then centres lie at 0, s, 2s, …; else only
        where the whole window is inside, from ``window_size // 2`` on.
    z_range : keeps the centres with first ≤ z < second, in voxels of the tomogram: the slab of the full grid.
    source : name of the volume in messages.

    Raises
    ------
    InputError
        If the stride is below 1, a window does not fit, or the range is empty, leaves the volume or holds
        no centre.
    """
    steps = checked_stride(stride)
    half = window_size // 2
    if not padding and min(volume_shape) < window_size:
        raise InputError(
            source,
            f"{_size(volume_shape)} voxels (z × y × x) do not hold one window of {window_size}³",
            "Embed it with padding, or give a larger volume",
        )
    first = 0 if padding else half
    usable = [edge if padding else edge - window_size + 1 for edge in volume_shape]
    counts = [-(-length // step) for length, step in zip(usable, steps, strict=True)]
    z_first = first
    if z_range is not None:
        low, high = _checked_range(z_range, volume_shape[0])
        # Index of the first centre that is not below a coordinate, on the full grid.
        begin, end = (min(max(-(-(z - first) // steps[0]), 0), counts[0]) for z in (low, high))
        if begin == end:
            raise InputError(
                "--zrange",
                f"no window of {source} has its centre at {low} ≤ z < {high}: with this stride they lie at "
                f"{first}, {first + steps[0]}, … {first + steps[0] * (counts[0] - 1)}",
                "Give a range that holds one of these",
            )
        z_first, counts[0] = first + steps[0] * begin, end - begin
    return Grid((z_first, first, first), steps, (counts[0], counts[1], counts[2]))


def masked_sites(
    mask: Volume, grid: Grid, volume_shape: Sequence[int], source: str | Path
) -> IntArray | None:
    """Flat indices of the centres at which a mask is not zero; ``None`` for all of them.

    Parameters
    ----------
    mask : (z, y, x), of the tomogram's shape.
    grid : the tomogram's grid.
    volume_shape, source : shape (z, y, x) and name of the tomogram.

    Raises
    ------
    InputError
        If the mask has another shape, values that are not finite, or leaves no centre.
    """
    if tuple(mask.data.shape) != tuple(volume_shape):
        raise InputError(
            mask.path,
            f"the mask has {_size(mask.data.shape)} voxels (z × y × x), {source} has {_size(volume_shape)}",
            "Give a mask of the tomogram's shape",
        )
    require_finite(mask)
    z, y, x = (
        slice(origin, origin + step * count, step)
        for origin, step, count in zip(grid.origin, grid.stride, grid.shape, strict=True)
    )
    chosen = np.asarray(mask.data[z, y, x]) != 0
    if not chosen.any():
        raise InputError(
            mask.path,
            f"the mask leaves none of the {grid.size} positions: it is zero at all of them",
            "Give a mask that is not zero where particles are looked for, or a smaller stride",
        )
    return None if chosen.all() else np.flatnonzero(chosen)


def _checked_range(z_range: tuple[int, int], depth: int) -> tuple[int, int]:
    if len(z_range) != 2 or not all(isinstance(z, Integral) for z in z_range):
        raise InputError(
            "--zrange", f"{z_range!r} is not possible", "Give two whole numbers, the first and the end"
        )
    low, high = z_range
    if not 0 <= low < high <= depth:
        problem = (
            "is empty"
            if 0 <= high <= low <= depth
            else f"is not inside the volume, whose z goes from 0 to {depth}"
        )
        raise InputError(
            "--zrange",
            f"{low} to {high} {problem}",
            f"Give 0 ≤ first < end ≤ {depth}; the end is not included",
        )
    return int(low), int(high)


def _size(shape: Sequence[int]) -> str:
    return " × ".join(str(edge) for edge in shape)
