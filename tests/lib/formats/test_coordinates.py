"""`.coords` files against text written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.coordinates import read_coords, write_coords


@pytest.fixture
def picks() -> pd.DataFrame:
    columns = {"Z": [3.0, 30.25], "X": [1.5, 4096.125], "Y": [2.0, 20.0], "metric_best": [0.75, 0.5]}
    return pd.DataFrame(columns, dtype=np.float32)


def test_coords_are_x_y_z_without_a_header(tmp_path: Path, picks: pd.DataFrame) -> None:
    path = tmp_path / "p.coords"
    write_coords(path, picks)
    assert path.read_text() == "1.500 2.000 3.000\n4096.125 20.000 30.250\n"
    pd.testing.assert_frame_equal(
        read_coords(path), picks[["X", "Y", "Z"]].astype(float), check_column_type=False
    )
    assert list(tmp_path.iterdir()) == [path]


def test_no_picks(tmp_path: Path, picks: pd.DataFrame) -> None:
    write_coords(tmp_path / "p.coords", picks[:0])
    assert (tmp_path / "p.coords").read_text() == ""
    assert read_coords(tmp_path / "p.coords").shape == (0, 3)


def test_reads_coords_as_other_programs_write_them(tmp_path: Path) -> None:
    path = tmp_path / "p.coords"
    path.write_text("  1\t2   3\r\n\n4.5 5 6e1\n")
    np.testing.assert_array_equal(read_coords(path), [[1, 2, 3], [4.5, 5, 60]])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 2 3\n4 five 6\n", "'five' in line 2 is not a number"),
        ("1 2 3\n\n4 5\n", "line 3 has 2 columns: '4 5'"),
        ("1 2 3 4\n", "line 1 has 4 columns"),
        ("1 2 nan\n", "'nan' in line 1 is not a number"),
    ],
)
def test_refuses_coords(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "p.coords"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_coords(path)
    assert problem in caught.value.problem


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_coords(tmp_path / "missing")
