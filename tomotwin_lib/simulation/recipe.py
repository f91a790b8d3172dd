"""What a labelled data set is made of: the settings, checked before anything is simulated."""

from __future__ import annotations

import operator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import md5_of_file
from tomotwin_lib.simulation.imaging import METHODS, Method
from tomotwin_lib.simulation.imaging_settings import MOST_DEFOCUS, Imaging
from tomotwin_lib.simulation.microscope import Shape
from tomotwin_lib.simulation.particles import WINDOW
from tomotwin_lib.simulation.structures import find_structures
from tomotwin_lib.simulation.tomograms import require_shape

Range = tuple[float, float]

MOST_MADE_UP = 1000
"""Codes of made-up molecules have three digits after their 0."""

VOXEL_SIZES = (1.0, 50.0)
"""Least and most, in Å: with less no protein fits a window of 37 voxels, with more it is a few voxels."""

MOST_THICKNESS = 2000.0
"""Nanometres of ice; what is more was meant in ångström."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a labelled data set; ranges are (least, most), and drawn from anew for every tomogram.

    Attributes
    ----------
    structures : density maps (MRC), atomic models (PDB, mmCIF), or folders of them.
    made_up : how many made-up molecules, at most 1000. With neither, the five built-in shapes.
    seed : a whole number of 0 or more.
    tomograms : how many tomograms to be picked.
    tomogram_shape : (z, y, x) of each, in voxels.
    particles_per_class : particles of each molecule in each of them, or
    crowding : the share of the ice's volume that particles take up; then no count may be given.
    distractors : whether there are membranes, gold, filaments, carbon and ice crystals too.
    method : see :func:`tomotwin_lib.simulation.imaging.image_specimen`.
    snr : variance of the signal inside the particles over that of the noise; drawn evenly in the logarithm.
    defocus_in_micrometres : underfocus.
    voxel_size_in_angstrom : of the tomograms and training subvolumes. References and box sizes are for its
        middle.
    thickness_in_nanometres : of the ice, in the middle of the tomogram's depth; particles and distractors lie
        in it. The whole depth where ``None``.
    subvolumes_per_class : training subvolumes of each molecule, with a quarter as many for validation; 0 for
        none.
    cut_shape : (z, y, x) of the tomograms that subvolumes and references are cut from.
    """

    structures: tuple[str | Path, ...] = ()
    made_up: int = 0
    seed: int = 0
    tomograms: int = 1
    tomogram_shape: Shape = (80, 200, 200)
    particles_per_class: int | None = None
    crowding: float | None = None
    distractors: bool = False
    method: Method = "fourier"
    snr: Range = (0.15, 0.15)
    defocus_in_micrometres: Range = (3.0, 4.0)
    voxel_size_in_angstrom: Range = (10.0, 10.0)
    thickness_in_nanometres: Range | None = None
    subvolumes_per_class: int = 80
    cut_shape: Shape = (100, 256, 256)

    def __post_init__(self) -> None:
        for count, fewest in (("seed", 0), ("tomograms", 0), ("made_up", 0), ("subvolumes_per_class", 0)):
            _require_count(count, getattr(self, count), fewest)
        if self.made_up > MOST_MADE_UP:
            raise InputError("made up", f"{self.made_up} are asked for", f"Give at most {MOST_MADE_UP}")
        require_shape("tomogram shape", self.tomogram_shape)
        require_shape("cut shape", self.cut_shape)
        if (self.particles_per_class is None) == (self.crowding is None):
            raise InputError(
                "crowding",
                f"it is {self.crowding}, and the particles in each class are {self.particles_per_class}",
                "Give one of the two",
            )
        if self.particles_per_class is not None:
            _require_count("particles_per_class", self.particles_per_class, 1)
        if self.crowding is not None and not 0 < self.crowding <= 0.3:
            raise InputError(
                "crowding",
                f"the share is {self.crowding}",
                "Give a share above 0 and up to 0.3, such as 0.05",
            )
        if self.method not in METHODS:
            raise InputError("method", f"{self.method!r} is unknown", f"Use {' or '.join(METHODS)}")
        for name in ("snr", "defocus_in_micrometres", "voxel_size_in_angstrom", "thickness_in_nanometres"):
            if getattr(self, name) is not None:
                _require_range(name, getattr(self, name), zero=name == "defocus_in_micrometres")
        if self.defocus_in_micrometres[1] > MOST_DEFOCUS:
            raise InputError(
                "defocus in micrometres",
                f"{self.defocus_in_micrometres[1]:g} µm is too much",
                f"Give at most {MOST_DEFOCUS:g} (10,000 Å are 1 µm)",
            )
        least, most = VOXEL_SIZES
        for size in self.voxel_size_in_angstrom:
            if not least <= size <= most:
                raise InputError(
                    "voxel size in angstrom", f"{size:g} Å cannot be used", f"Give {least:g} to {most:g} Å"
                )
        if self.thickness_in_nanometres is not None:
            if self.thickness_in_nanometres[1] > MOST_THICKNESS:
                raise InputError(
                    "thickness in nanometres",
                    f"electrons do not pass {self.thickness_in_nanometres[1]:g} nm of ice",
                    f"Give at most {MOST_THICKNESS:g} (10 Å are 1 nm)",
                )
            thinnest, voxel = self.thickness_in_nanometres[0], self.voxel_size_in_angstrom[1]
            if round(10 * thinnest / voxel) < WINDOW:
                raise InputError(
                    "thickness in nanometres",
                    f"ice of {thinnest:g} nm is thinner than a window of {WINDOW} voxels of {voxel:g} Å",
                    f"Give at least {np.ceil(WINDOW * voxel / 10):g}",
                )

    @property
    def reference_voxel_size_in_angstrom(self) -> float:
        """Of the references and the box sizes: the middle of the range."""
        return sum(self.voxel_size_in_angstrom) / 2

    def draw_imaging(self, rng: np.random.Generator, *, voxel_size: float | None = None) -> Imaging:
        """The imaging of one tomogram; ``voxel_size`` (Å) replaces the one drawn."""
        drawn = float(rng.uniform(*self.voxel_size_in_angstrom))
        thickness = self.thickness_in_nanometres
        return Imaging(
            voxel_size_in_angstrom=drawn if voxel_size is None else voxel_size,
            thickness_in_nanometres=None if thickness is None else float(rng.uniform(*thickness)),
            defocus_in_micrometres=float(rng.uniform(*self.defocus_in_micrometres)),
            # Back from the logarithm, the end of a range of one number may differ in its last digit.
            snr=float(np.clip(np.exp(rng.uniform(*np.log(self.snr))), *self.snr)),
        )

    def recorded(self) -> dict[str, Any]:
        """The settings as plain JSON; structures by name and MD5, wherever they lie.

        Raises
        ------
        InputError
            If a structure cannot be found.
        """
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        content = {
            name: list(value) if isinstance(value, tuple) else value for name, value in content.items()
        }
        files = find_structures(self.structures)
        return {**content, "structures": [[path.name, md5_of_file(path)] for path in files]}


def _require_count(name: str, value: Any, least: int) -> None:
    try:
        fine = operator.index(value) >= least
    except TypeError:
        fine = False
    if not fine:
        raise InputError(
            name.replace("_", " "), f"{value!r} cannot be used", f"Give a whole number of {least} or more"
        )


def _require_range(name: str, value: Range, *, zero: bool) -> None:
    numbers = np.asarray(value, dtype=np.float64)
    if numbers.shape != (2,) or not np.isfinite(numbers).all() or numbers[0] > numbers[1]:
        told = " ".join(f"{number:g}" for number in numbers.ravel())
        raise InputError(name.replace("_", " "), f"{told} is no range", "Give the least and the most")
    if numbers[0] < 0 or (numbers[0] == 0 and not zero):
        raise InputError(
            name.replace("_", " "),
            f"{value[0]:g} cannot be used",
            f"Give numbers {'of 0 or more' if zero else 'above 0'}",
        )
