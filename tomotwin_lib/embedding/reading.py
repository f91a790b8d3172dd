"""Parts of a tomogram, from its memory-mapped file: no more is read than is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def cut(
    data: npt.NDArray[Any], starts: Sequence[int], stops: Sequence[int], *, padding: bool
) -> npt.NDArray[Any]:
    """A box of a volume, in memory of its own, contiguous and in the byte order of the machine.

    Parameters
    ----------
    data : (z, y, x), memory-mapped or not.
    starts, stops : along (z, y, x), in voxels; the end is not included.
    padding : continue the volume by reflection where the box reaches out of it; otherwise it must not.
    """
    inside, mirrored = [], []
    for axis, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        size = data.shape[axis]
        if start >= 0 and stop <= size:
            inside.append(slice(start, stop))
            continue
        assert padding, "without padding a box lies inside"
        indices = reflected(np.arange(start, stop), size)
        low = int(indices.min())
        inside.append(slice(low, int(indices.max()) + 1))
        mirrored.append((axis, indices - low))
    box = np.array(data[tuple(inside)], dtype=data.dtype.newbyteorder("="), order="C", subok=False)
    for axis, indices in mirrored:
        box = box.take(indices, axis=axis)
    return box


def reflected(indices: npt.NDArray[np.integer], size: int) -> npt.NDArray[np.integer]:
    """Continue the indices of an axis of ``size`` voxels by reflection, the end voxels not repeated."""
    if size == 1:
        return np.zeros_like(indices)
    period = 2 * (size - 1)
    folded = indices % period
    return np.minimum(folded, period - folded)
