"""A whole data set as a user would have it: tomograms, references, training subvolumes, the truth.

What is trained on is cut from other simulated tomograms than those to be picked, and the references from
yet another one.
"""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path
from tomotwin_lib.formats.ground_truth import write_box_sizes, write_particle_positions
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.simulation.folder import RECORD, holds, model_path, staged
from tomotwin_lib.simulation.microscope import Microscope, Shape
from tomotwin_lib.simulation.particles import KINDS, WINDOW
from tomotwin_lib.simulation.tomograms import (
    SimulatedTomogram,
    require_shape,
    require_snr,
    simulate_tomogram,
)

VERSION = 1
"""To be raised whenever the same parameters give other bytes."""

GREY_LEVELS = 30.0
"""Standard deviation of a tomogram in 8-bit grey levels: clipping starts at 4.2 deviations."""

VALIDATION_SHARE = 4
"""One validation subvolume is cut for so many training subvolumes."""

CUT_SHAPE: Shape = (100, 256, 256)
"""Shape (z, y, x) of the tomograms that subvolumes and references are cut from."""

CROWD_IN_CUT_SHAPE = 20
"""Particles of each kind in a tomogram of that shape; one of another shape is as crowded."""


@dataclass(frozen=True)
class SimulatedDataset:
    """Where the parts of a simulated data set lie; ``reused`` says that it was there already.

    ``masks``, the file that names their values and the picture are those of :mod:`.labelled_dataset`.
    """

    folder: Path
    tomograms: list[Path]
    references: list[Path]
    training: Path
    validation: Path
    positions: list[Path]
    box_sizes: Path
    reused: bool
    model: Path | None = None
    masks: list[Path] = field(default_factory=list)
    mask_names: Path | None = None
    picture: Path | None = None


def simulate_dataset(
    output: str | Path,
    *,
    seed: int = 0,
    tomogram_shape: Shape = (80, 200, 200),
    tomograms: int = 1,
    particles_per_class: int = 10,
    subvolumes_per_class: int = 80,
    snr: float = 0.15,
    cut_shape: Shape = CUT_SHAPE,
    model_name: str = "small",
    model_configuration: dict[str, Any] | None = None,
    progress: bool = True,
) -> SimulatedDataset:
    """Simulate a data set of five kinds of particle at 10 Å a voxel, or find it made already.

    Volumes are 8-bit MRC files. Particles are dark in the tomograms, bright in references and subvolumes.
    The same parameters give the same data; every tomogram has a stream of random numbers of its own, so
    asking for more training data leaves the tomograms to be picked as they were.

    Parameters
    ----------
    output : the data set's folder: new, empty, or made before with the same parameters.
    seed : a whole number of 0 or more.
    tomogram_shape : (z, y, x) of each tomogram to be picked, in voxels.
    tomograms : how many tomograms to be picked.
    particles_per_class : particles of each kind in each of them.
    subvolumes_per_class : training subvolumes of each kind; a quarter as many are made for validation. 0 for
        none.
    snr : see :func:`tomotwin_lib.simulation.tomograms.simulate_tomogram`.
    cut_shape : (z, y, x) of the tomograms that subvolumes and references are cut from.
    model_name, model_configuration : where given, the configuration is written to ``models/<name>.json``.
    progress : show a bar.

    Raises
    ------
    InputError
        If a parameter cannot be used, the particles do not fit, the folder holds anything else than this
        data set, or it holds another model of that name.
    """
    output = Path(output)
    parameters = {
        "version": VERSION,
        "seed": _count("seed", seed, least=0),
        "tomogram_shape": list(require_shape("tomogram shape", tomogram_shape)),
        "tomograms": _count("tomograms", tomograms),
        "particles_per_class": _count("particles per class", particles_per_class),
        "subvolumes_per_class": _count("subvolumes per class", subvolumes_per_class, least=0),
        "snr": float(snr),
        "cut_shape": list(require_shape("cut shape", cut_shape)),
    }
    require_snr(snr)
    reused = holds(output, parameters)
    model = None
    if model_configuration is not None:
        text = json.dumps(model_configuration, indent=4) + "\n"
        model = model_path(output, model_name, text)
    if not reused:
        with staged(output) as folder:
            _write_dataset(folder, parameters, progress)
            files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
            record = json.dumps({"parameters": parameters, "files": files}, indent=1)
            (folder / RECORD).write_text(record + "\n", encoding="utf-8")
    if model is not None and not model.exists():
        with atomic_path(model) as temporary:
            temporary.write_text(text, encoding="utf-8")
    truth = output / "ground_truth"
    return SimulatedDataset(
        folder=output,
        tomograms=[output / "tomograms" / f"{name}.mrc" for name in _tomogram_names(tomograms)],
        references=[output / "references" / f"{code}.mrc" for code in KINDS],
        training=output / "subvolumes" / "train",
        validation=output / "subvolumes" / "valid",
        positions=[truth / f"{name}.txt" for name in _tomogram_names(tomograms)],
        box_sizes=truth / "boxsizes.json",
        reused=reused,
        model=model,
    )


def _write_dataset(folder: Path, parameters: dict[str, Any], progress: bool) -> None:
    wanted = parameters["subvolumes_per_class"]
    jobs = {
        "subvolumes/train": wanted,
        "subvolumes/valid": -(-wanted // VALIDATION_SHARE),
        "references": 1,
    }
    crowd = _crowd(parameters["cut_shape"])
    total = parameters["tomograms"] + sum(-(-count // crowd) for count in jobs.values())
    with tqdm(total=total, desc="Simulating", unit="tomogram", disable=not progress) as bar:
        for number, name in enumerate(_tomogram_names(parameters["tomograms"])):
            _write_tomogram(folder, name, parameters, number)
            bar.update()
        for stream, (place, count) in enumerate(jobs.items(), start=1):
            for number, first in enumerate(range(0, count, crowd)):
                _write_subvolumes(
                    folder / place, parameters, (stream, number), min(crowd, count - first), crowd
                )
                bar.update()
    write_box_sizes(folder / "ground_truth" / "boxsizes.json", {k.code: k.box_size for k in KINDS.values()})


def _write_tomogram(folder: Path, name: str, parameters: dict[str, Any], number: int) -> None:
    tomogram = simulate_tomogram(
        parameters["tomogram_shape"],
        parameters["particles_per_class"],
        rng=np.random.default_rng([parameters["seed"], 0, number]),
        snr=parameters["snr"],
    )
    write_volume(folder / "tomograms" / f"{name}.mrc", _grey(tomogram), Microscope().voxel_size_in_angstrom)
    write_particle_positions(folder / "ground_truth" / f"{name}.txt", tomogram.particles)


def _write_subvolumes(
    folder: Path, parameters: dict[str, Any], stream: tuple[int, int], per_class: int, crowd: int
) -> None:
    """Cut the first ``per_class`` particles of each kind out of a tomogram of ``crowd`` of each."""
    half = WINDOW // 2
    tomogram = simulate_tomogram(
        parameters["cut_shape"],
        crowd,
        rng=np.random.default_rng([parameters["seed"], *stream]),
        snr=parameters["snr"],
        margin=half,
    )
    bright = -_grey(tomogram)
    for code in KINDS:
        particles = tomogram.particles[tomogram.particles["class"] == code]
        centres = np.rint(particles[["Z", "Y", "X"]].to_numpy()[:per_class]).astype(int)
        for index, centre in enumerate(centres):
            window = bright[tuple(slice(middle - half, middle + half + 1) for middle in centre)]
            # The code comes before any number: a label is the first digit and what follows it.
            name = code if folder.name == "references" else f"sim_{code}_{stream[1]:02d}_{index:03d}"
            write_volume(folder / f"{name}.mrc", window, Microscope().voxel_size_in_angstrom)


def _grey(tomogram: SimulatedTomogram) -> npt.NDArray[np.int8]:
    """The tomogram in 8 bits, symmetric about 0, so that its negative exists."""
    data = tomogram.data
    scaled = (data - data.mean(dtype=np.float64)) * (GREY_LEVELS / data.std(dtype=np.float64))
    return np.clip(np.rint(scaled), -127, 127).astype(np.int8)


def _crowd(shape: Shape) -> int:
    """Particles of each kind for a tomogram that subvolumes are cut from: as dense in any shape."""
    # Centres keep half a window from the faces, so the room that counts is what is left.
    room, usual = (np.prod(np.array(size) - WINDOW + 1) for size in (shape, CUT_SHAPE))
    return max(1, int(CROWD_IN_CUT_SHAPE * room / usual))


def _tomogram_names(count: int) -> list[str]:
    return [f"simulated_{number:02d}" for number in range(1, count + 1)]


def _count(source: str, value: int, least: int = 1) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        count = least - 1
    if count < least:
        raise InputError(source, f"{value!r} cannot be used", f"Give a whole number of {least} or more")
    return count
