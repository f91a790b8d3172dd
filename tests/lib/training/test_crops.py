"""Crops for fine-tuning: what is a negative, counted again by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.products import Grid, SimilarityMap
from tomotwin_lib.training.crops import NEAR, SITES, Crops, Picked

SHAPE = (24, 40, 40)
WINDOW, STRIDE = 9, 2
PICKS = np.array([[12.0, 10.0, 10.0], [12.0, 10.0, 28.0], [12.0, 30.0, 12.0]])
LOOKALIKE = (12, 30, 30)
"""A particle that nobody picked: more similar to the reference than the picks are."""


def similarity() -> SimilarityMap:
    """Peaks at the picks, a higher one at the lookalike, little elsewhere, on a grid of stride 2 from 0."""
    shape = tuple(-(-edge // STRIDE) for edge in SHAPE)
    volume = np.random.default_rng(0).uniform(-0.1, 0.1, shape).astype(np.float32)
    for z, y, x in PICKS.astype(int):
        volume[z // 2, y // 2, x // 2] = 0.9
    volume[tuple(edge // 2 for edge in LOOKALIKE)] = 0.95
    grid = Grid((0, 0, 0), (STRIDE,) * 3, shape)
    return SimilarityMap(volume.reshape(-1, 1), ["own.mrc"], grid)


def crops(*, complete: bool = False, radius: float = 5.0) -> Crops:
    data = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    picked = Picked(PICKS, np.full(3, radius), np.array([0, 1]), np.zeros(3, dtype=int))
    return Crops(data, picked, similarity(), window=WINDOW, stride=STRIDE, complete=complete)


def test_the_middle_of_a_crop_is_what_it_was_drawn_around() -> None:
    made = crops()
    rng = np.random.default_rng(0)
    edge = WINDOW + (SITES - 1) * STRIDE
    for _ in range(20):
        voxels, _ = made.around(0, rng)
        assert voxels.shape == (edge, edge, edge)
        number = int(voxels[edge // 2, edge // 2, edge // 2])
        assert np.abs(np.array(np.unravel_index(number, SHAPE)) - PICKS[0]).max() <= 1


def test_negatives_are_all_but_what_is_near_a_pick_or_may_be_one() -> None:
    made = crops()
    for centre in (PICKS[0].astype(int), np.array([12, 20, 20]), np.array(LOOKALIKE), np.array([1, 1, 1])):
        _, negative = made._cut(centre, Identity())
        for site in np.ndindex(SITES, SITES, SITES):
            place = centre + (np.array(site) - SITES // 2) * STRIDE
            inside = ((place >= 0) & (place < SHAPE)).all()
            near = np.linalg.norm(PICKS - place, axis=1).min() < NEAR
            unknown = np.array_equal(place, LOOKALIKE)
            assert bool(negative[site]) == (inside and not near and not unknown), place


def test_where_everything_was_picked_a_lookalike_is_background() -> None:
    _, negative = crops(complete=True)._cut(np.array(LOOKALIKE), Identity())
    assert negative.all()


def test_crops_elsewhere_lie_outside_of_the_picks_boxes_and_of_what_is_unknown() -> None:
    made = crops()
    rng = np.random.default_rng(0)
    edge = WINDOW + (SITES - 1) * STRIDE
    for _ in range(200):
        voxels, _ = made.elsewhere(rng)
        place = np.array(np.unravel_index(int(voxels[edge // 2, edge // 2, edge // 2]), SHAPE))
        assert np.linalg.norm(PICKS - place, axis=1).min() > 5
        assert not np.array_equal(place, LOOKALIKE)


def test_windows_are_cut_around_the_picks_that_are_trained_on() -> None:
    made = crops()
    data = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    windows = made.picked.windows(data, WINDOW)
    assert list(windows) == [0]
    np.testing.assert_array_equal(windows[0][1], data[8:17, 6:15, 24:33])


def test_boxes_that_leave_nothing_between_them_are_refused() -> None:
    with pytest.raises(InputError, match="no background"):
        crops(radius=100.0)


class Identity:
    """Draws the first half turn: none."""

    def integers(self, _high: int) -> int:
        """The first."""
        return 0
