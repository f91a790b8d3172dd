"""Tomograms with known particles, as they are trained on: voxels in 8 bits, centres, classes, distractors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tomotwin_lib.embedding.preparation import volume_statistics

GREY_LEVELS = 30.0
"""Grey levels of one deviation: clipping starts at 4.2 deviations, and rounding adds 1 % of it as noise."""


@dataclass(frozen=True)
class LabelledTomogram:
    """A tomogram and the truth about it.

    Attributes
    ----------
    name : tells it apart from others.
    voxels : (z, y, x) int8, protein bright, mean 0, ``GREY_LEVELS`` for each deviation of the whole tomogram.
    centres : (particle, 3) z y x of the particles, in voxels.
    labels : class of each particle.
    distractors : (point, 3) z y x, voxels that belong to something that is no particle.
    """

    name: str
    voxels: torch.Tensor
    centres: npt.NDArray[np.float32]
    labels: Sequence[str]
    distractors: npt.NDArray[np.int32]


def grey_voxels(data: npt.NDArray[np.generic]) -> torch.Tensor:
    """A tomogram, protein dark, as int8, protein bright."""
    statistics = volume_statistics(data)
    scale = -GREY_LEVELS / max(statistics.deviation, 1e-12)
    grey = (data.astype(np.float32) - np.float32(statistics.mean)) * np.float32(scale)
    return torch.from_numpy(np.clip(np.rint(grey), -127, 127).astype(np.int8))
