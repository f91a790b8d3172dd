"""Molecules that do not exist but could: any number of protein-like shapes to train on.

A molecule is built as proteins are: compact domains of 9 to 60 kDa touch each other in a chain, and copies of
the chain are set around the axes of a point group until they touch. Rings, barrels and hollow shells come
about by themselves where the symmetry is high. Each domain is an ellipsoid filled with points, one for every
amino acid, so that volumes and grain are those of protein at 10 Å.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from tomotwin_lib.simulation.molecules import (
    CUBIC_ANGSTROM_PER_DALTON,
    Float32Array,
    Molecule,
    density_of_points,
    scaled,
)

FloatArray = npt.NDArray[np.float64]

SYMMETRIES: dict[str, float] = {
    "C1": 34, "C2": 18, "C3": 8, "C4": 5, "C5": 3, "C6": 6, "C7": 3, "C8": 2,
    "D2": 6, "D3": 4, "D4": 2, "D5": 1, "D6": 1, "D7": 3, "T": 1.5, "O": 2, "I": 0.5,
}  # fmt: skip
"""Point groups and their odds, roughly as among large complexes in the Protein Data Bank."""

MASSES_IN_KILODALTON = (50.0, 4000.0)
"""Range from which masses are drawn, evenly in the logarithm."""

LARGEST_RADIUS_IN_ANGSTROM = 180.0
"""Molecules stay within a sphere of this radius: a window of 37 voxels of 10 Å."""

_DALTON_PER_AMINO_ACID = 110.0
_DOMAINS_IN_KILODALTON = (9.0, 60.0)
_LEAST_SUBUNIT_IN_KILODALTON = 12.0
_CANDIDATES = 24
_TOUCH = 0.85  # of the sum of two radii: ellipsoids that touch lie closer than their spheres would
_TRIES = 20
_DIRECTIONS = 10  # in which copies are moved apart; the closest packing is taken
_DENSEST = 1.25  # density of protein where domains are drawn over each other


@dataclass(frozen=True)
class _Domains:
    """Ellipsoids: centres (d, 3), half axes (d, 3), frames (d) and masses (d) in Da; lengths in Å."""

    centres: FloatArray
    axes: FloatArray
    frames: Rotation
    masses: FloatArray

    @property
    def radii(self) -> FloatArray:
        """Radii of spheres as large as the ellipsoids."""
        return np.cbrt(self.axes.prod(axis=1))


def made_up_molecule(
    rng: np.random.Generator,
    code: str,
    *,
    mass_in_kilodalton: float | None = None,
    symmetry: str | None = None,
    voxel_size_in_angstrom: float = 10.0,
    largest_radius_in_angstrom: float = LARGEST_RADIUS_IN_ANGSTROM,
) -> Molecule:
    """A random molecule.

    Parameters
    ----------
    rng : source of all randomness; the same state gives the same molecule.
    code : its label.
    mass_in_kilodalton : drawn from :data:`MASSES_IN_KILODALTON` where ``None``.
    symmetry : a point group of :data:`SYMMETRIES`, drawn by its odds where ``None``.
    voxel_size_in_angstrom : of the density.
    largest_radius_in_angstrom : of a sphere that no amino acid leaves. A molecule that does is drawn again;
        after twenty tries a last one without symmetry, as compact as can be, has to do.

    Returns
    -------
    Molecule, :func:`~tomotwin_lib.simulation.molecules.scaled`; what is protein in it takes up about 1.21 Å3
    a dalton.
    """
    mass = mass_in_kilodalton
    if mass is None:
        mass = float(np.exp(rng.uniform(*np.log(MASSES_IN_KILODALTON))))
    for attempt in range(_TRIES + 1):
        last = attempt == _TRIES
        group = "C1" if last else symmetry or _drawn_symmetry(mass, rng)
        turns = point_group(group)
        chain = _chain(mass / len(turns), 0.0 if last else rng.uniform(0, 1) ** 2, rng)
        points = _assembled(_points(chain, rng), chain, turns, rng)
        if last or np.linalg.norm(points - points.mean(axis=0), axis=1).max() <= largest_radius_in_angstrom:
            break
    volume = 1e3 * mass * CUBIC_ANGSTROM_PER_DALTON / len(points)
    density = _saturated(density_of_points(points, np.full(len(points), volume), voxel_size_in_angstrom))
    return Molecule(code, f"made up, {mass:.0f} kDa, {group}", scaled(density), voxel_size_in_angstrom)


def made_up_molecules(count: int, seed: int, voxel_size_in_angstrom: float = 10.0) -> list[Molecule]:
    """The first ``count`` (at most 1000) of a seed's molecules; their codes are ``0000`` to ``0999``.

    No entry of the Protein Data Bank starts with 0. Each molecule has random numbers of its own, so asking
    for more leaves the others as they were.
    """
    if not 0 <= count <= 1000:
        raise ValueError(f"codes are there for 0 to 1000 molecules, not {count}")
    return [
        made_up_molecule(
            np.random.default_rng([seed, number]),
            f"0{number:03d}",
            voxel_size_in_angstrom=voxel_size_in_angstrom,
        )
        for number in range(count)
    ]


@cache
def point_group(name: str) -> Rotation:
    """The rotations of a point group (``C1``, ``D7``, ``T``, ``O``, ``I``); the first is the identity."""
    turns = Rotation.create_group(cast(Any, name))  # its stubs know "Cn" but no "C7"
    angles = turns.magnitude()
    return turns[np.argsort(angles, kind="stable")]


def _drawn_symmetry(mass: float, rng: np.random.Generator) -> str:
    fitting = {
        name: odds
        for name, odds in SYMMETRIES.items()
        if mass / len(point_group(name)) >= _LEAST_SUBUNIT_IN_KILODALTON
    }
    odds = np.array(list(fitting.values()))
    return str(rng.choice(list(fitting), p=odds / odds.sum()))


def _chain(mass: float, looseness: float, rng: np.random.Generator) -> _Domains:
    """Domains that touch, ``mass`` in kDa in all; ``looseness`` 0 packs them, 1 lets them stretch."""
    masses: list[float] = []
    while sum(masses) < mass:
        masses.append(float(np.exp(rng.uniform(*np.log(_DOMAINS_IN_KILODALTON)))))
    shares = 1e3 * np.array(masses) * (mass / sum(masses))
    count = len(shares)
    axes = np.cbrt(3 * shares * CUBIC_ANGSTROM_PER_DALTON / (4 * np.pi))[:, None] * _axis_ratios(count, rng)
    radii = np.cbrt(axes.prod(axis=1))
    centres = np.zeros((count, 3))
    for done in range(1, count):
        neighbours = rng.integers(max(0, done - 1 - int(4 / (looseness + 0.05))), done, size=_CANDIDATES)
        reach = _TOUCH * (radii[neighbours] + radii[done])
        candidates = centres[neighbours] + reach[:, None] * _directions(_CANDIDATES, rng)
        apart = np.linalg.norm(candidates[:, None] - centres[None, :done], axis=-1)
        clash = np.maximum(_TOUCH * (radii[:done] + radii[done]) - apart, 0).sum(axis=1)
        clash[clash < 1e-6] = 0
        middle = np.average(centres[:done], axis=0, weights=shares[:done])
        distance = np.linalg.norm(candidates - middle, axis=1)
        # Among places without a clash, that near the middle is taken, or any, the more the looser.
        wish = (1 - looseness) * distance + looseness * rng.uniform(0, distance.max(), _CANDIDATES)
        centres[done] = candidates[int(np.argmin(wish + 1e3 * clash))]
    centres -= np.average(centres, axis=0, weights=shares)
    return _Domains(centres, axes, Rotation.random(count, rng), shares)


def _axis_ratios(count: int, rng: np.random.Generator) -> FloatArray:
    """Half axes of ellipsoids over the radius of a sphere as large, (d, 3): most round, some bundles long."""
    ratios = np.exp(0.22 * rng.standard_normal((count, 3)))
    ratios[:, 0] *= np.where(rng.uniform(size=count) < 0.2, rng.uniform(1.5, 2.5, count), 1.0)
    return np.asarray(ratios / np.cbrt(ratios.prod(axis=1, keepdims=True)))


def _points(domains: _Domains, rng: np.random.Generator) -> FloatArray:
    """A point for each amino acid, (k, 3), evenly spread in the ellipsoids."""
    counts = np.maximum(np.rint(domains.masses / _DALTON_PER_AMINO_ACID).astype(int), 1)
    owner = np.repeat(np.arange(len(counts)), counts)
    total = len(owner)
    inside = _directions(total, rng) * np.cbrt(rng.uniform(size=(total, 1))) * domains.axes[owner]
    return np.asarray(domains.centres[owner] + domains.frames[owner].apply(inside))


def _assembled(points: FloatArray, chain: _Domains, turns: Rotation, rng: np.random.Generator) -> FloatArray:
    """Copies of a chain's points around the axes of its point group, as near to each other as they fit."""
    if len(turns) == 1:
        return points
    pose = Rotation.random(None, rng)
    points, centres = pose.apply(points), pose.apply(chain.centres)
    axes = turns.as_rotvec()
    if (axes[:, 2] != 0).any() and _one_main_axis(axes):
        # First a ring about z, then, in dihedral groups, two rings on top of each other: both touch.
        about_z = np.hypot(axes[:, 0], axes[:, 1]) < 1e-6
        stages = [
            (turns[about_z], np.array([[1.0, 0.0, 0.0]])),
            (turns[~about_z], np.array([[0.0, 0.0, 1.0]])),
        ]
    else:
        stages = [(turns, _directions(_DIRECTIONS, rng))]
    for some, directions in stages:
        shifts = [_least_shift(centres, chain.radii, some, direction) for direction in directions]
        best = int(np.argmin(shifts))
        points = points + shifts[best] * directions[best]
        centres = centres + shifts[best] * directions[best]
    return np.concatenate([turn.apply(points) for turn in turns])


def _one_main_axis(axes: FloatArray) -> bool:
    """Whether a group is cyclic or dihedral about z: every axis lies along z or in the plane across it."""
    along, across = np.abs(axes[:, 2]) > 1e-6, np.hypot(axes[:, 0], axes[:, 1]) > 1e-6
    return not (along & across).any()


def _least_shift(centres: FloatArray, radii: FloatArray, turns: Rotation, direction: FloatArray) -> float:
    """How far (Å) to move domains outward until no image of them by ``turns`` clashes with them."""
    needed = _TOUCH * (radii[:, None] + radii[None])
    distances = np.arange(0.0, 400.0, 2.0)
    free = np.ones(len(distances), dtype=bool)
    for turn in turns:
        # Moved by s along u, domain i is at c_i + s u and its image at R c_i + s R u.
        change = direction - turn.apply(direction)
        if turn.magnitude() < 1e-6 or np.linalg.norm(change) < 1e-6:
            continue
        start = centres[:, None] - turn.apply(centres)[None]
        # |start + s change|² written out, so that the long axis of shifts comes last and is cheap.
        squared = (
            (start**2).sum(axis=-1)[..., None]
            + 2 * (start @ change)[..., None] * distances
            + (change @ change) * distances**2
        )
        free &= (squared >= needed[..., None] ** 2).all(axis=(0, 1))
    # The least shift from which on nothing clashes: no chain ends up threaded through another.
    clashing = np.flatnonzero(~free)
    return float(distances[min(clashing[-1] + 1, len(distances) - 1)]) if len(clashing) else 0.0


def _saturated(density: Float32Array) -> Float32Array:
    """Density that stays below that of packed protein where domains overlap, its sum as before."""
    limited = density / (1 + (density / np.float32(_DENSEST)) ** 4) ** np.float32(0.25)
    return np.asarray(limited * (density.sum() / limited.sum()), dtype=np.float32)


def _directions(count: int, rng: np.random.Generator) -> FloatArray:
    """Unit vectors, (k, 3), evenly spread over all directions."""
    vectors = rng.standard_normal((count, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
