"""Lipid bilayers: vesicles and sheets, two dense leaflets with the fatty tails between."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from tomotwin_lib.simulation.microscope import Shape
from tomotwin_lib.simulation.molecules import BLUR_IN_VOXELS
from tomotwin_lib.simulation.painting import FloatArray, Painted, random_direction, random_point
from tomotwin_lib.simulation.particles import Float32Array

LEAFLETS_APART_IN_ANGSTROM = (36.0, 42.0)
"""Range of the distance between the two planes of head groups."""

_HEADS_IN_ANGSTROM = 4.5  # deviation of a plane of head groups, before it is smeared
_MARGIN_IN_ANGSTROM = 8.0  # from the head groups to the surface: a bilayer is 5 to 6 nm thick
_TAILS = -0.12  # density of the tails: a little less than water
_WAVES = 5


def vesicle(shape: Shape, voxel_size_in_angstrom: float, rng: np.random.Generator) -> Painted:
    """A closed membrane, somewhat elongated and uneven, its centre in or near the volume."""
    radius = rng.uniform(150.0, 550.0) / voxel_size_in_angstrom
    stretch = np.exp(0.15 * rng.standard_normal(3))
    inverse_axes = 1.0 / (radius * stretch / np.cbrt(stretch.prod()))
    frame = Rotation.random(None, rng).as_matrix() * inverse_axes[:, None]
    # From the volume's middle plane outwards: small ones float anywhere, large ones are cut by the faces.
    centre = random_point(shape, rng) + rng.uniform(-0.3, 0.3, 3) * radius
    bumps = _Waves(rng, height=0.05, wavelengths=(0.9, 3.0))
    reach = 1.3 * radius * stretch.max() / np.cbrt(stretch.prod()) + 60.0 / voxel_size_in_angstrom
    voxels, points = _near(shape, centre, reach)
    own = points @ frame.T.astype(np.float32)
    # To first order the distance from a level set is the excess over the length of the gradient.
    length = np.sqrt((own**2).sum(axis=1)) + np.float32(1e-6)
    gradient = np.linalg.norm(own @ frame.astype(np.float32), axis=1) / length
    rough = (length - 1) / gradient
    close = np.abs(rough) < 0.25 * radius + 60.0 / voxel_size_in_angstrom
    voxels, own, length, gradient = voxels[close], own[close], length[close], gradient[close]
    distance = (length - 1 - bumps(own / length[:, None])) / gradient
    return _bilayer(voxels, distance, voxel_size_in_angstrom, rng)


def sheet(shape: Shape, voxel_size_in_angstrom: float, rng: np.random.Generator) -> Painted:
    """A wavy membrane through the whole volume, more often upright than flat in the ice."""
    normal = random_direction(rng) * np.array([0.5, 1.0, 1.0])
    normal /= np.linalg.norm(normal)
    centre = random_point(shape, rng)
    wavelength = 1500.0 / voxel_size_in_angstrom
    waves = _Waves(rng, height=40.0 / voxel_size_in_angstrom, wavelengths=(0.7 * wavelength, 2 * wavelength))
    # The distance from the plane, axis by axis, so that the whole volume costs one pass.
    along = [(normal[axis] * (np.arange(shape[axis]) - centre[axis])).astype(np.float32) for axis in range(3)]
    plane = along[0][:, None, None] + along[1][None, :, None] + along[2]
    voxels = np.flatnonzero(np.abs(plane) < waves.most + 60.0 / voxel_size_in_angstrom)
    points = np.stack(np.unravel_index(voxels, shape), axis=-1).astype(np.float32) - centre.astype(np.float32)
    distance = (plane.reshape(-1)[voxels] - waves(points)) / np.float32(1.05)
    return _bilayer(voxels, distance, voxel_size_in_angstrom, rng)


def _bilayer(
    voxels: np.ndarray, distance: Float32Array, voxel_size_in_angstrom: float, rng: np.random.Generator
) -> Painted:
    """Densities of two leaflets by the signed distance (voxels) from the plane between them."""
    apart = rng.uniform(*LEAFLETS_APART_IN_ANGSTROM) / voxel_size_in_angstrom / 2
    thickness = apart + _MARGIN_IN_ANGSTROM / voxel_size_in_angstrom
    close = np.abs(distance) < thickness + 3 * BLUR_IN_VOXELS
    voxels, distance = voxels[close], distance[close]
    own = _HEADS_IN_ANGSTROM / voxel_size_in_angstrom
    blurred = np.hypot(own, BLUR_IN_VOXELS)
    # A plane of heads is as dense as the densest protein; smearing lowers it as it widens it.
    height = rng.uniform(1.3, 1.9) * own / blurred * np.sqrt(voxel_size_in_angstrom / 10.0 + 1)
    heads = sum(np.exp(-0.5 * ((distance + side * apart) / blurred) ** 2) for side in (-1, 1))
    tails = np.exp(-0.5 * (distance / max(0.5 * apart, blurred)) ** 2)
    values = height * heads + _TAILS * tails
    return Painted(voxels, values.astype(np.float32), np.abs(distance) <= thickness)


def _near(shape: Shape, centre: FloatArray, reach: float) -> tuple[np.ndarray, Float32Array]:
    """Flat indices of the voxels in a box about a centre, and their (z, y, x) from it."""
    ranges = [
        np.arange(max(0, int(middle - reach)), min(size, int(middle + reach) + 2))
        for middle, size in zip(centre, shape, strict=True)
    ]
    z, y, x = np.meshgrid(*ranges, indexing="ij", sparse=True)
    voxels = ((z * shape[1] + y) * shape[2] + x).reshape(-1)
    grids = np.meshgrid(
        *[(axis - middle).astype(np.float32) for axis, middle in zip(ranges, centre, strict=True)],
        indexing="ij",
    )
    return voxels, np.stack([grid.reshape(-1) for grid in grids], axis=-1)


class _Waves:
    """A smooth random height: a few sines of random direction and phase."""

    def __init__(self, rng: np.random.Generator, height: float, wavelengths: tuple[float, float]) -> None:
        lengths = rng.uniform(*wavelengths, _WAVES)
        self._vectors = np.stack([random_direction(rng) * 2 * np.pi / length for length in lengths])
        self._phases = rng.uniform(0, 2 * np.pi, _WAVES)
        # Long waves are the highest, as in a membrane that resists bending.
        self._heights = height * lengths / lengths.max() * rng.uniform(0.2, 1.0, _WAVES) / np.sqrt(_WAVES)
        self.most = float(self._heights.sum())

    def __call__(self, points: Float32Array) -> Float32Array:
        total = np.zeros(len(points), dtype=np.float32)
        for vector, phase, height in zip(self._vectors, self._phases, self._heights, strict=True):
            total += np.float32(height) * np.sin(points @ vector.astype(np.float32) + np.float32(phase))
        return total
