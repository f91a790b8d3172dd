"""Coordinate files against text written by hand and against each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.coordinates import read_coords, read_star, write_coords, write_relion3_star


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
    write_relion3_star(tmp_path / "p.star", picks[:0], "t.mrc", 10.0)
    assert read_star(tmp_path / "p.star").shape == (0, 3)


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


def test_star_holds_what_relion_and_warp_ask_for(tmp_path: Path, picks: pd.DataFrame) -> None:
    path = tmp_path / "p_relion3.star"
    write_relion3_star(path, picks, "TS 01.tomostar", 13.48)
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    columns = [line[0] for line in lines if line[0].startswith("_")]
    assert columns == [
        "_rlnMicrographName",
        "_rlnCoordinateX",
        "_rlnCoordinateY",
        "_rlnCoordinateZ",
        "_rlnMagnification",
        "_rlnDetectorPixelSize",
        "_rlnAutopickFigureOfMerit",
    ]
    table = starfile.read(path)
    assert list(table["rlnMicrographName"]) == ["TS 01.tomostar"] * 2
    # Voxel size in angstrom = detector pixel in micrometres * 10,000 / magnification.
    np.testing.assert_allclose(table["rlnDetectorPixelSize"] * 1e4 / table["rlnMagnification"], 13.48)
    np.testing.assert_allclose(table["rlnAutopickFigureOfMerit"], [0.75, 0.5])
    pd.testing.assert_frame_equal(
        read_star(path), picks[["X", "Y", "Z"]].astype(float), check_column_type=False
    )
    assert list(tmp_path.iterdir()) == [path]


def test_star_leaves_out_what_is_unknown(tmp_path: Path, picks: pd.DataFrame) -> None:
    path = tmp_path / "p.star"
    write_relion3_star(path, picks[["X", "Y", "Z"]], "t.mrc")
    assert list(starfile.read(path).columns) == [
        "rlnMicrographName",
        "rlnCoordinateX",
        "rlnCoordinateY",
        "rlnCoordinateZ",
    ]


def test_star_of_one_particle(tmp_path: Path, picks: pd.DataFrame) -> None:
    write_relion3_star(tmp_path / "p.star", picks[:1], "t.mrc", 10.0)
    np.testing.assert_array_equal(read_star(tmp_path / "p.star"), [[1.5, 2, 3]])


def test_reads_the_particles_behind_the_optics(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    path.write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 10.0\n\n"
        "data_particles\n\nloop_\n_rlnCoordinateZ #1\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n3 1 2\n6 4 5\n"
    )
    np.testing.assert_array_equal(read_star(path), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n_rlnCoordinateZ #3\n1 2 3\n4 five 6\n",
            "rlnCoordinateY of particle 2 is 'five'",
        ),
        (
            "data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n1 2\n4 5\n",
            "no table in it has the columns",
        ),
        ("1 2 3\n", "no table in it"),
        ("", "no table in it"),
    ],
)
def test_refuses_star(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "p.star"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_star(path)
    assert problem in caught.value.problem
    assert caught.value.source == str(path)


def test_missing_files(tmp_path: Path) -> None:
    for read in (read_coords, read_star):
        with pytest.raises(InputError, match="no such file"):
            read(tmp_path / "missing")
