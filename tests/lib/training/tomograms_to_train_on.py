"""Small labelled tomograms that are quick to learn: hollow boxes and rods in noise."""

from __future__ import annotations

import numpy as np
import torch

from tomotwin_lib.training.labelled_tomograms import GREY_LEVELS, LabelledTomogram

CENTRES = np.array([[20, 20, 20], [20, 22, 60], [21, 60, 22], [20, 60, 61]], np.float32)
LABELS = ["ball", "rod", "rod", "ball"]
SHAPE = (41, 82, 82)


def two_shapes(number: int, noise: float = 0.5) -> LabelledTomogram:
    """Two balls and two rods along z, bright, at known places."""
    rng = np.random.default_rng(number)
    z, y, x = np.indices(SHAPE)
    density = np.zeros(SHAPE)
    for (cz, cy, cx), label in zip(CENTRES, LABELS, strict=True):
        across = (y - cy) ** 2 + (x - cx) ** 2
        if label == "ball":
            density[across + (z - cz) ** 2 <= 49] = 4
        else:
            density[(across <= 9) & (abs(z - cz) <= 14)] = 4
    grey = GREY_LEVELS * (density + noise * rng.standard_normal(SHAPE))
    voxels = torch.from_numpy(np.clip(np.rint(grey), -127, 127).astype(np.int8))
    return LabelledTomogram(f"t{number}", voxels, CENTRES, LABELS, np.array([[20, 40, 40]], np.int32))


def numbered(shape: tuple[int, int, int]) -> torch.Tensor:
    """Voxels that tell where they are: z + 2 y + 3 x, modulo 251, less 125."""
    z, y, x = np.indices(shape)
    return torch.from_numpy(((z + 2 * y + 3 * x) % 251 - 125).astype(np.int8))
