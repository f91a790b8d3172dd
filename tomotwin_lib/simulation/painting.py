"""Soft-edged bodies as lists of voxels and values, so that what fills little of a volume costs little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import erfc

from tomotwin_lib.simulation.microscope import Shape
from tomotwin_lib.simulation.molecules import BLUR_IN_VOXELS
from tomotwin_lib.simulation.particles import Float32Array

FloatArray = npt.NDArray[np.float64]

INSIDE = 0.4
"""A voxel belongs to a ball where it has more than this share of the ball's density."""


@dataclass(frozen=True)
class Painted:
    """A body in a volume.

    Attributes
    ----------
    voxels : (k,) indices into the flat volume, each once.
    values : (k,) float32 densities there.
    inside : (k,) whether the voxel counts as part of the body; softened edges reach farther.
    """

    voxels: npt.NDArray[np.int64]
    values: Float32Array
    inside: npt.NDArray[np.bool_]


def softened(distance: Float32Array) -> Float32Array:
    """Density at a signed distance in voxels, negative inside: 1 within, smeared like a molecule's edge."""
    return (0.5 * erfc(distance / np.float32(np.sqrt(2) * BLUR_IN_VOXELS))).astype(np.float32)


def balls(shape: Shape, centres: FloatArray, radius: float, value: float = 1.0) -> Painted:
    """Soft balls of one radius; where they overlap they are one body.

    Parameters
    ----------
    shape : (z, y, x) in voxels.
    centres : (k, 3), columns z y x, in voxels; what sticks out of the volume is cut.
    radius : in voxels.
    value : density within.
    """
    reach = int(np.ceil(radius + 3 * BLUR_IN_VOXELS))
    size = np.array(shape)
    near = ((centres > -reach - 1) & (centres < size + reach)).all(axis=1)
    centres = centres[near]
    axis = np.arange(-reach, reach + 1)
    window = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    window = window[np.linalg.norm(window, axis=1) <= reach + 0.9]
    places = np.rint(centres).astype(int)[:, None] + window
    within = ((places >= 0) & (places < size)).all(axis=-1)
    distance = np.linalg.norm(places - centres[:, None], axis=-1)[within].astype(np.float32) - np.float32(
        radius
    )
    flat = np.ravel_multi_index(tuple(places[within].T), shape)
    voxels, inverse = np.unique(flat, return_inverse=True)
    # Balls of a chain are touched at the neck: their sum is smooth there, but no denser than one of them.
    total = np.minimum(np.bincount(inverse, weights=softened(distance), minlength=len(voxels)), 1.1)
    return Painted(voxels, (value * total).astype(np.float32), total >= INSIDE)


def random_point(shape: Shape, rng: np.random.Generator) -> FloatArray:
    """A point (z, y, x) anywhere in a volume."""
    return np.asarray(rng.uniform(0, np.array(shape) - 1))


def random_direction(rng: np.random.Generator) -> FloatArray:
    """A unit vector, evenly spread over all directions."""
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))
