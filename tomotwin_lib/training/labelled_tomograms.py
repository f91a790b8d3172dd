"""Tomograms with known particles, as they are trained on: voxels in 8 bits, centres, classes, distractors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from tomotwin_lib.embedding.preparation import standardise_volume

GREY_LEVELS = 12.0
"""Grey levels of one deviation. Clipping starts at 10.6 deviations, so that gold is as bright as the network
will see it; rounding adds noise of 2.4 % of a deviation, 0.06 % of the variance."""

DISTRACTOR_POINTS = 20_000
"""Most voxels of distractors that are kept of a tomogram."""


@dataclass(frozen=True)
class LabelledTomogram:
    """A tomogram and the truth about it.

    Attributes
    ----------
    name : tells it apart from others.
    voxels : (z, y, x) int8, protein bright, mean 0, ``GREY_LEVELS`` for each deviation of the whole tomogram.
    centres : (particle, 3) z y x of the particles, in voxels.
    labels : class of each particle.
    distractors : (point, 3) z y x, some voxels that belong to something that is no particle.
    noise : (z, y, x) int8, the part of ``voxels`` that is noise and is alike everywhere, where that is known:
        other noise of the same kind can then take its place (:class:`~.window_draws.WindowDraws`).
    voxel_size_in_angstrom : ``None`` where it is not known.
    """

    name: str
    voxels: torch.Tensor
    centres: npt.NDArray[np.float32]
    labels: Sequence[str]
    distractors: npt.NDArray[np.int32]
    noise: torch.Tensor | None = None
    voxel_size_in_angstrom: float | None = None


def common_voxel_size(tomograms: Sequence[LabelledTomogram]) -> float | None:
    """The voxel size in Å that all tomograms have, to a twentieth; ``None`` where there is none."""
    sizes = [tomogram.voxel_size_in_angstrom for tomogram in tomograms]
    known = [size for size in sizes if size is not None]
    if not known or len(known) < len(sizes) or max(known) > 1.05 * min(known):
        return None
    return float(np.mean(known))


def grey_voxels(data: npt.NDArray[np.generic]) -> torch.Tensor:
    """A tomogram, protein dark, as int8, protein bright."""
    return _in_8_bits(standardise_volume(data))


def grey_noise(noise: npt.NDArray[np.float32], data: npt.NDArray[np.float32]) -> torch.Tensor:
    """The noise in a tomogram ``data``, protein dark, in the grey levels of its :func:`grey_voxels`."""
    return _in_8_bits((noise - noise.mean(dtype=np.float64)) / data.std(dtype=np.float64))


def _in_8_bits(standardised: npt.NDArray[np.floating]) -> torch.Tensor:
    grey = standardised * np.float32(-GREY_LEVELS)
    return torch.from_numpy(np.clip(np.rint(grey), -127, 127).astype(np.int8))


def on_device(tomograms: Sequence[LabelledTomogram], device: torch.device) -> list[LabelledTomogram]:
    """The tomograms with their voxels on a GPU, if that has twice the room; else as they are."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if 2 * sum(volume.numel() for one in tomograms for volume in _volumes(one)) < free:
            return [
                replace(
                    one,
                    voxels=one.voxels.to(device),
                    noise=None if one.noise is None else one.noise.to(device),
                )
                for one in tomograms
            ]
    return list(tomograms)


def _volumes(tomogram: LabelledTomogram) -> list[torch.Tensor]:
    return [volume for volume in (tomogram.voxels, tomogram.noise) if volume is not None]


def some_points(mask: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Voxels of a mask, z y x, at most ``DISTRACTOR_POINTS`` of them, by chance."""
    points = np.argwhere(mask)
    if len(points) > DISTRACTOR_POINTS:
        points = points[rng.choice(len(points), DISTRACTOR_POINTS, replace=False)]
    return points.astype(np.int32)
