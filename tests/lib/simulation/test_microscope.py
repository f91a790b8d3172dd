"""Contrast transfer and the missing wedge."""

from __future__ import annotations

import numpy as np
import pytest

from tomotwin_lib.simulation.microscope import Microscope, filtered, sampled_region


def test_the_wavelength_at_300_kilovolts_is_the_textbook_value() -> None:
    assert Microscope().wavelength_in_angstrom == pytest.approx(0.01969, abs=1e-5)


def test_contrast_transfer_starts_dark_and_first_vanishes_where_the_phase_is_half_a_turn() -> None:
    microscope = Microscope(spherical_aberration_in_millimetres=0.0)
    # Without aberration the phase is pi * wavelength * defocus * k² + arcsin(0.1): zero crossing at pi.
    zero = (1 - np.arcsin(0.1) / np.pi) / (microscope.wavelength_in_angstrom * 3e4)
    transfer = microscope.contrast_transfer(np.array([0.0, 0.5 * zero, zero, 1.2 * zero], np.float32), 3.0)
    assert transfer[0] == pytest.approx(-0.1, abs=1e-4)
    assert transfer[1] < -0.99
    assert transfer[2] == pytest.approx(0, abs=1e-3)
    assert transfer[3] > 0


def test_the_envelope_falls_as_the_b_factor_says() -> None:
    envelope = Microscope(b_factor_in_square_angstrom=400.0).envelope(np.array([0.0, 0.01], np.float32))
    np.testing.assert_allclose(envelope, [1, np.exp(-1)], rtol=1e-6)


@pytest.mark.parametrize("shape", [(20, 24, 28), (21, 23, 27)], ids=["even", "odd"])
def test_nothing_is_left_in_the_missing_wedge(shape: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    seen = filtered(noise, sampled_region(shape, 60.0).astype(np.float32))
    # The full complex transform and angles, not the half spectrum and tangents that the filter is made with.
    power = np.abs(np.fft.fftn(seen.astype(float))) ** 2
    kz, _, kx = np.meshgrid(*(np.fft.fftfreq(size) for size in shape), indexing="ij")
    tilt = np.rad2deg(np.arctan2(np.abs(kz), np.abs(kx)))
    missing = tilt > 60.001
    assert power[missing].max() < 1e-9 * power.max()
    np.testing.assert_allclose(
        power[tilt < 59.999], (np.abs(np.fft.fftn(noise)) ** 2)[tilt < 59.999], rtol=1e-2
    )


def test_a_filter_of_ones_changes_nothing() -> None:
    volume = np.random.default_rng(0).standard_normal((9, 10, 11), dtype=np.float32)
    np.testing.assert_allclose(filtered(volume, np.ones((9, 10, 6), np.float32)), volume, atol=1e-5)
