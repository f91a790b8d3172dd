"""The tomograms that methods are compared on, with their truth and references, made once and kept on disk.

The specimen of a number is the same at each noise level, so that levels differ in nothing but noise. All
tomograms of a level share their references: sets with one a protein, each set cut from one more tomogram.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.references import HALF, one_of_each_class
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import write_json
from tomotwin_lib.formats.ground_truth import read_particle_positions, write_particle_positions
from tomotwin_lib.formats.volumes import read_subvolume, write_volume
from tomotwin_lib.simulation.distractors import Distractors
from tomotwin_lib.simulation.imaging import image_specimen
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.molecules import Molecule
from tomotwin_lib.simulation.specimen import Specimen, build_specimen

_DEFOCUS = (3.0, 4.0)
_FIRST_REFERENCES = 10**6  # in place of a tomogram's number
_IN_REFERENCES = 2  # particles of each class in the tomogram of the references; the first is cut


@dataclass(frozen=True)
class Plan:
    """What is simulated.

    Attributes
    ----------
    tomograms : how many at each noise level; the odd ones have distractors.
    shape : (z, y, x) of each, in voxels.
    particles : of each class in each tomogram.
    seed : of everything.
    references : of each class.
    filtered : tomograms are filtered at 20 Å, and the noise is measured behind the filter. Without one, less
        of a noise of the same variance lies where the signal is.
    """

    tomograms: int
    shape: tuple[int, int, int] = (64, 192, 192)
    particles: int = 6
    seed: int = 1
    references: int = 1
    filtered: bool = True


@dataclass(frozen=True)
class Sample:
    """One simulated tomogram on disk.

    Attributes
    ----------
    name : unique among those of its level.
    folder : holds ``tomogram.mrc`` (protein dark), ``truth.txt``, ``mask.npz``.
    references : sets of one reference (protein bright) a class, its file by the class.
    imaging : how it was imaged.
    """

    name: str
    folder: Path
    references: Sequence[Mapping[str, Path]]
    imaging: Imaging

    @property
    def tomogram(self) -> Path:
        """The tomogram's file."""
        return self.folder / "tomogram.mrc"

    def data(self) -> npt.NDArray[np.float32]:
        """The tomogram, (z, y, x), protein dark."""
        return read_subvolume(self.tomogram)

    def truth(self) -> pd.DataFrame:
        """Columns class, X, Y, Z (voxels), phi, psi, theta."""
        return read_particle_positions(self.folder / "truth.txt")

    def mask(self) -> tuple[npt.NDArray[np.uint16], dict[int, str]]:
        """What lies at each voxel (z, y, x), and what the numbers mean; see :class:`Specimen`."""
        with np.load(self.folder / "mask.npz") as stored:
            names = dict(zip(stored["values"].tolist(), stored["names"].tolist(), strict=True))
            return stored["mask"], names


def simulate_samples(folder: Path, molecules: Sequence[Molecule], snr: float, plan: Plan) -> list[Sample]:
    """The tomograms of one noise level; those that are on disk are not made again.

    Raises
    ------
    InputError
        If the folder holds tomograms of another plan, or the particles do not fit.
    """
    told = json.loads(json.dumps(asdict(plan) | {"classes": [molecule.code for molecule in molecules]}))
    for more in ("tomograms", "references"):  # More of the same may follow.
        told.pop(more)
    if plan.filtered:
        told.pop("filtered")  # as plans were written before there was a choice
    _require_same_plan(folder / "plan.json", told)
    level = folder / f"snr_{snr:g}"
    references = [_references(level, molecules, snr, plan, number) for number in range(plan.references)]
    samples = []
    for number in range(plan.tomograms):
        name = f"t{number:02d}"
        imaging = _imaging([plan.seed, number], snr, plan)
        sample = Sample(name, level / name, references, imaging)
        samples.append(sample)
        if sample.folder.is_dir():
            continue
        specimen = build_specimen(
            plan.shape, molecules, rng=np.random.default_rng([plan.seed, number]),
            particles_per_class=plan.particles, distractors=Distractors() if number % 2 else None,
        )  # fmt: skip
        data = _imaged(specimen, imaging, plan.seed, number)
        _write_whole(sample.folder, partial(_write_sample, specimen=specimen, imaging=imaging, data=data))
    return samples


def _references(
    level: Path, molecules: Sequence[Molecule], snr: float, plan: Plan, number: int
) -> dict[str, Path]:
    """Set ``number`` of the references."""
    ending = f"_{number}" if number else ""
    folder = level / f"references{ending}"
    paths = {molecule.code: folder / f"{molecule.code}{ending}.mrc" for molecule in molecules}
    if folder.is_dir():
        return paths
    # No number of a tomogram, so a specimen, a defocus and a noise that no tomogram has.
    seeds = [plan.seed, _FIRST_REFERENCES + number]
    rng = np.random.default_rng(seeds)
    shape = _room_for(molecules)
    specimen = build_specimen(
        shape, molecules, rng=rng, particles_per_class=_IN_REFERENCES, margin=HALF + 1.0
    )
    data = _imaged(specimen, _imaging(seeds, snr, plan), *seeds)

    def write(new: Path) -> None:
        size = molecules[0].voxel_size_in_angstrom
        for code, window in one_of_each_class(specimen, data, size).items():
            write_volume(new / paths[code].name, window, size)

    _write_whole(folder, write)
    return paths


def _room_for(molecules: Sequence[Molecule]) -> tuple[int, int, int]:
    """A shape in which the particles of the references find place, as crowded as they are elsewhere."""
    volume = sum((2 * molecule.radius + 1) ** 3 for molecule in molecules) * _IN_REFERENCES
    edge = 2 * (HALF + 1) + int(np.ceil(np.sqrt(2 * volume / 48)))
    return 48 + 2 * (HALF + 1), edge, edge


def _imaging(seeds: Sequence[int], snr: float, plan: Plan) -> Imaging:
    defocus = float(np.random.default_rng([*seeds, 7]).uniform(*_DEFOCUS))
    imaging = Imaging(snr=snr, defocus_in_micrometres=defocus)
    return imaging if plan.filtered else replace(imaging, low_pass_in_angstrom=None)


def _imaged(specimen: Specimen, imaging: Imaging, seed: int, number: int) -> npt.NDArray[np.float32]:
    assert imaging.snr is not None
    rng = np.random.default_rng([seed, number, round(1e6 * imaging.snr)])
    return image_specimen(specimen.density, imaging, rng, method="fourier").data


def _write_sample(folder: Path, specimen: Specimen, imaging: Imaging, data: npt.NDArray[np.float32]) -> None:
    write_volume(folder / "tomogram.mrc", data, imaging.voxel_size_in_angstrom)
    write_particle_positions(folder / "truth.txt", specimen.particles)
    values, names = list(specimen.names), list(specimen.names.values())
    np.savez_compressed(folder / "mask.npz", mask=specimen.class_mask, values=values, names=names)


def _write_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a folder that takes its name only when all is written."""
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    write(new)
    new.rename(folder)


def _require_same_plan(path: Path, told: dict[str, Any]) -> None:
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != told:
            raise InputError(
                path, "the folder holds tomograms of another shape, seed or other proteins",
                "Give the same options, or another folder",
            )  # fmt: skip
    else:
        write_json(path, told)
