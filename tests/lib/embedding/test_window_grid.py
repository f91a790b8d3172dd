"""Where windows lie, with and without padding, in a slab and under a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tomotwin_lib.embedding.grids import checked_stride, masked_sites, window_grid
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.products import Grid

SHAPE = (46, 58, 64)


def test_padded_grid_begins_at_the_first_voxel() -> None:
    assert window_grid(SHAPE, 4) == Grid((0, 0, 0), (4, 4, 4), (12, 15, 16))


def test_grid_without_padding_begins_where_a_window_fits() -> None:
    assert window_grid(SHAPE, 3, padding=False) == Grid((18, 18, 18), (3, 3, 3), (4, 8, 10))


def test_exactly_one_window_fits_in_a_volume_of_its_size() -> None:
    assert window_grid((37, 38, 39), 2, padding=False).shape == (1, 1, 2)


@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("stride", [1, 2, (3, 2, 1), (5, 7, 60)])
@pytest.mark.parametrize("z_range", [(0, 46), (18, 28), (20, 21), (17, 26), (0, 21)])
def test_slab_is_the_full_grid_between_two_planes(
    padding: bool, stride: object, z_range: tuple[int, int]
) -> None:
    full = window_grid(SHAPE, stride, padding=padding).positions()  # type: ignore[arg-type]
    expected = full[(full[:, 0] >= z_range[0]) & (full[:, 0] < z_range[1])]
    if len(expected):
        slab = window_grid(SHAPE, stride, padding=padding, z_range=z_range)  # type: ignore[arg-type]
        np.testing.assert_array_equal(slab.positions(), expected)
    else:
        with pytest.raises(InputError, match="centre"):
            window_grid(SHAPE, stride, padding=padding, z_range=z_range)  # type: ignore[arg-type]


@pytest.mark.parametrize("z_range", [(-1, 10), (10, 47), (10, 10), (20, 10), (50, 60)])
def test_range_that_is_empty_or_outside_is_refused(z_range: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=rf"--zrange: {z_range[0]} to {z_range[1]} .*46"):
        window_grid(SHAPE, z_range=z_range)


@pytest.mark.parametrize("stride", [0, -2, (2, 2, 0), (2, 2), 1.5, (1, 2, 2.5), "2", None, ()])
def test_impossible_strides_are_refused(stride: object) -> None:
    with pytest.raises(InputError, match="--stride"):
        checked_stride(stride)  # type: ignore[arg-type]


def test_stride_is_one_number_or_three() -> None:
    assert checked_stride(3) == checked_stride([3]) == (3, 3, 3)
    assert checked_stride((1, 2, 3)) == (1, 2, 3)


def test_volume_without_room_for_a_window_is_refused() -> None:
    with pytest.raises(InputError, match=r"small.mrc: 36 × 58 × 64 .*37"):
        window_grid((36, 58, 64), padding=False, source="small.mrc")
    assert window_grid((1, 2, 3), 2).shape == (1, 1, 2)  # by reflection every volume has windows


def test_mask_is_read_at_the_centres() -> None:
    grid = window_grid((6, 7, 8), (2, 3, 4))
    data = np.zeros((6, 7, 8), dtype=np.int8)
    data[2, 3, 4] = data[4, 6, 0] = 1
    data[1] = 1  # between the planes of the grid
    sites = masked_sites(Volume(data, None, Path("mask.mrc")), grid, (6, 7, 8), "t.mrc")
    np.testing.assert_array_equal(grid.positions(sites), [[2, 3, 4], [4, 6, 0]])


def test_full_mask_is_no_mask() -> None:
    mask = Volume(np.ones((6, 7, 8), dtype=np.float32), None, Path("mask.mrc"))
    assert masked_sites(mask, window_grid((6, 7, 8)), (6, 7, 8), "t.mrc") is None


def test_mask_of_another_shape_is_refused_with_both_shapes() -> None:
    mask = Volume(np.ones((6, 7, 9)), None, Path("mask.mrc"))
    with pytest.raises(InputError, match=r"mask.mrc: .*6 × 7 × 9.*t.mrc.*6 × 7 × 8"):
        masked_sites(mask, window_grid((6, 7, 8)), (6, 7, 8), "t.mrc")


def test_mask_that_leaves_nothing_is_refused_by_name() -> None:
    mask = Volume(np.zeros((6, 7, 8)), None, Path("mask.mrc"))
    with pytest.raises(InputError, match=r"mask.mrc: .*none of the 48"):
        masked_sites(mask, window_grid((6, 7, 8)), (6, 7, 8), "t.mrc")
