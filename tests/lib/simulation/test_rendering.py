"""Copies of a molecule: where they are put, turned as they should be, nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import center_of_mass
from scipy.spatial.transform import Rotation

from tomotwin_lib.simulation.molecules import Molecule, molecule_of_kind
from tomotwin_lib.simulation.particles import KINDS, ParticleKind, render
from tomotwin_lib.simulation.rendering import render_copies, window_of

BALLS = np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 0, -5]])  # x y z in voxels
WEIGHTS = np.array([1.0, 0.9, 0.6, 0.8])
SIGMA = 1.2


def lumps(points: np.ndarray, edge: int, centre: np.ndarray) -> np.ndarray:
    """Gaussians at points (x y z) from a centre (z y x), without any interpolation."""
    grid = np.indices((edge,) * 3).transpose(1, 2, 3, 0) - centre
    squared = ((grid[..., None, :] - points[:, ::-1]) ** 2).sum(axis=-1)
    return (WEIGHTS * np.exp(-0.5 * squared / SIGMA**2)).sum(axis=-1).astype(np.float32)


@pytest.fixture(scope="module")
def molecule() -> Molecule:
    points = BALLS - np.average(BALLS, axis=0, weights=WEIGHTS)
    return Molecule("1abc", "lumps", lumps(points, 21, np.full(3, 10.0)), 10.0)


def test_copies_are_those_of_the_formula(molecule: Molecule) -> None:
    rng = np.random.default_rng(1)
    rotations = Rotation.random(20, rng)
    offsets = rng.uniform(-0.5, 0.5, (20, 3))
    copies = render_copies(molecule, rotations, offsets).numpy()
    window = window_of(molecule)
    assert copies.shape == (20, window, window, window) and copies.dtype == np.float32
    points = BALLS - np.average(BALLS, axis=0, weights=WEIGHTS)
    for copy, rotation, offset in zip(copies, rotations, offsets, strict=True):
        np.testing.assert_allclose(
            copy, lumps(rotation.apply(points), window, window // 2 + offset), atol=0.06
        )
        np.testing.assert_allclose(center_of_mass(copy), window // 2 + offset, atol=0.03)
        assert copy.sum() == pytest.approx(molecule.density.sum(), rel=0.01)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_built_in_shapes_turn_as_they_do_in_the_older_simulation(kind: ParticleKind) -> None:
    rotation = Rotation.from_euler("zxz", [20, 70, 130], degrees=True)
    offset = np.array([0.3, -0.4, 0.1])
    molecule = molecule_of_kind(kind)
    copy = render_copies(molecule, rotation, offset)[0].numpy()
    np.testing.assert_allclose(copy, render(kind, rotation, offset, window=len(copy)), atol=0.15)


def test_nothing_is_cut_at_the_window(molecule: Molecule) -> None:
    copies = render_copies(molecule, Rotation.random(30, 3), np.full((30, 3), 0.5)).numpy()
    faces = [np.take(copies, end, axis).max() for axis in (1, 2, 3) for end in (0, -1)]
    assert max(faces) < 1e-3
