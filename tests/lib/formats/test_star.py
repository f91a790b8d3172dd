"""STAR files against tables worked out by hand and against each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.star import (
    read_star,
    write_relion3_star,
    write_relion4_star,
    write_relion5_star,
    write_relion31_star,
    write_warp_star,
)


@pytest.fixture
def picks() -> pd.DataFrame:
    columns = {"Z": [3.0, 30.25], "X": [1.5, 4096.125], "Y": [2.0, 20.0], "metric_best": [0.75, 0.5]}
    return pd.DataFrame(columns, dtype=np.float32)


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


def lines_of(path: Path) -> list[str]:
    """The lines of a file with single blanks, without empty lines and without starfile's own comments."""
    lines = [" ".join(line.split()) for line in path.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("# Created by")]


def test_relion31_keeps_the_voxel_size_in_its_optics(tmp_path: Path, picks: pd.DataFrame) -> None:
    path = tmp_path / "p.star"
    write_relion31_star(path, picks, "t.mrc", 13.48)
    blocks = starfile.read(path)
    assert blocks["optics"]["rlnImagePixelSize"].tolist() == [13.48]
    assert blocks["optics"]["rlnOpticsGroup"].tolist() == [1]
    assert blocks["particles"]["rlnOpticsGroup"].tolist() == [1, 1]
    np.testing.assert_allclose(read_star(path), picks[["X", "Y", "Z"]])


def test_relion4_as_written_by_hand(tmp_path: Path, picks: pd.DataFrame) -> None:
    path = tmp_path / "p.star"
    write_relion4_star(path, picks, "TS_01")
    assert lines_of(path) == [
        "data_particles",
        "loop_",
        "_rlnTomoName #1",
        "_rlnCoordinateX #2",
        "_rlnCoordinateY #3",
        "_rlnCoordinateZ #4",
        "_rlnAutopickFigureOfMerit #5",
        "TS_01 1.500000 2.000000 3.000000 0.750000",
        "TS_01 4096.125000 20.000000 30.250000 0.500000",
    ]


# A tomogram of 9 × 8 × 6 voxels (x, y, z) of 10 Å: half its size is 4.5, 4 and 3. The voxel (4, 4, 2) is half
# a voxel, none, and one voxel before the centre.
def test_relion5_of_odd_and_even_sizes_as_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    picks = pd.DataFrame({"X": [4.0, 9.0], "Y": [4.0, 0.0], "Z": [2.0, 3.5], "metric_best": [0.75, 0.5]})
    write_relion5_star(path, picks, "TS_01", 10.0, (9, 8, 6))
    assert lines_of(path) == [
        "# coordinates count from (x, y, z) = (4.5, 4, 3) voxels of 10 Å",
        "data_particles",
        "loop_",
        "_rlnTomoName #1",
        "_rlnCenteredCoordinateXAngst #2",
        "_rlnCenteredCoordinateYAngst #3",
        "_rlnCenteredCoordinateZAngst #4",
        "_rlnAutopickFigureOfMerit #5",
        "_rlnTomoTiltSeriesPixelSize #6",
        "_rlnTomoSizeX #7",
        "_rlnTomoSizeY #8",
        "_rlnTomoSizeZ #9",
        "TS_01 -5.000000 0.000000 -10.000000 0.750000 10.000000 9 8 6",
        "TS_01 45.000000 -40.000000 5.000000 0.500000 10.000000 9 8 6",
    ]
    np.testing.assert_allclose(read_star(path), picks[["X", "Y", "Z"]])


def test_relion5_counts_from_another_centre_if_told(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    picks = pd.DataFrame({"X": [4.0, 5.0], "Y": [4.0, 5.0], "Z": [2.0, 3.0]})
    write_relion5_star(path, picks, "t", 10.0, (9, 8, 6), centre=(4, 4, 2))
    assert lines_of(path)[-2] == "t 0.000000 0.000000 0.000000 10.000000 9 8 6"
    np.testing.assert_allclose(read_star(path, centre=(4, 4, 2)), [[4, 4, 2], [5, 5, 3]])


def test_relion5_without_the_tomogram_cannot_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    names = "".join(f"_rlnCenteredCoordinate{axis}Angst #{n}\n" for n, axis in enumerate("XYZ", 1))
    path.write_text(f"data_particles\n\nloop_\n{names}1 2 3\n4 5 6\n")
    with pytest.raises(InputError, match="rlnTomoTiltSeriesPixelSize"):
        read_star(path)


def test_warp_knows_the_tilt_series(tmp_path: Path, picks: pd.DataFrame) -> None:
    write_warp_star(tmp_path / "p.star", picks, "TS_01", 10.0)
    assert set(starfile.read(tmp_path / "p.star")["rlnMicrographName"]) == {"TS_01.tomostar"}
    np.testing.assert_allclose(read_star(tmp_path / "p.star"), picks[["X", "Y", "Z"]])


def test_star_without_picks(tmp_path: Path, picks: pd.DataFrame) -> None:
    write_relion3_star(tmp_path / "3.star", picks[:0], "t.mrc", 10.0)
    write_relion5_star(tmp_path / "5.star", picks[:0], "t.mrc", 10.0, (9, 8, 6))
    for name in ("3.star", "5.star"):
        assert read_star(tmp_path / name).shape == (0, 3)


def test_missing_star(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_star(tmp_path / "missing")


def star(*columns: str, rows: str, table: str = "particles") -> str:
    """A table as RELION writes it."""
    names = "".join(f"_{name} #{number}\n" for number, name in enumerate(columns, 1))
    return f"data_{table}\n\nloop_\n{names}{rows}\n\n"


PLACES = ("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")
CENTRED = tuple(f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ")
SIZES = ("rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ")


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        (star(*PLACES, rows="1 2 3\n4 5 6"), []),
        (star(*PLACES, "rlnMagnification", "rlnDetectorPixelSize", rows="1 2 3 20000 14"), [7.0]),
        (star(*PLACES, "rlnMagnification", "rlnDetectorPixelSize", rows="1 2 3 0 14"), []),
        (
            star("rlnOpticsGroup", "rlnImagePixelSize", rows="1 10", table="optics")
            + star(*PLACES, "rlnOpticsGroup", rows="1 2 3 1\n4 5 6 1"),
            [10.0],
        ),
        (  # one table of optics, and particles that do not say which is theirs
            star("rlnOpticsGroup", "rlnImagePixelSize", rows="1 10", table="optics")
            + star(*PLACES, rows="1 2 3"),
            [10.0],
        ),
        (  # RELION 4: boxes binned to 10 Å, coordinates in voxels of the tilt series all the same
            star(
                "rlnOpticsGroup", "rlnImagePixelSize", "rlnTomoTiltSeriesPixelSize",
                rows="1 10 2.5", table="optics",
            )
            + star(*PLACES, "rlnOpticsGroup", rows="1 2 3 1"),
            [2.5],
        ),
        (
            star("rlnOpticsGroup", "rlnImagePixelSize", rows="1 10\n2 5\n3 7", table="optics")
            + star(*PLACES, "rlnOpticsGroup", rows="1 2 3 2\n4 5 6 1"),
            [5.0, 10.0],
        ),
    ],
)  # fmt: skip
def test_tells_the_voxel_size_where_the_file_does(tmp_path: Path, text: str, sizes: list[float]) -> None:
    path = tmp_path / "p.star"
    path.write_text(text)
    read = read_star(path)
    assert read.attrs == {"voxel_sizes_in_angstrom": sizes}
    assert read.iloc[0].tolist() == [1, 2, 3]


def test_relion5_finds_the_voxel_size_among_the_optics(tmp_path: Path) -> None:
    # Half of 40 × 30 × 20 voxels of 5 Å is (20, 15, 10); 10 Å are two voxels.
    path = tmp_path / "p.star"
    optics = star("rlnOpticsGroup", "rlnTomoTiltSeriesPixelSize", rows="1 5", table="optics")
    particles = star(*CENTRED, *SIZES, "rlnOpticsGroup", rows="10 -20 0 40 30 20 1\n0 0 5 40 30 20 1")
    path.write_text(optics + particles)
    read = read_star(path)
    assert read.to_numpy().tolist() == [[22, 11, 10], [20, 15, 11]]
    assert read.attrs["voxel_sizes_in_angstrom"] == [5.0]
    path.write_text(optics.replace("1 5", "1 0") + particles)
    with pytest.raises(InputError, match="rlnTomoTiltSeriesPixelSize is 0 Å"):
        read_star(path)


@pytest.mark.parametrize("voxel_size", [13.48, 1.35])
def test_the_voxel_size_that_was_written_comes_back(
    tmp_path: Path, picks: pd.DataFrame, voxel_size: float
) -> None:
    write_relion3_star(tmp_path / "3.star", picks, "t.mrc", voxel_size)
    write_relion31_star(tmp_path / "31.star", picks, "t.mrc", voxel_size)
    write_relion5_star(tmp_path / "5.star", picks, "t", voxel_size, (9, 8, 6))
    write_warp_star(tmp_path / "w.star", picks[:1], "t", voxel_size)
    for name in ("3", "31", "5", "w"):
        read = read_star(tmp_path / f"{name}.star")
        assert read.attrs["voxel_sizes_in_angstrom"] == pytest.approx([voxel_size])
