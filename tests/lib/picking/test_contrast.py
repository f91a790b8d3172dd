"""Whether particles are dark or bright is told, or said to be uncertain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tomotwin_lib.contrast import contrast_of
from tomotwin_lib.formats.volumes import read_volume

SHAPE = (96, 144, 144)


def noise(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Normal noise (z, y, x), float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def balls(count: int = 120, radius: float = 5.0) -> np.ndarray:
    """Balls of density 1 at random, (z, y, x)."""
    rng = np.random.default_rng(1)
    volume = np.zeros(SHAPE, np.float32)
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    for centre in rng.uniform((0, 0, 0), SHAPE, size=(count, 3)):
        volume[(z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2] = 1
    return volume


def test_dark_particles_are_dark_and_bright_ones_bright() -> None:
    # Signal a third of the noise, under a ramp of density that is far larger than both.
    ramp = np.linspace(0, 30, SHAPE[1], dtype=np.float32)[:, None]
    dark = noise() - balls() + ramp
    assert contrast_of(dark).particles == "dark"
    assert contrast_of(-dark).particles == "bright"
    assert contrast_of(-dark).skewness == pytest.approx(-contrast_of(dark).skewness, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_uncertain(seed: int) -> None:
    assert contrast_of(noise(seed)).particles == "uncertain"


def test_a_few_gold_beads_do_not_decide() -> None:
    bright = noise() + balls()
    bright[40:52, 60:72, 60:72] = -200
    assert contrast_of(bright).particles == "bright"


def test_numbers_of_any_type_and_scale() -> None:
    dark = noise() - balls()
    whole = np.round(dark * 20).astype(np.int16)
    assert contrast_of(whole).skewness == pytest.approx(contrast_of(dark).skewness, abs=0.01)
    assert contrast_of(dark * 1e-3 + 3).particles == "dark"


def test_what_is_too_small_or_empty_is_uncertain() -> None:
    few = contrast_of(noise(shape=(24, 40, 44)))
    assert (few.blocks, few.error, few.particles) == (1, float("inf"), "uncertain")
    for shape in ((10, 200, 200), (96, 96, 96)):
        nothing = contrast_of(np.ones(shape, np.int8))
        assert nothing.blocks == 0
        assert nothing.particles == "uncertain"


def test_large_tomograms_are_sampled() -> None:
    class Counting(np.ndarray):
        read = 0

        def __getitem__(self, where):  # type: ignore[no-untyped-def]
            part = np.asarray(super().__getitem__(where))
            Counting.read += part.size
            return part

    contrast_of(np.zeros((200, 600, 600), np.int8).view(Counting))
    assert 0 < Counting.read <= 125 * 48**3


@pytest.mark.parametrize("name", ["seen", "unseen"])
def test_simulated_tomograms(shared: Path, name: str) -> None:
    path = shared / "data" / "picking" / name / "tomogram.mrc"
    if not path.is_file():
        pytest.skip(f"no {path}")
    data = read_volume(path).data
    assert contrast_of(data).particles == "dark"
    assert contrast_of(-1 * data.astype(np.float32)).particles == "bright"
