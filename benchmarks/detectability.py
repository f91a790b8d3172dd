"""``python -m benchmarks.detectability``: how far simulated particles stand out of the noise, for any method.

The ratio d' of a matched filter: its mean output at a particle over the standard deviation of its output in
noise, for a particle whose density, orientation and place are known (Green & Swets, 1966). It is
√(Σ |S(k)|² / N(k)) over all frequencies, S the particle's image and N the power of the noise. No method that
looks at one particle at a time does better, so what it cannot find nobody can: to search some 10⁵ places in
some 10³ orientations takes a d' of about 6. A single noisy reference, or a protein that looks alike, asks for
more.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from benchmarks.compare_methods import read_molecules
from tomotwin_lib.cli.output import guarded
from tomotwin_lib.cli.parsing import CommandParser
from tomotwin_lib.simulation.fourier_route import grid_contrast_transfer, padded_shape, plane_factors
from tomotwin_lib.simulation.imaging import image_specimen
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.molecules import Molecule
from tomotwin_lib.simulation.rendering import render_copies
from tomotwin_lib.simulation.specimen import build_specimen
from tomotwin_lib.simulation.tilt_scheme import tilt_scheme

_ORIENTATIONS = 6


def detectability(
    molecules: Sequence[Molecule], imaging: Imaging, shape: tuple[int, int, int], snr: float, seed: int = 0
) -> dict[str, float]:
    """The d' of each molecule at a signal-to-noise ratio.

    Parameters
    ----------
    molecules : all of one specimen, in which the ratio is measured.
    imaging : how it is imaged, with ``snr`` None.
    shape : (z, y, x) of the specimen, in voxels.
    snr : as in :class:`Imaging`.
    seed : of the specimen, the errors of alignment and the orientations.
    """
    specimen = build_specimen(shape, molecules, rng=np.random.default_rng(seed), particles_per_class=2)
    by_dose = image_specimen(specimen.density, imaging, np.random.default_rng(seed)).snr
    at_dose = detectability_at_dose(molecules, imaging, shape, seed)
    return {code: ratio * float(np.sqrt(snr / by_dose)) for code, ratio in at_dose.items()}


def detectability_at_dose(
    molecules: Sequence[Molecule], imaging: Imaging, shape: tuple[int, int, int], seed: int = 0
) -> dict[str, float]:
    """The d' of each molecule with the shot noise of the dose: root of its mean square over orientations."""
    device = torch.device("cpu")
    padded = padded_shape(shape)
    thickness = shape[0] * imaging.voxel_size_in_angstrom / 10
    scheme = tilt_scheme(imaging, thickness, np.random.default_rng(seed))
    signal, noise = plane_factors(padded, imaging, scheme, device)
    signal = signal * grid_contrast_transfer(padded, imaging, device)
    power = noise.double() ** 2
    seen = power > 1e-7 * power.max()
    weights = torch.where(seen, 1 / power, 0.0) / math.prod(padded)
    # The half spectrum of a real transform stands for the other half too, but for columns that are their own.
    weights[..., 1 : (padded[2] + 1) // 2] *= 2
    rotations = Rotation.random(_ORIENTATIONS, rng=seed)
    found = {}
    for molecule in molecules:
        copies = render_copies(molecule, rotations, np.zeros((_ORIENTATIONS, 3)), device)
        squares = [
            float(((torch.fft.rfftn(copy, s=padded) * signal).abs().double() ** 2 * weights).sum())
            for copy in copies
        ]
        found[molecule.code] = float(np.sqrt(np.mean(squares)))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table; returns the exit status."""
    return guarded(lambda: _run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    molecules = read_molecules(options.structures, [])
    at_one = detectability(molecules, Imaging(snr=None), tuple(options.shape), 1.0)
    print("| protein | " + " | ".join(f"d' at {snr:g}" for snr in options.snr) + " |")
    print("| --- |" + " --- |" * len(options.snr))
    for code, ratio in sorted(at_one.items(), key=lambda row: row[1]):
        print(f"| {code} | " + " | ".join(f"{ratio * math.sqrt(snr):.1f}" for snr in options.snr) + " |")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m benchmarks.detectability",
        description="How far particles stand out of the noise for a matched filter that knows them.",
    )
    parser.add_argument("--structures", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--snr", type=float, nargs="+", default=[0.3, 0.1, 0.05])
    parser.add_argument("--shape", type=int, nargs=3, default=[64, 160, 160], metavar=("Z", "Y", "X"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
