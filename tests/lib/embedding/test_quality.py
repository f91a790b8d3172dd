"""What is said of vectors, against hand-worked cases."""

from __future__ import annotations

import numpy as np
import pytest

from tomotwin_lib.embedding.quality import sampled_rows, vector_quality


def test_two_directions() -> None:
    # At right angles: 45 degrees from their mean, each.
    quality = vector_quality(np.array([[1, 0], [0, 1]], np.float32))
    assert (quality.rows, quality.not_finite, quality.largest_norm_error) == (2, 0, 0)
    assert quality.typical_angle_in_degrees == pytest.approx(45)


def test_all_alike() -> None:
    quality = vector_quality(np.tile(np.array([0.6, 0.8]), (50, 1)).astype(np.float16))
    assert quality.typical_angle_in_degrees < 0.1
    assert quality.largest_norm_error < 1e-3


def test_opposite_directions_have_no_mean() -> None:
    assert vector_quality(np.array([[1.0, 0], [-1, 0]])).typical_angle_in_degrees == pytest.approx(90)


def test_rows_that_are_no_numbers_are_counted_and_left_out() -> None:
    quality = vector_quality(np.array([[1, 0], [np.nan, 0], [0, np.inf], [0, 1.5]]))
    assert quality.not_finite == 2
    assert quality.largest_norm_error == pytest.approx(0.5)
    nothing = vector_quality(np.full((3, 2), np.nan))
    assert nothing.not_finite == 3 and np.isnan(nothing.typical_angle_in_degrees)


def test_only_a_sample_is_looked_at() -> None:
    vectors = np.tile(np.array([[1.0, 0]]), (10_000, 1))
    assert vector_quality(vectors, most=100).rows == 100
    rows = sampled_rows(10_000, 100)
    assert len(set(rows.tolist())) == 100 and (np.diff(rows) > 0).all()
    assert sampled_rows(3, 100).tolist() == [0, 1, 2]
