"""Particles by formula: their extent, their centre, their poses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import center_of_mass
from scipy.spatial.transform import Rotation

from tomotwin_lib.simulation.particles import KINDS, WINDOW, ParticleKind, render

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def extents(density: np.ndarray) -> np.ndarray:
    """Voxels along z, y and x from the first to the last above a tenth of the maximum."""
    return np.ptp(np.argwhere(density > 0.1 * density.max()), axis=0) + 1


@kinds
def test_the_box_holds_every_pose_and_the_longest_one_fills_it(kind: ParticleKind) -> None:
    poses = [Rotation.identity(), *Rotation.from_euler("xyz", np.random.default_rng(3).normal(size=(40, 3)))]
    longest = max(int(extents(render(kind, pose)).max()) for pose in poses)
    assert kind.box_size - 3 <= longest <= kind.box_size


@kinds
def test_the_density_is_soft_whole_and_between_0_and_1(kind: ParticleKind) -> None:
    density = render(kind, Rotation.from_euler("zyx", [20, 40, 60], degrees=True))
    assert density.shape == (WINDOW, WINDOW, WINDOW)
    assert density.dtype == np.float32
    assert density.min() >= 0 and 0.9 < density.max() <= 1
    faces = np.concatenate([np.take(density, end, axis=axis).ravel() for axis in range(3) for end in (0, -1)])
    assert faces.max() < 0.1
    # Soft: from one voxel to the next it never falls from full to nothing.
    assert max(np.abs(np.diff(density, axis=axis)).max() for axis in range(3)) < 0.7


@kinds
def test_the_centre_of_mass_is_where_it_was_put(kind: ParticleKind) -> None:
    offset = np.array([0.4, -0.3, 0.25])
    density = render(kind, Rotation.from_euler("zyx", [10, -50, 80], degrees=True), offset)
    np.testing.assert_allclose(center_of_mass(density), WINDOW // 2 + offset, atol=0.05)


@pytest.mark.parametrize(
    ("axis", "angles"), [("z", [0, 0]), ("y", [90, 0]), ("x", [90, 90])], ids=["upright", "laid", "turned"]
)
def test_a_rotation_turns_the_rod_from_z_to_the_axis_asked_for(axis: str, angles: list[float]) -> None:
    # About x by 90 degrees carries z to −y; then about z by 90 degrees carries −y to x.
    density = render(KINDS["1rod"], Rotation.from_euler("xz", angles, degrees=True))
    assert "zyx"[int(np.argmax(extents(density)))] == axis


def test_bodies_look_as_their_names_say() -> None:
    middle = WINDOW // 2
    upright = {code: render(kind, Rotation.identity()) for code, kind in KINDS.items()}
    assert upright["1bar"][middle, middle, middle] < 0.1, "the barrel is hollow"
    assert upright["1bar"][:, middle, middle].max() < 0.1, "the barrel is open"
    assert upright["1shl"][middle, middle, middle] < 0.1, "the shell is hollow"
    assert upright["1shl"][:, middle, middle].max() > 0.9, "the shell is closed"
    assert upright["1rod"][middle, middle, middle] > 0.9, "the rod is solid"
    assert _peaks(upright["1rng"].sum(axis=(1, 2))) == 3, "three rings"
    assert _peaks(upright["1two"].sum(axis=(1, 2))) == 2, "two lobes"


def _peaks(profile: np.ndarray) -> int:
    inner = profile[1:-1]
    return int(((inner > profile[:-2]) & (inner >= profile[2:]) & (inner > 0.3 * profile.max())).sum())


def test_kinds_differ_more_from_each_other_than_from_their_own_poses() -> None:
    """Radial profiles do not change with the pose; those of two kinds are never alike."""
    z, y, x = np.indices((WINDOW,) * 3) - WINDOW // 2
    radius = np.rint(np.sqrt(z**2 + y**2 + x**2)).astype(int).ravel()
    profiles = []
    for kind in KINDS.values():
        sums = np.bincount(radius, render(kind, Rotation.from_euler("x", 0.5)).ravel().astype(float))
        profiles.append(sums / np.linalg.norm(sums))
    likeness = np.array(profiles) @ np.array(profiles).T
    assert (likeness[~np.eye(len(KINDS), dtype=bool)] < 0.95).all()
