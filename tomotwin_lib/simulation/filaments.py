"""Gently curved filaments of globular subunits: actin-like helices and microtubule-like tubes."""

from __future__ import annotations

import numpy as np

from tomotwin_lib.simulation.microscope import Shape
from tomotwin_lib.simulation.painting import FloatArray, Painted, balls, random_direction, random_point

ACTIN_RISE_IN_ANGSTROM, ACTIN_TURN_IN_DEGREES = 27.5, -166.6
"""From one subunit of F-actin to the next (Oda et al. 2009, Nature 457:441)."""

TUBULIN_SPACING_IN_ANGSTROM, PROTOFILAMENTS, SEAM_IN_SUBUNITS = 41.0, 13, 3
"""Monomers along a protofilament, protofilaments of a microtubule, and subunits by which the helix climbs."""

_ACTIN_FROM_AXIS, _ACTIN_RADIUS = 16.0, 22.0
_TUBULIN_FROM_AXIS, _TUBULIN_RADIUS = 108.0, 23.5


def actin(shape: Shape, voxel_size_in_angstrom: float, rng: np.random.Generator) -> Painted:
    """A filament of two strands, 7 to 8 nm wide, whose strands cross every 36 nm."""
    step = ACTIN_RISE_IN_ANGSTROM / voxel_size_in_angstrom
    path, across, up = _path(shape, step, 6000.0 / voxel_size_in_angstrom, rng)
    angles = np.deg2rad(ACTIN_TURN_IN_DEGREES) * np.arange(len(path)) + rng.uniform(0, 2 * np.pi)
    radial = np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * up
    centres = path + _ACTIN_FROM_AXIS / voxel_size_in_angstrom * radial
    return balls(shape, centres, _ACTIN_RADIUS / voxel_size_in_angstrom)


def microtubule(shape: Shape, voxel_size_in_angstrom: float, rng: np.random.Generator) -> Painted:
    """A hollow tube of 25 nm whose protofilaments run along it, each a little farther than its neighbour."""
    step = TUBULIN_SPACING_IN_ANGSTROM / voxel_size_in_angstrom
    path, across, up = _path(shape, step, 20000.0 / voxel_size_in_angstrom, rng)
    along = np.cross(across, up)
    centres = []
    for number in range(PROTOFILAMENTS):
        angle = 2 * np.pi * number / PROTOFILAMENTS
        radial = np.cos(angle) * across + np.sin(angle) * up
        climb = SEAM_IN_SUBUNITS * number / PROTOFILAMENTS % 1 * step
        centres.append(path + _TUBULIN_FROM_AXIS / voxel_size_in_angstrom * radial + climb * along)
    return balls(shape, np.concatenate(centres), _TUBULIN_RADIUS / voxel_size_in_angstrom)


def _path(
    shape: Shape, step: float, least_radius: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Points (k, 3) of an arc through the volume, ``step`` apart, and two unit vectors across it at each.

    It bends with a radius of at least ``least_radius`` and lies mostly in the plane of the ice.
    """
    along = random_direction(rng) * np.array([0.25, 1.0, 1.0])
    along /= np.linalg.norm(along)
    across = np.cross(along, random_direction(rng))
    across /= np.linalg.norm(across)
    up = np.cross(along, across)
    bend = rng.uniform(0, 1) / least_radius
    half = int(np.linalg.norm(shape) / step) + 1
    arc = step * np.arange(-half, half + 1)[:, None]
    turned = bend * arc
    # The limit of no bend: sin(t) / b and (1 - cos(t)) / b without dividing by 0.
    forward = arc * np.sinc(turned / np.pi)
    sideward = 0.5 * arc * turned * np.sinc(turned / (2 * np.pi)) ** 2
    path = random_point(shape, rng) + forward * along + sideward * across
    normal = np.cos(turned) * across - np.sin(turned) * along
    return path, normal, np.broadcast_to(up, path.shape)
