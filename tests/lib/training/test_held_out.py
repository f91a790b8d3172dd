"""A plane parts picks so that nothing that is scored was trained on."""

from __future__ import annotations

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.training.held_out import LEAST_HELD_OUT, LEAST_TRAINED, hold_out

WINDOW = 9


def voxels_of_windows(centres: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Which voxels lie in a window around one of the picks, as windows are cut, counted one by one."""
    covered = np.zeros(shape, dtype=bool)
    half = WINDOW // 2
    for z, y, x in np.rint(centres).astype(int):
        covered[
            max(z - half, 0) : z + half + 1, max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1
        ] = True
    return covered


@pytest.mark.parametrize("seed", range(8))
def test_no_voxel_is_in_windows_of_both_parts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (20, 60, 44)
    centres = rng.uniform(0, np.array(shape) - 1, (40, 3))
    labels = rng.integers(0, 3, 40)
    parts = hold_out(centres, labels, shape, window=WINDOW)
    trained = voxels_of_windows(centres[parts.trained], shape)
    held_out = voxels_of_windows(centres[parts.held_out], shape)
    assert trained.any() and held_out.any() and not (trained & held_out).any()
    # Each window lies in its own part, so that nothing of it is cut off or reflected at the plane.
    training, scored = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    training[parts.training_box], scored[parts.scored_box] = True, True
    assert (training ^ scored).all()
    assert training[trained].all() and scored[held_out].all()
    # The bounds hold exactly those held out.
    along = np.rint(centres[:, parts.axis])
    within = (along >= parts.bounds[0]) & (along <= parts.bounds[1])
    assert np.flatnonzero(within).tolist() == parts.held_out.tolist()


def test_both_sides_have_picks_of_every_class_where_that_is_possible() -> None:
    """Two classes beside each other along z and y: only a plane across x parts both."""
    x = np.arange(5, 95, 10.0)
    centres = np.concatenate(
        [np.stack([np.full(9, 5.0 + 10 * k), np.full(9, 8.0), x], axis=1) for k in (0, 1)]
    )
    labels = np.repeat([0, 1], 9)
    parts = hold_out(centres, labels, (20, 20, 100), window=WINDOW, share=0.33)
    assert parts.axis == 2
    for label in (0, 1):
        assert (labels[parts.trained] == label).sum() >= LEAST_TRAINED
        assert (labels[parts.held_out] == label).sum() >= LEAST_HELD_OUT
    assert len(parts.trained) + len(parts.held_out) >= 16, "picks were lost that need not be"
    assert 4 <= len(parts.held_out) <= 8


def test_picks_that_no_plane_parts_are_refused() -> None:
    centres = np.full((6, 3), 20.0) + np.arange(6)[:, None] * 0.5
    with pytest.raises(InputError, match=r"the 6 picks are too few.*Give more picks"):
        hold_out(centres, np.zeros(6, dtype=int), (40, 40, 40), window=WINDOW)


def test_a_tomogram_that_does_not_hold_two_windows_is_refused() -> None:
    centres = np.array([[2.0, 2.0, 2.0], [2.0, 2.0, 9.0], [2.0, 9.0, 9.0]])
    with pytest.raises(InputError, match="no plane"):
        hold_out(centres, np.zeros(3, dtype=int), (12, 12, 12), window=WINDOW)
