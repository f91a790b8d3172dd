"""Subvolumes cut out of a tomogram."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.extraction import extract_subvolumes
from tomotwin_lib.formats.volumes import Volume, read_volume, write_volume


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """Every voxel says where it is: 100 z + 10 y + x, negative as protein in a tomogram."""
    z, y, x = np.ogrid[:8, :9, :10]
    write_volume(tmp_path / "t.mrc", -(100 * z + 10 * y + x).astype(np.float32), 10.0)
    return read_volume(tmp_path / "t.mrc")


def positions(*rows: tuple[float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["X", "Y", "Z"], dtype=float)


def test_cubes_are_centred_and_bright(volume: Volume) -> None:
    (cube,) = extract_subvolumes(volume, positions((4, 3, 2)), size=5).values()
    assert cube.shape == (5, 5, 5)
    assert cube[2, 2, 2] == 234
    assert cube[0, 0, 0] == 12
    assert cube[4, 4, 4] == 456


def test_positions_are_rounded_to_the_nearest_voxel(volume: Volume) -> None:
    cubes = extract_subvolumes(volume, positions((4.6, 2.6, 2.4)), size=3)
    assert cubes[0][1, 1, 1] == 235


def test_what_reaches_beyond_the_tomogram_is_left_out(volume: Volume) -> None:
    # With a size of 5 the first centre that fits is 2, the last ones (x, y, z) are 7, 6 and 5.
    rows = positions((1, 3, 3), (2, 2, 2), (7, 6, 5), (8, 6, 5), (7, 7, 5), (7, 6, 6))
    assert list(extract_subvolumes(volume, rows, size=5)) == [1, 2]


def test_refuses_even_sizes_and_positions_of_another_tomogram(volume: Volume) -> None:
    with pytest.raises(InputError, match="36 is no edge"):
        extract_subvolumes(volume, positions((4, 3, 2)), size=36)
    with pytest.raises(InputError, match=r"all 1 positions lie outside its 10 × 9 × 8 voxels.*40 30 20"):
        extract_subvolumes(volume, positions((40, 30, 20)), size=5)
    with pytest.raises(InputError, match="none of the 2 positions is 2 voxels or more"):
        extract_subvolumes(volume, positions((40, 30, 20), (1, 3, 3)), size=5)
