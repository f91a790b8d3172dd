"""A specimen before the microscope: crowded molecules among membranes, gold and what else lies in the ice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.spatial.transform import Rotation

from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.distractors import KINDS_OF_DISTRACTOR, Distractors, build_distractors
from tomotwin_lib.simulation.microscope import Shape
from tomotwin_lib.simulation.molecules import Float32Array, Molecule
from tomotwin_lib.simulation.placing import Placer
from tomotwin_lib.simulation.rendering import render_copies
from tomotwin_lib.simulation.tomograms import require_shape

MASK_LEVEL = 0.3
"""A particle's mask is where it has more than this share of its molecule's maximum."""


@dataclass(frozen=True)
class Specimen:
    """A specimen and the truth about it.

    Attributes
    ----------
    density : (z, y, x), bright, about 1 in protein, 0 in ice.
    class_mask : (z, y, x) uint16; 0 is ice, what other numbers are is said by ``names``.
    particles : one row a particle, columns class, X, Y, Z, phi, psi, theta as in
        :class:`~tomotwin_lib.simulation.tomograms.SimulatedTomogram`.
    names : the mask's values to their names: 1 and on are the molecules' codes in their order, then the kinds
        of distractor, whether there is one of them or not.
    """

    density: Float32Array
    class_mask: npt.NDArray[np.uint16]
    particles: pd.DataFrame
    names: dict[int, str]


def build_specimen(
    shape: Shape,
    molecules: Sequence[Molecule],
    *,
    rng: np.random.Generator,
    particles_per_class: int | None = None,
    crowding: float | None = None,
    distractors: Distractors | None = None,
    margin: float | None = None,
    gap: int = 0,
    device: torch.device | str = "cpu",
) -> Specimen:
    """Place molecules in random poses so that no two masks meet, the largest first.

    Masks keep particles apart, not bounding spheres: an elongated molecule may lie along another one, and
    a small one in the cavity of a shell.

    Parameters
    ----------
    shape : (z, y, x) in voxels.
    molecules : what to place; of one voxel size, and each with a code of its own.
    rng : source of all randomness; the same state gives the same specimen.
    particles_per_class : how many of each molecule, or
    crowding : the share of the volume that the particles' masks take up, each class as numerous as any other
        on average; where that is more than finds room, as many as do. 0.02 is a dilute specimen, 0.1 a
        crowded one. One of the two must be given.
    distractors : what else there is; nothing where ``None``.
    margin : least distance of a centre from every face, in voxels; the molecule's radius where ``None``, so
        that all of it lies inside. 0 lets particles be cut by the faces.
    gap : voxels that stay free around every particle.
    device : where copies are drawn.

    Raises
    ------
    InputError
        If the shape, a count or a share cannot be used, molecules have one code or differ in voxel size, or
        the particles asked for do not fit.
    """
    shape = require_shape("specimen shape", shape)
    _check(molecules, particles_per_class, crowding)
    names = {number: molecule.code for number, molecule in enumerate(molecules, start=1)}
    names |= dict(enumerate(KINDS_OF_DISTRACTOR, start=len(molecules) + 1))

    density = np.zeros(shape, dtype=np.float32)
    class_mask = np.zeros(shape, dtype=np.uint16)
    if distractors is not None:
        density, kinds = build_distractors(shape, distractors, molecules[0].voxel_size_in_angstrom, rng=rng)
        class_mask[kinds > 0] = kinds[kinds > 0] + np.uint16(len(molecules))
    counts = _counts(shape, molecules, particles_per_class, crowding, rng)
    placer = Placer(density, class_mask, gap, rng)
    rows: list[tuple[str, npt.NDArray[np.float64], Rotation]] = []
    # Large ones first: a small one finds room between large ones, not the other way about.
    for index in sorted(range(len(molecules)), key=lambda index: -mask_volume(molecules[index])):
        molecule, count = molecules[index], counts[index]
        if count == 0:
            continue
        rotations = Rotation.random(count, rng)
        offsets = rng.uniform(-0.5, 0.5, size=(count, 3))
        copies = render_copies(molecule, rotations, offsets, device).cpu().numpy()
        level = MASK_LEVEL * float(molecule.density.max())
        distance = molecule.radius if margin is None else margin
        for number, (copy, offset) in enumerate(zip(copies, offsets, strict=True)):
            centre = placer.place(copy, level, index + 1, distance, offset)
            if centre is not None:
                rows.append((molecule.code, centre, rotations[number]))
            elif crowding is None:
                raise InputError(
                    "particles per class",
                    f"{particles_per_class} of each of {len(molecules)} molecules do not fit into "
                    f"{' × '.join(map(str, shape))} voxels without overlap: {number} of {molecule.code} did",
                    "Ask for fewer, for fewer distractors, or for a larger specimen",
                )
    return Specimen(placer.density, placer.class_mask, _frame(rows), names)


def _check(molecules: Sequence[Molecule], particles_per_class: int | None, crowding: float | None) -> None:
    if not molecules:
        raise InputError("molecules", "there are none", "Give at least one molecule")
    codes = [molecule.code for molecule in molecules]
    double = next((code for code in codes if codes.count(code) > 1), None)
    if double is not None:
        raise InputError("molecules", f"two of them have the code {double}", "Give each a code of its own")
    sizes = {molecule.voxel_size_in_angstrom for molecule in molecules}
    if len(sizes) > 1:
        raise InputError(
            "molecules",
            f"they have voxels of {', '.join(f'{size:g}' for size in sorted(sizes))} Å",
            "Read them at one voxel size",
        )
    if (particles_per_class is None) == (crowding is None):
        raise InputError(
            "particles",
            f"particles per class is {particles_per_class} and crowding {crowding}",
            "Give one of the two",
        )
    if crowding is not None and not 0 <= crowding < 1:
        raise InputError(
            "crowding", f"the share is {crowding}", "Give a share from 0 to below 1, such as 0.03"
        )
    if particles_per_class is not None and (particles_per_class % 1 != 0 or particles_per_class < 0):
        raise InputError(
            "particles per class", f"{particles_per_class} is not a count", "Give a whole number of 0 or more"
        )


def _counts(
    shape: Shape,
    molecules: Sequence[Molecule],
    particles_per_class: int | None,
    crowding: float | None,
    rng: np.random.Generator,
) -> list[int]:
    """How many of each molecule."""
    if particles_per_class is not None:
        return [int(particles_per_class)] * len(molecules)
    wanted = (crowding or 0.0) * float(np.prod(shape))
    volumes = np.array([mask_volume(molecule) for molecule in molecules])
    # Rounds of all, each in a new order, until the volume is full: as even as whole particles allow.
    rounds, rest = divmod(wanted, volumes.sum())
    order = rng.permutation(len(molecules))
    last = order[np.cumsum(volumes[order]) <= rest]
    return [int(rounds) + int(index in last) for index in range(len(molecules))]


def mask_volume(molecule: Molecule) -> int:
    """Voxels of a molecule's mask."""
    return int((molecule.density > MASK_LEVEL * molecule.density.max()).sum())


def _frame(rows: list[tuple[str, npt.NDArray[np.float64], Rotation]]) -> pd.DataFrame:
    particles = pd.DataFrame({"class": pd.Series([code for code, _, _ in rows], dtype=object)})
    particles[["Z", "Y", "X"]] = np.array([centre for _, centre, _ in rows]).reshape(-1, 3)
    angles = [rotation.as_euler("zxz", degrees=True) for _, _, rotation in rows]
    particles[["phi", "theta", "psi"]] = np.array(angles).reshape(-1, 3)
    return particles[["class", "X", "Y", "Z", "phi", "psi", "theta"]]
