"""Standardisation of volumes and windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tomotwin_lib.embedding import preparation
from tomotwin_lib.embedding.preparation import (
    Statistics,
    require_usable,
    standardise_volume,
    standardise_window,
    volume_statistics,
)
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume


@pytest.mark.parametrize("dtype", ["int8", "int16", ">i2", "float16", "float32", ">f4"])
def test_statistics_of_every_number_type_in_blocks(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "BLOCK_VOXELS", 2 * 5 * 6)  # blocks of two planes, the last of one
    data = np.random.default_rng(0).normal(20, 30, size=(7, 5, 6)).astype(dtype)
    statistics = volume_statistics(data)
    exact = data.astype(np.float64)
    assert statistics.mean == pytest.approx(exact.mean(), rel=1e-12)
    assert statistics.deviation == pytest.approx(exact.std(), rel=1e-12)
    standardised = standardise_volume(data)
    assert standardised.dtype == np.float32
    np.testing.assert_allclose(standardised, (exact - exact.mean()) / exact.std(), atol=1e-6)


def test_small_differences_on_a_large_offset_keep_their_digits() -> None:
    data = np.random.default_rng(0).integers(0, 5, size=(8, 8, 8)) + 1e9
    assert volume_statistics(data).deviation == pytest.approx((data - 1e9).std(), rel=1e-9)


def test_a_part_is_standardised_by_the_statistics_of_the_whole() -> None:
    whole = np.random.default_rng(0).normal(3, 2, size=(6, 4, 4)).astype(np.float32)
    part = standardise_volume(whole[2:4], volume_statistics(whole))
    np.testing.assert_array_equal(part, standardise_volume(whole)[2:4])


def test_windows_are_standardised_one_by_one() -> None:
    windows = np.random.default_rng(0).normal(5, 2, size=(3, 4, 5, 6)).astype(np.float32)
    exact = [(w - w.mean(dtype=float)) / w.std(dtype=float) for w in windows]
    np.testing.assert_allclose(standardise_window(torch.from_numpy(windows)), exact, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e4 / 3])
def test_a_window_without_contrast_becomes_zero(value: float) -> None:
    windows = torch.full((2, 37, 37, 37), value)
    windows[1, 0, 0, 0] += 1 + abs(value)
    standardised = standardise_window(windows)
    assert not standardised[0].any()
    assert standardised[1].std(correction=0).item() == pytest.approx(1, rel=1e-4)


def test_constant_volume_is_refused() -> None:
    volume = Volume(np.full((5, 5, 5), 0.3, dtype=np.float32), None, Path("t.mrc"))
    with pytest.raises(InputError, match=r"t.mrc: all voxels have the value 0.3"):
        require_usable(volume)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_volume_that_is_not_finite_is_refused(value: float) -> None:
    data = np.zeros((5, 5, 5), dtype=np.float32)
    data[1, 2, 3] = value
    with pytest.raises(InputError, match=r"t.mrc"):
        require_usable(Volume(data, None, Path("t.mrc")))


def test_usable_volume_gives_its_statistics() -> None:
    data = np.array([-1.0, 1.0] * 4).reshape(2, 2, 2)
    assert require_usable(Volume(data, None, Path("t.mrc"))) == Statistics(0, 1)
