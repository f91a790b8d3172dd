"""What is done to voxels before a network sees them: contrast and standardisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume, require_finite

#: Voxels that are held in float64 at a time.
BLOCK_VOXELS = 2**24


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation (of the population, as NumPy's default) of a volume."""

    mean: float
    deviation: float


def volume_statistics(data: npt.NDArray[Any]) -> Statistics:
    """Mean and deviation of a volume (z, y, x) of any number type, summed in float64 block by block."""
    first = float(data[0, 0, 0])
    total, squares = 0.0, 0.0
    for planes in _blocks(data):
        # Sums about one of the values: a large constant under small differences would cost all digits.
        block = data[planes].astype(np.float64) - first
        total += float(block.sum())
        squares += float(np.square(block, out=block).sum())
    offset = total / data.size
    return Statistics(first + offset, max(squares / data.size - offset**2, 0.0) ** 0.5)


def require_usable(volume: Volume) -> Statistics:
    """Statistics of a volume that can be embedded.

    Raises
    ------
    InputError
        If a voxel is not finite, or all have one value.
    """
    require_finite(volume)
    statistics = volume_statistics(volume.data)
    if statistics.deviation == 0:
        raise InputError(
            volume.path,
            f"all voxels have the value {statistics.mean:g}",
            "Give a volume with something in it; this one was probably not written to its end",
        )
    return statistics


def standardise_volume(
    data: npt.NDArray[Any], statistics: Statistics | None = None
) -> npt.NDArray[np.float32]:
    """Bring a volume to mean 0 and deviation 1, in float32.

    Parameters
    ----------
    data : (z, y, x), any number type.
    statistics : mean and deviation to use where they are not those of ``data`` itself: those of the whole
        tomogram for a part of it.

    Returns
    -------
    (z, y, x), contrast as it came.
    """
    if statistics is None:
        statistics = volume_statistics(data)
    standardised = np.empty(data.shape, dtype=np.float32)
    for planes in _blocks(data):
        block = data[planes].astype(np.float64)
        standardised[planes] = (block - statistics.mean) / statistics.deviation
    return standardised


def standardise_voxels(voxels: torch.Tensor, statistics: Statistics) -> torch.Tensor:
    """What :func:`standardise_volume` does, for a tensor of any number type on its device."""
    return voxels.to(torch.float64, copy=True).sub_(statistics.mean).div_(statistics.deviation).float()


def standardise_window(windows: torch.Tensor) -> torch.Tensor:
    """Bring each window to mean 0 and (population) deviation 1.

    A window without contrast, such as one beside the reconstructed region, becomes zero.

    Parameters
    ----------
    windows : (b, d, h, w), floating point.

    Returns
    -------
    (b, d, h, w).
    """
    deviation, mean = torch.std_mean(windows, dim=(1, 2, 3), correction=0, keepdim=True)
    # Below the resolution of the numbers, what deviates from the mean is rounding and not contrast.
    flat = deviation <= torch.finfo(windows.dtype).eps * mean.abs()
    return torch.where(flat, 0.0, (windows - mean) / torch.where(flat, 1.0, deviation))


def _blocks(data: npt.NDArray[Any]) -> Iterator[slice]:
    depth, height, width = data.shape
    step = max(BLOCK_VOXELS // (height * width), 1)
    return (slice(start, start + step) for start in range(0, depth, step))
