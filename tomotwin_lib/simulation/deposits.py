"""What was put on the grid or fell on it: gold beads, the carbon film, crystals of ice."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from tomotwin_lib.simulation.microscope import Shape
from tomotwin_lib.simulation.painting import Painted, balls, random_direction, random_point, softened

GOLD_DENSITY = (5.0, 15.0)
"""Range of the contrast of gold against ice, that of protein being 1."""

CARBON_DENSITY = 1.6
"""Contrast of amorphous carbon: its mean inner potential exceeds that of ice more than protein's does."""


def gold_bead(
    shape: Shape, voxel_size_in_angstrom: float, rng: np.random.Generator, radius_in_angstrom: float = 50.0
) -> Painted:
    """A bead anywhere in the volume, its radius within a few hundredths of that asked for."""
    radius = radius_in_angstrom * rng.normal(1.0, 0.04) / voxel_size_in_angstrom
    return balls(shape, random_point(shape, rng)[None], radius, float(rng.uniform(*GOLD_DENSITY)))


def carbon_edge(shape: Shape, voxel_size_in_angstrom: float, rng: np.random.Generator) -> Painted:
    """The edge of a holey film of 100 to 200 Å at one side, granular as amorphous carbon is."""
    size = np.array(shape[1:])
    angle = rng.uniform(0, 2 * np.pi)
    outward = np.array([np.sin(angle), np.cos(angle)])
    hole = rng.uniform(6000.0, 12000.0) / voxel_size_in_angstrom
    # The film reaches some way in from the side that it lies at.
    extent = np.abs(outward) @ size / 2
    edge = extent - rng.uniform(0.1, 0.5) * extent
    middle = (size - 1) / 2 + (edge - hole) * outward
    y, x = np.ogrid[: shape[1], : shape[2]]
    from_edge = hole - np.hypot(y - middle[0], x - middle[1])
    half = min(rng.uniform(50.0, 100.0) / voxel_size_in_angstrom, shape[0] / 2)
    height = rng.uniform(half, shape[0] - 1 - half) if shape[0] - 1 > 2 * half else (shape[0] - 1) / 2
    z = np.arange(shape[0])[:, None, None]
    distance = np.maximum(from_edge[None], np.abs(z - height) - half).astype(np.float32)
    voxels = np.flatnonzero(distance < 3)
    low, high = max(0, int(height - half - 3)), min(shape[0], int(height + half + 4))
    grain = rng.standard_normal((high - low, *shape[1:]), dtype=np.float32)
    grain = gaussian_filter(grain, 0.8)
    grain *= 0.35 / grain.std()
    near = distance.reshape(-1)[voxels]
    plane = shape[1] * shape[2]
    grains = grain.reshape(-1)[np.clip(voxels - low * plane, 0, grain.size - 1)]
    values = CARBON_DENSITY * softened(near) * (1 + grains)
    return Painted(voxels, values.astype(np.float32), near <= 0)


def ice_crystal(shape: Shape, voxel_size_in_angstrom: float, rng: np.random.Generator) -> Painted:
    """A crystal of 200 to 600 Å with flat faces on the upper or lower surface of the ice."""
    radius = rng.uniform(100.0, 300.0) / voxel_size_in_angstrom
    centre = random_point(shape, rng)
    centre[0] = rng.choice([0, shape[0] - 1]) + rng.normal(0, 0.25) * radius
    starts = np.maximum(np.floor(centre - 1.6 * radius).astype(int), 0)
    ends = np.minimum(np.ceil(centre + 1.6 * radius).astype(int) + 1, shape)
    if (ends <= starts).any():
        return Painted(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.bool_))
    axes = [np.arange(start, end) for start, end in zip(starts, ends, strict=True)]
    z, y, x = (axis - middle for axis, middle in zip(np.ix_(*axes), centre, strict=True))
    distance = np.full((len(axes[0]), len(axes[1]), len(axes[2])), -np.inf)
    for _ in range(int(rng.integers(9, 16))):
        normal = random_direction(rng)
        face = radius * rng.uniform(0.6, 1.0)
        distance = np.maximum(distance, normal[0] * z + normal[1] * y + normal[2] * x - face)
    distance = np.maximum(distance, np.sqrt(z**2 + y**2 + x**2) - 1.5 * radius)
    zi, yi, xi = np.ix_(*axes)
    voxels = ((zi * shape[1] + yi) * shape[2] + xi).reshape(-1)
    distance = distance.reshape(-1)
    close = distance < 3
    voxels, distance = voxels[close], distance[close].astype(np.float32)
    # Diffraction makes crystals far darker than their mass: now more, now less.
    values = np.float32(rng.uniform(0.8, 2.5)) * softened(distance)
    return Painted(voxels, values, distance <= 0)
