"""What a person would look at first, against hand-worked cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.plausibility import background, filled_share, most_alike
from tomotwin_lib.products import Grid, SimilarityMap


def test_balls_in_their_densest_packing_fill_all_room() -> None:
    # Face-centred cubic: four balls of diameter d in a cube of edge √2 d, here one of n³ such cubes. The room
    # reaches half a ball further on all sides.
    edge = round(100 * 10 * math.sqrt(2))
    assert filled_share({"1abc.mrc": 4 * 100**3}, (edge - 10,) * 3, 10) == pytest.approx(1, abs=1e-3)


def test_shares_add_up_by_reference() -> None:
    sizes = {"1abc": 10, "2xyz": 20}
    one = filled_share({"a_1abc_0.mrc": 3}, (50, 60, 70), sizes)
    other = filled_share({"2xyz.mrc": 2}, (50, 60, 70), sizes)
    both = filled_share({"a_1abc_0.mrc": 3, "2xyz.mrc": 2}, (50, 60, 70), sizes)
    assert both == pytest.approx(one + other)
    assert one == pytest.approx(3 * 1000 * math.sqrt(18) / 6 / (60 * 70 * 80))
    assert filled_share({}, (50, 60, 70), sizes) == filled_share({"unknown": 0}, (50, 60, 70), sizes) == 0
    with pytest.raises(InputError, match="rod"):
        filled_share({"rod.mrc": 1}, (50, 60, 70), sizes)


def test_background_is_the_quantile_of_finite_values() -> None:
    values = np.stack([np.arange(100) / 100, np.full(100, 0.5)], axis=1).astype(np.float32)
    values[0, 1] = np.nan
    levels = background(SimilarityMap(values, ["a", "b"], Grid((0, 0, 0), (1, 1, 1), (1, 1, 100))))
    assert levels["reference"].tolist() == ["a", "b"]
    assert levels["background"].tolist() == pytest.approx([0.891, 0.5])
    assert levels["median"].tolist() == pytest.approx([0.495, 0.5])
    assert levels["highest"].tolist() == pytest.approx([0.99, 0.5])


def test_background_of_a_sample_is_that_of_all() -> None:
    values = np.random.default_rng(0).random((100_000, 1)).astype(np.float16)
    similarity = SimilarityMap(values, ["a"], Grid((0, 0, 0), (1, 1, 1), (10, 100, 100)))
    assert background(similarity, most=5000)["background"][0] == pytest.approx(0.9, abs=0.02)
    nothing = SimilarityMap(np.full((3, 1), np.nan, np.float32), ["a"], Grid((0, 0, 0), (1, 1, 1), (1, 1, 3)))
    assert np.isnan(background(nothing)["background"][0])


def test_references_of_one_particle_may_be_alike() -> None:
    names = ["a_1abc_0.mrc", "a_1abc_1.mrc", "b_2xyz_0.mrc"]
    similarities = np.array([[1, 0.99, 0.3], [0.99, 1, 0.4], [0.3, 0.4, 1]])
    assert most_alike(similarities, names) == ("a_1abc_1.mrc", "b_2xyz_0.mrc", 0.4)
    assert most_alike(similarities[:2, :2], names[:2]) is None
    assert most_alike(similarities, ["rod", "ball", "cube"]) == ("rod", "ball", 0.99)
