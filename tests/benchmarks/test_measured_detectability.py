"""What is measured in a tomogram, against what is known of how it was made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from benchmarks.detectability import detectability
from benchmarks.measured_detectability import (
    EDGE,
    measure,
    measured_detectability,
    read_particles,
    told_apart,
)
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import write_particle_positions
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.simulation.imaging import image_specimen
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.made_up_molecules import made_up_molecule
from tomotwin_lib.simulation.specimen import build_specimen

SHAPE = (64, 224, 224)
MOLECULE = made_up_molecule(np.random.default_rng(3), "made")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tomogram of one molecule, far apart: hardly any noise is the neighbours'."""
    folder = tmp_path_factory.mktemp("tomogram")
    rng = np.random.default_rng(0)
    specimen = build_specimen(SHAPE, [MOLECULE], rng=rng, particles_per_class=60, margin=EDGE / 2)
    imaging = Imaging(snr=0.2, alignment_error_in_angstrom=0.0)
    write_volume(folder / "tomogram.mrc", image_specimen(specimen.density, imaging, rng).data, 10.0)
    write_particle_positions(folder / "truth.txt", specimen.particles)
    return folder


def measured(folder: Path, truth: str) -> float:
    particles = read_particles([(folder / "tomogram.mrc", folder / truth)])
    return measured_detectability(measure(particles, {MOLECULE.code: MOLECULE}))[MOLECULE.code]


def test_it_is_what_the_imaging_gives(folder: Path) -> None:
    imaging = Imaging(snr=None, alignment_error_in_angstrom=0.0)
    expected = detectability([MOLECULE], imaging, SHAPE, 0.2)[MOLECULE.code]
    assert measured(folder, "truth.txt") == pytest.approx(expected, rel=0.25)


def test_angles_of_another_convention_are_found_out(folder: Path) -> None:
    own = pd.read_csv(folder / "truth.txt", sep=r"\s+", header=None)
    # In the file: class X Y Z phi psi theta; turned about z by phi, x by theta, z by psi.
    rotations = Rotation.from_euler("zxz", own[[4, 6, 5]].to_numpy(), degrees=True)
    other = own.copy()
    other[[4, 5, 6]] = rotations.as_euler("xyx", degrees=True)
    other.to_csv(folder / "other.txt", sep=" ", header=False, index=False)
    wrong = own.copy()
    wrong[[4, 5, 6]] = np.random.default_rng(1).uniform(0, 180, (len(own), 3))
    wrong.to_csv(folder / "wrong.txt", sep=" ", header=False, index=False)
    right = measured(folder, "truth.txt")
    assert measured(folder, "other.txt") == pytest.approx(right, rel=1e-3)
    assert measured(folder, "wrong.txt") < 0.9 * right


def test_too_few_particles_are_refused(folder: Path) -> None:
    few = pd.read_csv(folder / "truth.txt", sep=r"\s+", header=None).head(5)
    few.to_csv(folder / "few.txt", sep=" ", header=False, index=False)
    with pytest.raises(InputError, match="particles"):
        measured(folder, "few.txt")


def test_positions_without_angles_are_refused(folder: Path) -> None:
    bare = pd.read_csv(folder / "truth.txt", sep=r"\s+", header=None)[[0, 1, 2, 3]]
    bare.to_csv(folder / "bare.txt", sep=" ", header=False, index=False)
    with pytest.raises(InputError, match="no angles"):
        measured(folder, "bare.txt")


def test_what_differs_is_told_apart_and_noise_is_not(folder: Path) -> None:
    windows, truth = read_particles([(folder / "tomogram.mrc", folder / "truth.txt")])
    other = made_up_molecule(np.random.default_rng(4), "other")
    molecules = {MOLECULE.code: MOLECULE, other.code: other}
    # One that is named wrongly does not count as right.
    truth.loc[0, "class"] = other.code
    found = told_apart(measure((windows, truth), molecules), molecules, orientations=64)
    assert found[MOLECULE.code] > 0.9 and found[other.code] == 0.0
    noise = np.random.default_rng(0).standard_normal(windows.shape).astype(np.float32)
    by_chance = told_apart(measure((noise, truth), molecules), molecules, orientations=64)
    assert by_chance[MOLECULE.code] < 0.9
