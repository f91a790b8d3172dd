"""Imaging a specimen: both routes against what is known without them, and against each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.fourier_route import padded_shape
from tomotwin_lib.simulation.imaging import METHODS, Method, image_specimen
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.tilt_scheme import dose_symmetric_order, tilt_scheme
from tomotwin_lib.simulation.tilt_series import back_project, projected

PLAIN = Imaging(
    amplitude_contrast=1.0,  # with no defocus and no aberration, contrast transfer is −1 everywhere
    defocus_in_micrometres=0.0,
    spherical_aberration_in_millimetres=0.0,
    b_factor_in_square_angstrom=0.0,
    dose_b_factor_in_square_angstrom=0.0,
    alignment_error_in_angstrom=0.0,
    modulation_at_nyquist=1.0,
    low_pass_in_angstrom=None,
)
SHAPE = (40, 48, 60)
both = pytest.mark.parametrize("method", METHODS)


def gaussian(shape: tuple[int, ...], centre: tuple[float, ...], sigma: float) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(size) - at for size, at in zip(shape, centre, strict=True)), indexing="ij")
    return np.exp(-sum(axis**2 for axis in axes) / (2 * sigma**2)).astype(np.float32)


def specimen() -> np.ndarray:
    """A few smooth blobs off the centre."""
    rng = np.random.default_rng(1)
    volume = np.zeros(SHAPE, np.float32)
    for _ in range(12):
        centre = tuple(rng.uniform(9, size - 10) for size in SHAPE)
        volume += gaussian(SHAPE, centre, rng.uniform(1.5, 3.0))
    return volume


def spectrum(volume: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The Fourier transform, its frequency, and its angle from the kx–ky plane in degrees."""
    kz, ky, kx = np.meshgrid(*(np.fft.fftfreq(size) for size in volume.shape), indexing="ij")
    frequency = np.sqrt(kz**2 + ky**2 + kx**2)
    return np.fft.fftn(volume.astype(float)), frequency, np.rad2deg(np.arctan2(np.abs(kz), np.abs(kx)))


# --- projection and back-projection --------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0.0, 33.0, -60.0])
def test_a_gaussian_is_projected_to_a_gaussian_where_the_tilt_puts_it(degrees: float) -> None:
    sigma, angle = 3.0, np.deg2rad(degrees)
    z, y, x = 5.0, 3.0, -8.0
    centre = (19.5 + z, 23.5 + y, 29.5 + x)
    volume = torch.as_tensor(gaussian(SHAPE, centre, sigma)).permute(1, 0, 2)
    image = projected(volume, angle, (48, 90), PLAIN, 0.0).numpy()
    seen_at = 44.5 + x * np.cos(angle) + z * np.sin(angle)
    expected = -np.sqrt(2 * np.pi) * sigma * gaussian((48, 90), (23.5 + y, seen_at), sigma)
    # Interpolation between voxels widens it a little.
    assert np.abs(image - expected).max() < 0.04 * np.abs(expected).max()
    assert image.sum() == pytest.approx(expected.sum(), rel=1e-3)


def test_an_image_is_a_slice_of_the_spectrum() -> None:
    """Projection-slice theorem, with sums for the slice at an angle that no axis has."""
    volume, angle = specimen(), np.deg2rad(24.0)
    image = projected(torch.as_tensor(volume).permute(1, 0, 2), angle, (64, 96), PLAIN, 0.0).numpy()
    z, y, x = (np.arange(size) - (size - 1) / 2 for size in SHAPE)
    across = np.arange(96) - 47.5
    for u, v in ((0.03, 0.0), (0.06, 0.05), (-0.04, 0.08)):
        wave = [
            np.exp(-2j * np.pi * frequency * axis)
            for frequency, axis in ((u * np.sin(angle), z), (v, y), (u * np.cos(angle), x))
        ]
        of_volume = np.einsum("zyx,z,y,x->", volume, *wave)
        rows = np.exp(-2j * np.pi * v * (np.arange(64) - (SHAPE[1] - 1) / 2))
        of_image = np.einsum("yx,y,x->", image, rows, np.exp(-2j * np.pi * u * across))
        assert abs(of_image + of_volume) < 0.05 * abs(volume.sum())
        assert np.abs(np.angle(-of_image / of_volume)) < 0.02 or abs(of_volume) < 1e-3 * volume.sum()


def test_back_projection_puts_a_pixel_along_its_beam() -> None:
    images = torch.zeros(1, 2 * 81)  # wider than the diagonal
    angle = np.deg2rad(30.0)
    images[0, 2 * 48] = 1.0  # 8 voxels from the middle, which is 40
    volume = torch.zeros(40 * 60, 1)
    back_project(images, angle, volume, (40, 60))
    z, x = np.nonzero(volume.numpy().reshape(40, 60))
    away = (x - 29.5) * np.cos(angle) + (z - 19.5) * np.sin(angle)
    assert len(z) > 20
    assert np.abs(away - 8).max() < 0.5


@both
def test_a_gaussian_is_reconstructed_in_place_and_to_scale(method: Method) -> None:
    """All tilts from −85 to 85 degrees: nearly nothing is missing, and what was dense is dark."""
    imaging = replace(PLAIN, maximum_tilt_in_degrees=85.0, tilt_step_in_degrees=2.5)
    centre = (22.0, 20.0, 33.0)
    density = gaussian(SHAPE, centre, 2.5)
    signal = image_specimen(density, imaging, np.random.default_rng(0), method).signal
    assert np.unravel_index(np.argmin(signal), SHAPE) == centre
    assert np.corrcoef(signal.ravel(), density.ravel())[0, 1] < -0.95
    assert signal.min() == pytest.approx(-1.0, abs=0.12)


# --- what the microscope does ----------------------------------------------------------------------------


@both
def test_the_missing_wedge_is_empty(method: Method) -> None:
    made = image_specimen(specimen(), replace(PLAIN, snr=0.5), np.random.default_rng(0), method)
    window = np.hanning(SHAPE[0])[:, None, None] * np.hanning(SHAPE[2])
    for volume in (made.signal, made.data - made.signal):
        power, frequency, angle = spectrum(volume * window)
        power = np.abs(power) ** 2
        away = (frequency > 0.15) & (frequency < 0.5)
        assert power[away & (angle > 75)].mean() < 0.01 * power[away & (angle < 55)].mean()


@both
def test_contrast_vanishes_where_the_transfer_does(method: Method) -> None:
    """A point's spectrum is the transfer itself: its first zero is that of the textbook."""
    imaging = replace(PLAIN, amplitude_contrast=0.1, defocus_in_micrometres=6.0, snr=None)
    density = gaussian(SHAPE, (20, 24, 30), 0.7)
    made = image_specimen(density, imaging, np.random.default_rng(0), method)
    found, frequency, angle = spectrum(made.signal)
    ratio = np.real(found * np.conj(np.fft.fftn(density))) / np.abs(np.fft.fftn(density)) ** 2
    wavelength = imaging.microscope.wavelength_in_angstrom
    zero = 10 * np.sqrt((1 - np.arcsin(0.1) / np.pi) / (wavelength * 6e4))  # cycles a voxel
    # Across the tilt axis, where tilts are dense, and along it.
    near = (np.abs(frequency - zero) < 0.012) & (angle < 50)
    best = (np.abs(frequency - zero / np.sqrt(2)) < 0.02) & (angle < 50)
    beyond = (np.abs(frequency - zero * 1.17) < 0.012) & (angle < 50)
    assert ratio[best].mean() < -0.8
    assert abs(ratio[near].mean()) < 0.15
    assert ratio[beyond].mean() > 0.3
    flipped = image_specimen(
        density, replace(imaging, phase_flipped=True), np.random.default_rng(0), method
    ).signal
    again = np.real(np.fft.fftn(flipped) * np.conj(np.fft.fftn(density))) / np.abs(np.fft.fftn(density)) ** 2
    assert again[beyond].mean() < -0.3


def test_the_side_that_tilts_away_from_the_gun_is_further_under_focus() -> None:
    """At a positive tilt the side of positive x is lower, nearer to the lens."""
    imaging = replace(PLAIN, amplitude_contrast=0.1, defocus_in_micrometres=3.0, voxel_size_in_angstrom=40.0)
    shape = (20, 32, 220)
    wavelength = imaging.microscope.wavelength_in_angstrom
    angle = np.deg2rad(45.0)
    for offset in (-80.0, 80.0):
        volume = torch.as_tensor(gaussian(shape, (9.5, 16, 109.5 + offset), 0.7)).permute(1, 0, 2)
        image = projected(volume, angle, (32, 360), imaging, 0.0).numpy()
        # Along y, interpolation plays no part, and the sum over x is a line of the spectrum.
        line = np.fft.rfft(image.sum(axis=1)) / np.fft.rfft(volume.numpy().sum(axis=(1, 2)))
        k = np.fft.rfftfreq(32) / 40.0
        lowered = offset * np.sin(angle) * 40.0
        expected = -np.sin(np.pi * wavelength * k**2 * (3e4 + lowered) + np.arcsin(0.1))
        np.testing.assert_allclose(np.real(line), expected, atol=0.03)


@both
def test_dose_dampens_high_frequencies_as_its_b_factor_says(method: Method) -> None:
    density = gaussian(SHAPE, (20, 24, 30), 0.8)
    rng = np.random.default_rng
    fresh = image_specimen(density, replace(PLAIN, snr=None), rng(0), method).signal
    # B is the dose's middle times 4 on average, and the spread about that matters little.
    dosed = replace(
        PLAIN, snr=None, dose_in_electrons_per_square_angstrom=100.0, dose_b_factor_in_square_angstrom=4.0
    )
    damaged = image_specimen(density, dosed, rng(0), method).signal
    for k in (0.125, 0.25, 0.375):
        row = int(k * SHAPE[1])
        # On the tilt axis all images hold the same frequency: their mean is what is left.
        share = np.fft.fft(damaged.sum(axis=(0, 2)))[row] / np.fft.fft(fresh.sum(axis=(0, 2)))[row]
        doses = (np.arange(41) + 0.5) * 100 / 41
        assert np.real(share) == pytest.approx(np.exp(-doses * (k / 10) ** 2).mean(), abs=0.03)


# --- noise ------------------------------------------------------------------------------------------------


@both
def test_the_ratio_of_signal_to_noise_is_the_one_asked_for(method: Method) -> None:
    density = specimen()
    inside = density >= 0.5
    for snr in (0.05, 0.5):
        made = image_specimen(density, Imaging(snr=snr), np.random.default_rng(3), method, inside=inside)
        noise = made.data - made.signal
        assert made.signal[inside].var() / noise.var() == pytest.approx(snr, rel=1e-3)
        assert made.snr == snr
        assert abs(np.corrcoef(noise.ravel(), made.signal.ravel())[0, 1]) < 0.05


@both
def test_half_the_dose_has_half_the_signal_to_noise_ratio(method: Method) -> None:
    plain = replace(PLAIN, snr=None)
    ratios = [
        image_specimen(
            specimen(),
            replace(plain, dose_in_electrons_per_square_angstrom=dose),
            np.random.default_rng(0),
            method,
        ).snr
        for dose in (100.0, 50.0)
    ]
    assert ratios[0] / ratios[1] == pytest.approx(2, rel=0.1)


def test_noise_is_as_strong_as_back_projected_counts_are() -> None:
    """Both routes, one by Poisson's counts and one by a formula: the same spectrum of noise, absolutely."""
    spectra = []
    for method in METHODS:
        made = image_specimen(
            np.zeros((40, 64, 64), np.float32), replace(PLAIN, snr=None), np.random.default_rng(5), method
        )
        power, frequency, angle = spectrum(made.data)
        seen = angle < 55
        shells = [seen & (np.abs(frequency - middle) < 0.04) for middle in (0.08, 0.16, 0.24, 0.32)]
        spectra.append(np.array([(np.abs(power[shell]) ** 2).mean() for shell in shells]))
    # Lines between pixels of half the size leave sinc⁴ of the power: 0.84 in the last shell.
    np.testing.assert_allclose(
        spectra[0] * np.sinc(np.array([0.08, 0.16, 0.24, 0.32]) / 2) ** 4, spectra[1], rtol=0.08
    )
    # Weighted back-projection raises high frequencies.
    assert (np.diff(spectra[0]) > 0).all()


# --- the two routes, and the settings --------------------------------------------------------------------


def test_the_routes_agree_by_shells_where_there_are_tilts() -> None:
    density = specimen()
    one, other = (
        image_specimen(density, Imaging(), np.random.default_rng(2), method).signal for method in METHODS
    )
    first, frequency, angle = spectrum(one)
    second, _, _ = spectrum(other)
    for low in (0.0, 0.05, 0.1, 0.15):
        shell = (frequency >= low) & (frequency < low + 0.05) & (angle < 57)
        cross = np.real((first[shell] * np.conj(second[shell])).sum())
        powers = [(np.abs(found[shell]) ** 2).sum() for found in (first, second)]
        assert cross / np.sqrt(powers[0] * powers[1]) > 0.93
        assert powers[1] / powers[0] == pytest.approx(1, abs=0.2)


def test_nothing_wraps_around_in_the_fourier_route() -> None:
    """A particle at one end leaves nothing at the other that the tilt series, which cannot wrap, has not."""
    for axis in range(3):
        centre = [size / 2 for size in SHAPE]
        centre[axis] = 3.0
        density = gaussian(SHAPE, tuple(centre), 1.5)
        far = [slice(None)] * 3
        far[axis] = slice(-6, None)
        made = [
            image_specimen(density, replace(Imaging(), snr=None), np.random.default_rng(0), method).signal
            for method in METHODS
        ]
        peak = np.abs(made[1]).max()
        # Without padding the difference is 0.07 to 0.37.
        assert np.abs(made[0][tuple(far)] - made[1][tuple(far)]).max() < 0.03 * peak
    assert all(padded > size for padded, size in zip(padded_shape(SHAPE), SHAPE, strict=True))


@both
def test_the_same_seed_gives_the_same_tomogram(method: Method) -> None:
    made = [
        image_specimen(specimen(), Imaging(), np.random.default_rng(seed), method).data for seed in (4, 4, 5)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.allclose(made[0], made[2])
    assert made[0].dtype == np.float32 and made[0].shape == SHAPE


def test_low_tilts_are_taken_first_and_have_the_most_counts() -> None:
    imaging = Imaging(maximum_tilt_in_degrees=9.0, tilt_step_in_degrees=3.0)
    degrees = np.array([-9.0, -6, -3, 0, 3, 6, 9])
    assert degrees[dose_symmetric_order(degrees)].tolist() == [0, 3, -3, -6, 6, 9, -9]
    scheme = tilt_scheme(imaging, 100.0, np.random.default_rng(0))
    np.testing.assert_allclose(np.rad2deg(scheme.angles), degrees)
    assert np.argmin(scheme.dose) == np.argmax(scheme.counts) == 3
    assert scheme.dose.max() == pytest.approx(100 * 6.5 / 7)
    # 300 nm of mean free path: a third of it is lost in 100 nm.
    assert scheme.counts[3] == pytest.approx(100 / 7 * 100 * np.exp(-1 / 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"snr": 0.0}, "snr"),
        ({"voxel_size_in_angstrom": -1.0}, "voxel size"),
        ({"defocus_in_micrometres": float("nan")}, "defocus"),
        ({"defocus_in_micrometres": 30000.0}, "defocus in micrometres.*at most 50"),
        ({"amplitude_contrast": 1.5}, "amplitude contrast"),
        ({"maximum_tilt_in_degrees": 90.0}, "maximum tilt"),
        ({"tilt_step_in_degrees": 70.0}, "tilt step"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(Imaging(), **change)  # type: ignore[arg-type]


def test_a_specimen_that_cannot_be_imaged_is_refused() -> None:
    empty = np.zeros(SHAPE, np.float32)
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="no particle"):
        image_specimen(empty, Imaging(), rng)
    with pytest.raises(InputError, match="no volume"):
        image_specimen(empty[0], Imaging(), rng)
    with pytest.raises(InputError, match="method"):
        image_specimen(empty, Imaging(), rng, "sirt")  # type: ignore[arg-type]
