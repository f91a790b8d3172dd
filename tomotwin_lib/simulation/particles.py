"""Particles by formula: five bodies of clearly different shape, as soft-edged densities.

A body is given by its signed distance: how far a point lies from its surface, negative inside. The density
is that body smeared by a Gaussian, evaluated at the rotated and shifted points themselves, so that no pose
and no fraction of a voxel costs an interpolation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation
from scipy.special import erfc

Float32Array = npt.NDArray[np.float32]

WINDOW = 37
"""Edge in voxels of the window that every particle fits in, whatever its pose."""

EDGE_SIGMA = 0.8
"""Deviation in voxels of the Gaussian that softens a body's surface: 8 Å at 10 Å a voxel."""


@dataclass(frozen=True)
class ParticleKind:
    """A kind of particle.

    Attributes
    ----------
    code : label of four characters, the first a digit, as file names carry it (``1bar``).
    name : what it is, in words.
    box_size : its longest extent in any pose, in voxels, soft edge included: the diameter of the sphere that
        no other particle enters, and the box for evaluation.
    signed_distance : points (..., 3), columns x y z, in voxels, in the particle's own frame, to their
        distance from the surface in voxels, negative inside; a function of the points' last axis only.
    """

    code: str
    name: str
    box_size: int
    signed_distance: Callable[[Float32Array], Float32Array]

    @property
    def radius(self) -> float:
        """Radius in voxels of the sphere about the centre that holds the particle in any pose."""
        return self.box_size / 2


def render(
    kind: ParticleKind,
    rotation: Rotation,
    offset: npt.ArrayLike = (0.0, 0.0, 0.0),
    window: int = WINDOW,
) -> Float32Array:
    """The density of a particle in a window, shape (z, y, x), between 0 and 1, bright.

    Parameters
    ----------
    kind : the particle.
    rotation : carries the particle's own frame (x, y, z) to the volume's.
    offset : (z, y, x) of the particle's centre from the window's central voxel, in voxels.
    window : edge of the window in voxels, odd; its central voxel has the index ``window // 2``.
    """
    axis = np.arange(window, dtype=np.float32) - window // 2
    dz, dy, dx = np.asarray(offset, dtype=np.float32)
    z, y, x = np.meshgrid(axis - dz, axis - dy, axis - dx, indexing="ij")
    # Rows times the matrix are columns times its transpose: the inverse rotation, back to the own frame.
    points = np.stack((x, y, z), axis=-1) @ rotation.as_matrix().astype(np.float32)
    distance = kind.signed_distance(points)
    return (0.5 * erfc(distance / np.float32(np.sqrt(2) * EDGE_SIGMA))).astype(np.float32)


def _barrel(points: Float32Array) -> Float32Array:
    return _tube(points, inner=3.0, outer=7.5, height=15.0)


def _shell(points: Float32Array) -> Float32Array:
    return np.abs(np.linalg.norm(points, axis=-1) - 9.5) - np.float32(2.0)


def _ring_stack(points: Float32Array) -> Float32Array:
    from_axis = np.hypot(points[..., 0], points[..., 1]) - np.float32(9.0)
    rings = [np.hypot(from_axis, points[..., 2] - np.float32(height)) for height in (-7.5, 0.0, 7.5)]
    return np.minimum.reduce(rings) - np.float32(2.2)


def _two_lobes(points: Float32Array) -> Float32Array:
    apart = np.array([0, 0, 7.5], dtype=np.float32)
    lobes = np.minimum(
        np.linalg.norm(points - apart, axis=-1),
        np.linalg.norm(points + apart, axis=-1),
    ) - np.float32(6.0)
    return np.minimum(lobes, _capsule(points, length=15.0, radius=2.5))


def _rod(points: Float32Array) -> Float32Array:
    return _capsule(points, length=31.0, radius=4.5)


def _capsule(points: Float32Array, length: float, radius: float) -> Float32Array:
    """A cylinder along z with round caps; ``length`` is over all."""
    half = np.float32(length / 2 - radius)
    beyond = np.maximum(np.abs(points[..., 2]) - half, 0)
    return np.hypot(np.hypot(points[..., 0], points[..., 1]), beyond) - np.float32(radius)


def _tube(points: Float32Array, inner: float, outer: float, height: float) -> Float32Array:
    """A hollow cylinder along z: a rectangle in the half plane of distance from the axis and height."""
    from_axis = np.hypot(points[..., 0], points[..., 1])
    across = np.abs(from_axis - np.float32((outer + inner) / 2)) - np.float32((outer - inner) / 2)
    along = np.abs(points[..., 2]) - np.float32(height / 2)
    outside = np.hypot(np.maximum(across, 0), np.maximum(along, 0))
    return outside + np.minimum(np.maximum(across, along), 0)


KINDS: dict[str, ParticleKind] = {
    kind.code: kind
    for kind in (
        ParticleKind("1bar", "barrel: a short hollow cylinder", 23, _barrel),
        ParticleKind("1shl", "hollow shell: a sphere with a thick wall", 25, _shell),
        ParticleKind("1rng", "ring stack: three rings on one axis", 30, _ring_stack),
        ParticleKind("1two", "two lobes joined by a neck", 29, _two_lobes),
        ParticleKind("1rod", "rod: a cylinder with round caps", 33, _rod),
    )
}
"""The kinds by their codes."""
