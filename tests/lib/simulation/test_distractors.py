"""Distractors: of the sizes and contrasts that their originals have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.deposits import carbon_edge, gold_bead, ice_crystal
from tomotwin_lib.simulation.distractors import KINDS_OF_DISTRACTOR, Distractors, build_distractors
from tomotwin_lib.simulation.filaments import actin, microtubule
from tomotwin_lib.simulation.membranes import sheet, vesicle
from tomotwin_lib.simulation.painting import Painted, balls

SHAPE = (60, 100, 110)
NONE: dict[str, Any] = dict.fromkeys(
    ("vesicles", "sheets", "gold", "filaments", "microtubules", "ice"), (0, 0)
)


def drawn(painted: Painted, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Density and mask of a body in a volume of its own."""
    density, inside = np.zeros(shape, np.float32), np.zeros(shape, bool)
    density.reshape(-1)[painted.voxels] = painted.values
    inside.reshape(-1)[painted.voxels[painted.inside]] = True
    return density, inside


def test_without_any_there_is_nothing() -> None:
    density, kinds = build_distractors(SHAPE, Distractors.none(), 10.0, rng=np.random.default_rng(0))
    assert density.shape == kinds.shape == SHAPE
    assert not density.any() and not kinds.any()


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("vesicles", "membrane"), ("sheets", "membrane"), ("gold", "gold"), ("filaments", "filament"),
        ("microtubules", "microtubule"), ("ice", "ice"),
    ],
)  # fmt: skip
def test_each_is_in_the_mask_by_its_kind(field: str, kind: str) -> None:
    wanted = Distractors(**(NONE | {field: (1, 1)}), carbon_probability=0.0)
    density, kinds = build_distractors(SHAPE, wanted, 10.0, rng=np.random.default_rng(4))
    number = KINDS_OF_DISTRACTOR.index(kind) + 1
    assert np.unique(kinds).tolist() == [0, number]
    assert density[kinds == number].mean() > 5 * np.abs(density[kinds == 0]).mean()


def test_a_seed_gives_the_same_and_carbon_comes_as_often_as_asked() -> None:
    wanted = Distractors(**NONE, carbon_probability=1.0)
    first = build_distractors(SHAPE, wanted, 10.0, rng=np.random.default_rng(1))
    again = build_distractors(SHAPE, wanted, 10.0, rng=np.random.default_rng(1))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (first[1] == KINDS_OF_DISTRACTOR.index("carbon") + 1).any()


@pytest.mark.parametrize("make", [vesicle, sheet, actin, microtubule, carbon_edge, ice_crystal, gold_bead])
def test_every_voxel_comes_once_and_no_value_is_lost(make: Any) -> None:
    for seed in range(4):
        painted = make(SHAPE, 10.0, np.random.default_rng(seed))
        assert len(np.unique(painted.voxels)) == len(painted.voxels) == len(painted.values)
        assert len(painted.inside) == len(painted.voxels)
        assert np.isfinite(painted.values).all()
        if len(painted.voxels):
            assert painted.voxels.min() >= 0 and painted.voxels.max() < np.prod(SHAPE)


@pytest.mark.parametrize("make", [vesicle, sheet])
def test_a_membrane_has_two_leaflets_four_nanometres_apart_and_is_five_to_six_thick(make: Any) -> None:
    shape = (120, 120, 120)
    density, inside = drawn(make(shape, 5.0, np.random.default_rng(8)), shape)
    # How deep a voxel lies in the mask tells where between the two surfaces it is.
    depth = 5.0 * distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1, 1:-1]
    assert 2 * np.percentile(depth[inside], 99.5) == pytest.approx(56, abs=8)
    depths = np.array([5.0, 10.0, 15.0, 20.0, 25.0])
    profile = [density[inside & (np.abs(depth - middle) < 2.5)].mean() for middle in depths]
    # The heads lie 8 Å below either surface: 40 Å apart in a bilayer of 56 Å.
    assert depths[int(np.argmax(profile))] in (5.0, 10.0)
    assert profile[-1] < 0.6 * max(profile)


def test_gold_is_a_ball_many_times_as_dense_as_protein() -> None:
    shape = (60, 60, 60)
    painted = balls(shape, np.array([[30.2, 29.7, 30.4]]), 5.0, 12.0)
    density, inside = drawn(painted, shape)
    assert density.max() == pytest.approx(12, rel=0.01)
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * 5**3, rel=0.15)
    for seed in range(5):
        values = gold_bead(SHAPE, 10.0, np.random.default_rng(seed)).values
        assert 4 < values.max() <= 15


def test_filaments_are_as_wide_as_theirs_are_and_tubes_are_hollow() -> None:
    for make, outer in ((actin, 80.0), (microtubule, 260.0)):
        points = []
        for seed in range(3):
            _, inside = drawn(make((90, 120, 120), 10.0, np.random.default_rng(seed)), (90, 120, 120))
            points.append(np.argwhere(inside))
        longest = max(points, key=len) * 10.0
        # Across a short piece of it, the extent along the least direction is the width.
        middle = longest[len(longest) // 2]
        piece = longest[np.linalg.norm(longest - middle, axis=1) < 1.5 * outer]
        centred = piece - piece.mean(axis=0)
        _, _, directions = np.linalg.svd(centred, full_matrices=False)
        widths = np.ptp(centred @ directions.T, axis=0) + 10
        assert widths[0] > 1.5 * outer * 0.9
        assert 0.65 * outer < widths[2] < 1.35 * outer
        if make is microtubule:
            from_axis = np.linalg.norm(centred @ directions[1:].T, axis=1)
            assert (from_axis < 50).mean() < 0.05


@pytest.mark.parametrize(
    "bad", [{"gold": (3, 1)}, {"ice": (-1, 2)}, {"vesicles": (1,)}, {"carbon_probability": 1.5}]
)
def test_numbers_that_cannot_be_used_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(bad)).replace("_", " ")):
        Distractors(**bad)
