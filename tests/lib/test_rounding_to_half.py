"""Half precision: the same numbers as NumPy's, and what is none."""

from __future__ import annotations

import numpy as np
import pytest

from tomotwin_lib.half_precision import all_finite, halved


def test_rounds_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    sizes = np.exp2(rng.uniform(-30, 16, 20_000))
    values = (sizes * rng.choice([-1, 1], len(sizes))).astype(np.float32)
    values = np.concatenate([values, np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)])
    values = values[np.abs(values) < 65519][:80_000]
    for given in (values, values[::-1], values.astype(np.float64), values.reshape(2, -1).T):
        half = halved(given)
        assert half.dtype == np.float16
        np.testing.assert_array_equal(half, given.astype(np.float16))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0, 65519.0], np.float16),
        ([1.0, -65520.0], np.float32),
        ([1.0, np.inf], np.float16),  # it was no number before, either
        ([1.0, np.nan], np.float16),
        ([], np.float16),
    ],
)
def test_keeps_32_bits_for_what_16_cannot_hold(values: list[float], kind: type) -> None:
    given = np.array(values, dtype=np.float32)
    given.flags.writeable = False
    result = halved(given)
    assert result.dtype == kind
    np.testing.assert_array_equal(np.isfinite(result), np.isfinite(given))


def test_every_16_bit_float_is_told_finite_or_not() -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    assert [all_finite(every[index : index + 1]) for index in range(0, 65536, 7)] == np.isfinite(every)[
        ::7
    ].tolist()
    assert all_finite(every[np.isfinite(every)].reshape(2, -1).T)
    assert not all_finite(every) and all_finite(every[:0])
    assert all_finite(np.zeros(3)) and not all_finite(np.array([0, np.nan]))
