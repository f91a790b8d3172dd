"""Labelled tomograms made on the spot, each of other molecules and imaged otherwise, and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, ensure_writable_folder, md5_of_file, write_json
from tomotwin_lib.formats.ground_truth import label_from_name
from tomotwin_lib.simulation.distractors import Distractors
from tomotwin_lib.simulation.imaging import image_specimen
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.made_up_molecules import made_up_molecules
from tomotwin_lib.simulation.molecules import Molecule, molecule_of_kind, read_molecule
from tomotwin_lib.simulation.particles import KINDS
from tomotwin_lib.simulation.specimen import build_specimen
from tomotwin_lib.simulation.structures import find_structures
from tomotwin_lib.training.labelled_tomograms import (
    GREY_LEVELS,
    LabelledTomogram,
    grey_noise,
    grey_voxels,
    some_points,
)

MADE_UP_SEED = 7
"""Of the made-up molecules; those from 0900 on are left for validation."""

MOST_MADE_UP = 900
RECORD = "pool.json"


@dataclass(frozen=True)
class PoolRanges:
    """What tomograms of a pool differ in. Pairs are (least, most), between which each value is as likely.

    Attributes
    ----------
    shape : (z, y, x) of each tomogram, in voxels.
    voxel_size_in_angstrom : of all.
    structures, made_up, shapes : molecules of each origin in a tomogram, or as many as there are.
    crowding : share of the volume that particles take up.
    with_distractors : share of tomograms that also hold membranes, gold, filaments, carbon, ice.
    defocus_in_micrometres, b_factor_in_square_angstrom, alignment_error_in_angstrom, ramp_exponent : of
        :class:`~tomotwin_lib.simulation.imaging_settings.Imaging`. Of the last, both ends are in use:
        weighted back-projection, and reconstructions whose noise is white.
    snr : likewise; its logarithm is evenly spread. Clean tomograms tell what noisy ones are to be taken for.
    low_pass_in_angstrom : one of these; ``None`` for no filter.
    phase_flipped : share of tomograms whose contrast transfer is corrected.
    """

    shape: tuple[int, int, int] = (96, 208, 208)
    voxel_size_in_angstrom: float = 10.0
    structures: int = 8
    made_up: int = 10
    shapes: int = 1
    crowding: tuple[float, float] = (0.04, 0.12)
    with_distractors: float = 0.6
    defocus_in_micrometres: tuple[float, float] = (1.5, 5.0)
    b_factor_in_square_angstrom: tuple[float, float] = (0.0, 600.0)
    alignment_error_in_angstrom: tuple[float, float] = (0.0, 6.0)
    ramp_exponent: tuple[float, float] = (0.0, 1.0)
    snr: tuple[float, float] = (0.05, 0.8)
    low_pass_in_angstrom: tuple[float | None, ...] = (None, None, 20.0, 25.0)
    phase_flipped: float = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("low_pass_in_angstrom", "shape") or not isinstance(value, tuple):
                continue
            if len(value) != 2 or not 0 <= value[0] <= value[1] or (field.name == "snr" and not value[0]):
                raise InputError(field.name, f"the range is {value}", "Give (least, most), above 0 for snr")

    def imaging(self, rng: np.random.Generator) -> Imaging:
        """The microscope's settings of one tomogram."""
        return Imaging(
            voxel_size_in_angstrom=self.voxel_size_in_angstrom,
            defocus_in_micrometres=float(rng.uniform(*self.defocus_in_micrometres)),
            snr=float(np.exp(rng.uniform(*np.log(self.snr)))),
            b_factor_in_square_angstrom=float(rng.uniform(*self.b_factor_in_square_angstrom)),
            alignment_error_in_angstrom=float(rng.uniform(*self.alignment_error_in_angstrom)),
            ramp_exponent=float(rng.uniform(*self.ramp_exponent)),
            phase_flipped=bool(rng.random() < self.phase_flipped),
            low_pass_in_angstrom=self.low_pass_in_angstrom[int(rng.integers(len(self.low_pass_in_angstrom)))],
        )


def simulated_pool(
    folder: str | Path,
    count: int,
    *,
    structures: str | Path | None = None,
    exclude: Collection[str] = (),
    made_up: int = 200,
    seed: int = 0,
    ranges: PoolRanges | None = None,
    progress: bool = True,
) -> list[LabelledTomogram]:
    """Labelled tomograms, those that the folder holds already and what is missing of ``count``.

    Tomogram n of a seed is the same however many are asked for.

    Parameters
    ----------
    folder : keeps them, one ``.npz`` a tomogram; new, empty, or of a pool with the same parameters.
    count : number of tomograms.
    structures : folder of density maps and atomic models, with a label such as a PDB code in their names.
    exclude : labels of structures that are left out, such as those to be tested with.
    made_up : number of made-up molecules, 0 to 900.
    seed : of all randomness but the made-up molecules' shapes, which are always the same.
    ranges : what the tomograms differ in; the defaults of :class:`PoolRanges` where ``None``.
    progress : show a bar.

    Raises
    ------
    InputError
        If a parameter or a structure cannot be used, or the folder holds something else.
    """
    ranges = ranges or PoolRanges()
    folder = Path(folder)
    if count < 1:
        raise InputError("number of tomograms", f"{count} cannot be used", "Give 1 or more")
    if not 0 <= made_up <= MOST_MADE_UP:
        raise InputError("--made_up", f"{made_up} molecules", f"Give 0 to {MOST_MADE_UP}")
    if seed < 0:
        raise InputError("--seed", f"{seed} is no seed", "Give 0 or more")
    files = [] if structures is None else labelled_structures(structures, exclude)
    record = {
        "grey_levels": GREY_LEVELS,
        "noise_apart": True,
        "structures": {path.name: md5_of_file(path) for path in files},
        "made_up": made_up,
        "seed": seed,
        "ranges": json.loads(json.dumps(asdict(ranges))),
    }
    _require_same(ensure_writable_folder(folder) / RECORD, record)
    paths = [folder / f"{number:04d}.npz" for number in range(count)]
    missing = [path for path in paths if not path.exists()]
    if missing:
        size = ranges.voxel_size_in_angstrom
        real = [read_molecule(path, size) for path in files]
        shapes = [molecule_of_kind(kind, size) for kind in KINDS.values()]
        origins = (real, made_up_molecules(made_up, MADE_UP_SEED, size), shapes)
        for path in tqdm(missing, desc="simulating", unit="tomogram", disable=not progress):
            rng = np.random.default_rng([seed, int(path.stem)])
            _write(path, simulated_tomogram(path.stem, origins, ranges, rng))
    return [replace(_read(path), voxel_size_in_angstrom=ranges.voxel_size_in_angstrom) for path in paths]


def labelled_structures(folder: str | Path, exclude: Collection[str] = ()) -> list[Path]:
    """Maps and models in a folder but those with an excluded label, sorted by name.

    Raises
    ------
    InputError
        If there is none left, two have one label, or no file has an excluded label.
    """
    found: dict[str, Path] = {}
    for path in find_structures([folder]):
        label = label_from_name(str(path))
        if label in found:
            raise InputError(path, f"{found[label].name} has the label {label} too", "Keep one of them")
        found[label] = path
    for label in exclude:
        if found.pop(label.lower(), None) is None:
            raise InputError("--exclude", f"{folder} holds no structure {label}", "Check the label")
    if not found:
        raise InputError(folder, "it holds no density map or atomic model to use", "Give another folder")
    return list(found.values())


def simulated_tomogram(
    name: str, origins: Sequence[Sequence[Molecule]], ranges: PoolRanges, rng: np.random.Generator
) -> LabelledTomogram:
    """One tomogram of some molecules of each origin: structures, made-up ones, built-in shapes."""
    wanted = (ranges.structures, ranges.made_up, ranges.shapes)
    molecules = [
        some[index]
        for some, number in zip(origins, wanted, strict=True)
        for index in rng.choice(len(some), min(number, len(some)), replace=False)
    ]
    specimen = build_specimen(
        ranges.shape,
        molecules,
        rng=rng,
        crowding=float(rng.uniform(*ranges.crowding)),
        distractors=Distractors() if rng.random() < ranges.with_distractors else None,
    )
    tomogram = image_specimen(specimen.density, ranges.imaging(rng), rng)
    return LabelledTomogram(
        name,
        grey_voxels(tomogram.data),
        specimen.particles[["Z", "Y", "X"]].to_numpy(np.float32),
        specimen.particles["class"].astype(str).tolist(),
        some_points(specimen.class_mask > len(molecules), rng),
        grey_noise(tomogram.data - tomogram.signal, tomogram.data),
    )


def _require_same(path: Path, record: dict[str, Any]) -> None:
    if not path.exists():
        if any(path.parent.glob("*.npz")):
            raise InputError(path.parent, f"there are .npz files and no {RECORD}", "Choose another folder")
        write_json(path, record)
        return
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(
            path, "it is no record of a pool", "Choose another folder, or delete this one"
        ) from error
    differing = [key for key in record if found.get(key) != record[key]]
    if differing:
        told = [
            f"{key} ({found.get(key)}, not {record[key]})" if key in ("made_up", "seed") else key
            for key in differing
        ]
        raise InputError(
            path.parent,
            f"the pool in it was made with other {', '.join(told)}",
            "Choose another folder, or delete this one",
        )


def _write(path: Path, tomogram: LabelledTomogram) -> None:
    assert tomogram.noise is not None
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            noise=tomogram.noise.numpy(),
            voxels=tomogram.voxels.numpy(),
            centres=tomogram.centres,
            labels=np.array(tomogram.labels, dtype=str),
            distractors=tomogram.distractors,
        )


def _read(path: Path) -> LabelledTomogram:
    with np.load(path, allow_pickle=False) as stored:
        return LabelledTomogram(
            path.stem,
            torch.from_numpy(stored["voxels"]),
            stored["centres"],
            stored["labels"].tolist(),
            stored["distractors"],
            torch.from_numpy(stored["noise"]),
        )
