"""What lies in the ice beside the molecules that are looked for: settings, and all of it in one volume.

Lengths are those of nature in Å, so a voxel size is needed to draw them; densities are relative to protein.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import numpy.typing as npt

from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.deposits import carbon_edge, gold_bead, ice_crystal
from tomotwin_lib.simulation.filaments import actin, microtubule
from tomotwin_lib.simulation.membranes import sheet, vesicle
from tomotwin_lib.simulation.microscope import Shape
from tomotwin_lib.simulation.painting import Painted
from tomotwin_lib.simulation.particles import Float32Array

KINDS_OF_DISTRACTOR = ("membrane", "gold", "filament", "microtubule", "carbon", "ice")
"""Names of the kinds; the first has the value 1 in a mask of kinds."""

_TRIES = 12
_CLASH = 0.03  # of a distractor's own voxels may already belong to another


@dataclass(frozen=True)
class Distractors:
    """How many of each, as (least, most), both included; each number in between is as likely.

    Attributes
    ----------
    vesicles : closed membranes of 150 to 550 Å radius.
    sheets : open membranes through the whole volume.
    gold : fiducials of 50 to 100 Å diameter, all of nearly one size in a specimen.
    filaments : actin-like helices.
    microtubules : tubes of 13 protofilaments.
    ice : crystals on the upper and lower surface.
    carbon_probability : of the edge of a carbon film at one side.
    """

    vesicles: tuple[int, int] = (0, 3)
    sheets: tuple[int, int] = (0, 1)
    gold: tuple[int, int] = (0, 8)
    filaments: tuple[int, int] = (0, 4)
    microtubules: tuple[int, int] = (0, 1)
    ice: tuple[int, int] = (0, 3)
    carbon_probability: float = 0.15

    def __post_init__(self) -> None:
        if not 0 <= self.carbon_probability <= 1:
            raise InputError(
                "carbon probability", f"it is {self.carbon_probability}", "Give a number from 0 to 1"
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple) and not (len(value) == 2 and 0 <= value[0] <= value[1]):
                raise InputError(
                    field.name,
                    f"the numbers are {value}",
                    "Give the least and the most, 0 or more, as (0, 3)",
                )

    @classmethod
    def none(cls) -> Distractors:
        """Nothing at all."""
        return cls(
            vesicles=(0, 0),
            sheets=(0, 0),
            gold=(0, 0),
            filaments=(0, 0),
            microtubules=(0, 0),
            ice=(0, 0),
            carbon_probability=0.0,
        )


def build_distractors(
    shape: Shape, distractors: Distractors, voxel_size_in_angstrom: float, *, rng: np.random.Generator
) -> tuple[Float32Array, npt.NDArray[np.uint8]]:
    """Draw distractors that hardly meet each other; one that finds no place is left out.

    Parameters
    ----------
    shape : (z, y, x) in voxels.
    distractors : how many of each.
    voxel_size_in_angstrom : of the volume.
    rng : source of all randomness; the same state gives the same volume.

    Returns
    -------
    Their density (z, y, x), and a mask (z, y, x) that is 0 where there is none and else the place in
    :data:`KINDS_OF_DISTRACTOR`, counted from 1.
    """
    bead = float(rng.uniform(25.0, 50.0))
    makers: list[tuple[str, int, Callable[..., Painted]]] = [
        ("carbon", int(rng.uniform() < distractors.carbon_probability), carbon_edge),
        ("membrane", _drawn(distractors.sheets, rng), sheet),
        ("membrane", _drawn(distractors.vesicles, rng), vesicle),
        ("microtubule", _drawn(distractors.microtubules, rng), microtubule),
        ("filament", _drawn(distractors.filaments, rng), actin),
        ("ice", _drawn(distractors.ice, rng), ice_crystal),
        ("gold", _drawn(distractors.gold, rng), partial(gold_bead, radius_in_angstrom=bead)),
    ]
    density = np.zeros(shape, dtype=np.float32)
    kinds = np.zeros(shape, dtype=np.uint8)
    for kind, count, make in makers:
        number = KINDS_OF_DISTRACTOR.index(kind) + 1
        for _ in range(count):
            for _ in range(_TRIES):
                painted = make(shape, voxel_size_in_angstrom, rng)
                own = painted.voxels[painted.inside]
                if len(own) and (kinds.flat[own] > 0).mean() <= _CLASH:
                    np.add.at(density.reshape(-1), painted.voxels, painted.values)
                    kinds.reshape(-1)[own] = number
                    break
    return density, kinds


def _drawn(least_and_most: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(least_and_most[0], least_and_most[1] + 1))
