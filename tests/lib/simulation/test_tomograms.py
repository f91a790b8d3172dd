"""Simulated tomograms: overlap, truth, noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.spatial.transform import Rotation
from scipy.stats import kstest

from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.particles import KINDS, WINDOW, render
from tomotwin_lib.simulation.tomograms import SimulatedTomogram, simulate_tomogram

SHAPE = (60, 90, 110)


@pytest.fixture(scope="module")
def tomogram() -> SimulatedTomogram:
    return simulate_tomogram(SHAPE, 2, rng=np.random.default_rng(7), snr=0.12)


def test_as_many_as_asked_for_inside_and_without_overlap(tomogram: SimulatedTomogram) -> None:
    particles = tomogram.particles
    assert particles["class"].value_counts().to_dict() == dict.fromkeys(KINDS, 2)
    centres = particles[["Z", "Y", "X"]].to_numpy()
    radii = particles["class"].map(lambda code: KINDS[code].box_size / 2).to_numpy()
    apart = squareform(pdist(centres)) - radii[:, None] - radii[None]
    np.fill_diagonal(apart, np.inf)
    assert apart.min() >= 0
    assert (centres >= radii[:, None]).all()
    assert (centres <= np.array(SHAPE) - 1 - radii[:, None]).all()


def test_a_margin_leaves_every_particle_a_whole_window() -> None:
    half = WINDOW // 2
    particles = simulate_tomogram((60, 100, 110), 1, rng=np.random.default_rng(0), margin=half).particles
    centres = particles[["Z", "Y", "X"]].to_numpy()
    assert centres.min() >= half
    assert (centres <= np.array((60, 100, 110)) - 1 - half).all()


def test_every_row_of_the_truth_explains_its_density(tomogram: SimulatedTomogram) -> None:
    """Drawn anew from class, position and angles alone, the particles are the density."""
    offsets = np.indices((WINDOW,) * 3).reshape(3, -1).T - WINDOW // 2
    for row in tomogram.particles.to_dict("records"):
        # The three turns one by one, about fixed axes.
        pose = (
            Rotation.from_euler("z", row["psi"], degrees=True)
            * Rotation.from_euler("x", row["theta"], degrees=True)
            * Rotation.from_euler("z", row["phi"], degrees=True)
        )
        kind = KINDS[row["class"]]
        centre = np.array([row["Z"], row["Y"], row["X"]])
        nearest = np.rint(centre).astype(int)
        expected = render(kind, pose, centre - nearest).ravel()
        near = np.linalg.norm(nearest + offsets - centre, axis=1) <= kind.radius
        found = tomogram.density[tuple((nearest + offsets[near]).T)]
        assert np.corrcoef(expected[near], found)[0, 1] > 0.99
        np.testing.assert_allclose(found, expected[near], atol=0.15)


def test_the_signal_to_noise_ratio_is_the_one_asked_for(tomogram: SimulatedTomogram) -> None:
    inside = tomogram.density >= 0.5
    noise = tomogram.data - tomogram.signal
    assert tomogram.signal[inside].var() / noise.var() == pytest.approx(0.12, rel=0.1)
    assert np.corrcoef(noise.ravel(), tomogram.signal.ravel())[0, 1] == pytest.approx(0, abs=0.02)


def test_particles_are_dark(tomogram: SimulatedTomogram) -> None:
    """The ones that are solid, that is: contrast transfer leaves edges of what is larger."""
    inside = tomogram.density >= 0.5
    assert tomogram.signal[inside].mean() < tomogram.signal[~inside].mean()
    assert np.corrcoef(tomogram.signal.ravel(), tomogram.density.ravel())[0, 1] < -0.5


def test_neither_signal_nor_noise_reaches_the_missing_wedge(tomogram: SimulatedTomogram) -> None:
    kz, _, kx = np.meshgrid(*(np.fft.fftfreq(size) for size in SHAPE), indexing="ij")
    missing = np.rad2deg(np.arctan2(np.abs(kz), np.abs(kx))) > 60.001
    for volume in (tomogram.signal, tomogram.data - tomogram.signal):
        power = np.abs(np.fft.fftn(volume.astype(float))) ** 2
        assert power[missing].mean() < 1e-8 * power[~missing].mean()


def test_the_angles_are_those_of_uniform_rotations() -> None:
    frames = [
        simulate_tomogram((100, 130, 130), 4, rng=np.random.default_rng(seed)).particles for seed in range(4)
    ]
    angles = {name: np.concatenate([frame[name] for frame in frames]) for name in ("phi", "psi", "theta")}
    # Uniform rotations: phi and psi even over the circle, the cosine of theta even between −1 and 1.
    assert kstest(angles["phi"], "uniform", args=(-180, 360)).pvalue > 0.01
    assert kstest(angles["psi"], "uniform", args=(-180, 360)).pvalue > 0.01
    assert kstest(np.cos(np.deg2rad(angles["theta"])), "uniform", args=(-1, 2)).pvalue > 0.01


def test_the_same_seed_gives_the_same_tomogram(tomogram: SimulatedTomogram) -> None:
    again = simulate_tomogram(SHAPE, 2, rng=np.random.default_rng(7), snr=0.12)
    other = simulate_tomogram(SHAPE, 2, rng=np.random.default_rng(8), snr=0.12)
    np.testing.assert_array_equal(again.data, tomogram.data)
    assert again.particles.equals(tomogram.particles)
    assert not np.array_equal(other.data, tomogram.data)


@pytest.mark.parametrize("snr", [0.0, -0.1, float("nan"), float("inf")])
def test_a_signal_to_noise_ratio_that_is_none_is_refused(snr: float) -> None:
    with pytest.raises(InputError, match="signal-to-noise"):
        simulate_tomogram(SHAPE, 1, rng=np.random.default_rng(0), snr=snr)


def test_a_tomogram_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(InputError, match=r"36 × 90 × 90 voxels"):
        simulate_tomogram((36, 90, 90), 1, rng=np.random.default_rng(0))


def test_too_many_particles_are_refused_with_the_number_that_fits() -> None:
    with pytest.raises(InputError, match=r"Ask for (\d+) of each") as caught:
        simulate_tomogram(SHAPE, 50, rng=np.random.default_rng(0))
    fits = int(caught.value.remedy.split()[2])
    assert 2 <= fits < 50
    assert len(simulate_tomogram(SHAPE, fits, rng=np.random.default_rng(0)).particles) == fits * len(KINDS)


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_a_number_of_particles_that_is_no_count_is_refused(count: float) -> None:
    with pytest.raises(InputError, match="not a count"):
        simulate_tomogram(SHAPE, count, rng=np.random.default_rng(0))  # type: ignore[arg-type]
