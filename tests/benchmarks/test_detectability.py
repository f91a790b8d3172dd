"""The matched filter's ratio, where its value is known otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.detectability import detectability, detectability_at_dose
from tomotwin_lib.simulation.imaging import image_specimen
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.molecules import Molecule

SHAPE = (40, 64, 64)


def ball(code: str, radius: float) -> Molecule:
    axes = np.mgrid[-8:9, -8:9, -8:9]
    inside = np.sqrt((axes**2).sum(axis=0)) <= radius
    return Molecule(code, code, inside.astype(np.float32), 10.0)


def test_it_grows_as_the_root_of_the_ratio_and_with_the_particle() -> None:
    molecules = [ball("1sml", 4.0), ball("1lrg", 7.0)]
    imaging = Imaging(snr=None, alignment_error_in_angstrom=0.0)
    low = detectability(molecules, imaging, SHAPE, 0.1)
    high = detectability(molecules, imaging, SHAPE, 0.4)
    assert low["1lrg"] > low["1sml"] > 0
    for code, value in low.items():
        assert high[code] == pytest.approx(2 * value)


def test_in_white_noise_it_is_the_energy_of_the_image_over_the_variance() -> None:
    """Noise as weighted back-projection with half the ramp leaves it, which is white where there is data."""
    particle = ball("1lrg", 7.0)
    imaging = Imaging(
        snr=None, alignment_error_in_angstrom=0.0, ramp_exponent=0.5, low_pass_in_angstrom=None,
        modulation_at_nyquist=1.0, maximum_tilt_in_degrees=80.0, tilt_step_in_degrees=1.0,
        mean_free_path_in_nanometres=1e6, dose_b_factor_in_square_angstrom=0.0,
    )  # fmt: skip
    density = np.zeros((48, 64, 64), np.float32)
    density[16:33, 24:41, 24:41] = particle.density
    imaged = image_specimen(density, imaging, np.random.default_rng(0))
    by_energy = float(np.sqrt((imaged.signal**2).sum() / (imaged.data - imaged.signal).var()))
    found = detectability_at_dose([particle], imaging, density.shape)
    assert found["1lrg"] == pytest.approx(by_energy, rel=0.15)
