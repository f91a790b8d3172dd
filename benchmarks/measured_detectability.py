"""``python -m benchmarks.measured_detectability``: how far particles stand out in tomograms that are there.

Signal-to-noise ratios of different simulators do not compare: it matters where the noise lies, behind which
filter it was measured, and how crowded the specimen is. Here tomograms are measured by their known
particles: in bins of frequency and of tilt the images X are regressed on their turned densities T. The
transfer is H = Σ X T* / Σ |T|², what is left is noise (neighbours included) of the power N, and the ratio of
a matched filter is d' = √(Σ |H T|² / N), as in :mod:`benchmarks.detectability`, whose noise holds none.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.transform import Rotation

from benchmarks.compare_methods import read_molecules
from tomotwin_lib.cli.output import guarded, say
from tomotwin_lib.cli.parsing import CommandParser
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import ANGLES, read_particle_positions
from tomotwin_lib.formats.volumes import read_volume
from tomotwin_lib.simulation.molecules import Molecule
from tomotwin_lib.simulation.rendering import render_copies

EDGE = 40
"""Of the windows, in voxels."""

FEWEST_PARTICLES = 20
"""A transfer of so many bins is not measured with fewer."""

_HALF = EDGE // 2
_SHELLS = _HALF + 1
_WEDGES = 9
_LOWEST_SHELL = 1.5  # below it lies the window's mean
_TRIED = 40  # particles for finding out how angles are meant
_AT_ONCE = 64  # orientations

_Spectra = npt.NDArray[np.complexfloating]
_Map = npt.NDArray[np.float64]

ORIENTATIONS = 768
"""Searched of each density: about 20° apart, so that large particles, which need finer ones, seem harder."""

Particles = tuple[npt.NDArray[np.float32], pd.DataFrame]
"""Windows (k, z, y, x), protein bright; and class, the angles and the centre's offset z, y, x of each."""


@dataclass(frozen=True)
class Measured:
    """What particles say of their imaging.

    Attributes
    ----------
    windows, truth : the particles.
    densities : (k, …) half spectra of their densities in their poses.
    transfer : what the imaging makes of a density, at each frequency of the half spectrum.
    weights : one over the power of the noise there; 0 where the window's mean lies.
    """

    windows: npt.NDArray[np.float32]
    truth: pd.DataFrame
    densities: _Spectra
    transfer: _Map
    weights: _Map


def measure(particles: Particles, molecules: Mapping[str, Molecule]) -> Measured:
    """Transfer and noise, with the convention of the angles with which densities and windows agree best.

    Parameters
    ----------
    particles : as :func:`read_particles` returns them, of one or several tomograms of one kind.
    molecules : by class.

    Raises
    ------
    InputError
        If there are fewer than ``FEWEST_PARTICLES``.
    """
    windows, truth = particles
    if len(truth) < FEWEST_PARTICLES:
        raise InputError(
            "particles",
            f"{len(truth)} lie {_HALF} voxels or more off the faces",
            f"Give tomograms with {FEWEST_PARTICLES} or more",
        )
    images = np.fft.rfftn(windows, axes=(1, 2, 3))
    some = slice(None, _TRIED)
    convention = max(
        _CONVENTIONS, key=lambda one: _coherence(images[some], _densities(truth[some], molecules, one))
    )
    densities = _densities(truth, molecules, convention)
    transfer = _transfer(images, densities)
    noise = _by_bin((np.abs(images - transfer * densities) ** 2).mean(axis=0))
    noise /= np.maximum(_by_bin(np.ones(noise.shape)), 1)
    weights = (_RADII >= _LOWEST_SHELL) / np.maximum(noise, 1e-12 * noise.max())
    return Measured(windows, truth, densities, transfer, weights)


def measured_detectability(measured: Measured) -> dict[str, float]:
    """The d' of each class, from all particles together."""
    powers = (np.abs(measured.transfer * measured.densities) ** 2 * measured.weights * _COUNTS).sum((1, 2, 3))
    squares = pd.Series(powers, index=measured.truth["class"])
    return {str(label): float(np.sqrt(value)) for label, value in squares.groupby(level=0).mean().items()}


def told_apart(
    measured: Measured, molecules: Mapping[str, Molecule], orientations: int = ORIENTATIONS
) -> dict[str, float]:
    """Of each class, the share of particles that resemble their own density more than any other.

    Places, densities, noise and transfer are known; only orientations are searched. So it tells what a search
    that knows the densities would confuse.

    Parameters
    ----------
    measured, molecules : what :func:`measure` returned, and was given.
    orientations : random ones, of each density.
    """
    truth, transfer, weights = measured.truth, measured.transfer, measured.weights
    factor = transfer * weights
    rows = measured.windows.reshape(len(measured.windows), -1)
    rotations = Rotation.random(orientations, rng=0)
    best = {}
    for code in sorted(set(truth["class"])):
        own = np.full(len(rows), -np.inf)
        for start in range(0, orientations, _AT_ONCE):
            some = rotations[start : start + _AT_ONCE]
            spectra = _spectra(molecules[code], some, np.zeros((len(some), 3)))
            filtered = np.fft.irfftn(spectra * factor, s=(EDGE,) * 3, axes=(1, 2, 3)).astype(np.float32)
            norms = np.sqrt((np.abs(spectra * transfer) ** 2 * weights * _COUNTS).sum(axis=(1, 2, 3)))
            own = np.maximum(own, (rows @ filtered.reshape(len(some), -1).T / norms).max(axis=1))
        best[code] = own
    nearest = pd.DataFrame(best).idxmax(axis=1)
    right = (nearest == truth["class"]).groupby(truth["class"]).mean()
    return {str(label): float(share) for label, share in right.items()}


def read_particles(places: Iterable[tuple[Path, Path]]) -> Particles:
    """The particles of tomograms (protein dark) and files of their positions that lie off the faces.

    Raises
    ------
    InputError
        If a file cannot be read, or its positions have no angles.
    """
    windows: list[npt.NDArray[np.float32]] = []
    tables: list[pd.DataFrame] = []
    for tomogram, positions in places:
        data = np.asarray(read_volume(tomogram).data, dtype=np.float32)
        data = (data.mean() - data) / data.std()
        truth = read_particle_positions(positions)
        if not set(ANGLES) <= set(truth):
            raise InputError(positions, "its positions have no angles", "Give three angles in each line")
        centres = truth[["Z", "Y", "X"]].to_numpy()
        nearest = np.rint(centres).astype(np.int64)
        inside = ((nearest >= _HALF) & (nearest <= np.array(data.shape) - _HALF)).all(axis=1)
        for place in nearest[inside]:
            windows.append(data[tuple(slice(one - _HALF, one + _HALF) for one in place)])
        offsets = pd.DataFrame((centres - nearest)[inside], columns=["z", "y", "x"])
        tables.append(pd.concat([truth[inside].reset_index(drop=True), offsets], axis=1))
    return np.array(windows, dtype=np.float32), pd.concat(tables, ignore_index=True)


_Convention = tuple[str, tuple[str, ...], bool]
# Axes that are turned about, the order of the three angles, and whether they turn the volume to the particle.
_CONVENTIONS: tuple[_Convention, ...] = tuple(
    (axes, order, inverse)
    for axes in ("zxz", "zyz", "xzx", "xyx")
    for order in itertools.permutations(ANGLES)
    for inverse in (False, True)
)

_FREQUENCIES = np.meshgrid(np.fft.fftfreq(EDGE), np.fft.fftfreq(EDGE), np.fft.rfftfreq(EDGE), indexing="ij")
_RADII = np.sqrt(sum(one**2 for one in _FREQUENCIES)) * EDGE
# By how much each frequency is tilted about y: the missing wedge, and the ramp's weight, depend on that.
_TILTS = np.degrees(np.arctan2(np.abs(_FREQUENCIES[0]), np.abs(_FREQUENCIES[2])))
_BINS = np.minimum(_RADII.astype(np.int64), _SHELLS - 1) * _WEDGES
_BINS += np.minimum((_TILTS * _WEDGES / 90).astype(np.int64), _WEDGES - 1)
# The half spectrum of a real transform stands for the other half too, but for the columns that are their own.
_COUNTS = np.where(np.isin(np.arange(_HALF + 1), (0, _HALF)), 1.0, 2.0)


def _by_bin(values: _Map) -> _Map:
    """Sums over each bin of frequencies, at every frequency of it."""
    sums = np.bincount(_BINS.ravel(), (values * _COUNTS).ravel(), _SHELLS * _WEDGES)
    return np.asarray(sums[_BINS])


def _transfer(images: _Spectra, densities: _Spectra) -> _Map:
    together = _by_bin((images * densities.conj()).real.sum(axis=0))
    return together / np.maximum(_by_bin((np.abs(densities) ** 2).sum(axis=0)), 1e-12)


def _coherence(images: _Spectra, densities: _Spectra) -> float:
    """How much of the images their densities explain where details lie, which wrong angles blur."""
    together = (images * densities.conj()).real.sum(axis=0) * _COUNTS
    return float(together[(_RADII >= _SHELLS / 4) & (_RADII < _SHELLS / 2)].sum())


def _densities(truth: pd.DataFrame, molecules: Mapping[str, Molecule], convention: _Convention) -> _Spectra:
    """The spectrum of each particle's turned and shifted density, in its window."""
    axes, order, inverse = convention
    rotations = Rotation.from_euler(axes, truth[list(order)].to_numpy(), degrees=True)
    if inverse:
        rotations = rotations.inv()
    offsets = truth[["z", "y", "x"]].to_numpy()
    spectra = np.empty((len(truth), EDGE, EDGE, _HALF + 1), np.complex64)
    for code, rows in truth.groupby("class").indices.items():
        spectra[rows] = _spectra(molecules[str(code)], rotations[rows], offsets[rows])
    return spectra


def _spectra(molecule: Molecule, rotations: Rotation, offsets: npt.NDArray[np.floating]) -> _Spectra:
    copies = render_copies(molecule, rotations, offsets).numpy()
    windows = np.zeros((len(copies), EDGE, EDGE, EDGE), np.float32)
    edge = min(copies.shape[1], EDGE - 1)  # odd, as the copies'; no particle is larger than its window
    first, last = (copies.shape[1] - edge) // 2, (copies.shape[1] + edge) // 2
    middle = slice(_HALF - edge // 2, _HALF + edge // 2 + 1)
    windows[:, middle, middle, middle] = copies[:, first:last, first:last, first:last]
    return np.asarray(np.fft.rfftn(windows, axes=(1, 2, 3)), dtype=np.complex64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table; returns the exit status."""
    return guarded(lambda: _run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    places = [(folder / "tomogram.mrc", _positions_in(folder)) for folder in options.folders]
    particles = read_particles(places)
    molecules = {molecule.code: molecule for molecule in read_molecules(options.structures, [])}
    missing = sorted(set(particles[1]["class"]) - set(molecules))
    if missing:
        raise InputError(options.structures, f"it does not hold {', '.join(missing)}", "Add them")
    measured = measure(particles, molecules)
    ratios = measured_detectability(measured)
    shares = told_apart(measured, molecules) if options.tell_apart else {}
    say("| protein | d' |" + (" told apart |" if shares else ""))
    say("| --- | --- |" + (" --- |" if shares else ""))
    for label, ratio in sorted(ratios.items(), key=lambda row: row[1]):
        say(f"| {label} | {ratio:.1f} |" + (f" {shares[label]:.0%} |" if shares else ""))
    return 0


def _positions_in(folder: Path) -> Path:
    names = ("truth.txt", "particle_positions.txt")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(folder, f"there is no {' or '.join(names)} in it", "Give folders that hold the truth")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m benchmarks.measured_detectability",
        description="How far the particles of tomograms stand out for a matched filter that knows them.",
    )
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER",
        help="with tomogram.mrc (protein dark) and truth.txt or particle_positions.txt; all of one kind",
    )  # fmt: skip
    parser.add_argument("--structures", type=Path, required=True, metavar="FOLDER", help="density maps")
    parser.add_argument(
        "--tell_apart",
        action="store_true",
        help="also how many particles resemble their own density most, the others in the tomograms less",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
