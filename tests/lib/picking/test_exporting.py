"""Picks for other programs: which voxels they are counted in, and what must be known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile

from tomotwin_lib.errors import InputError
from tomotwin_lib.exporting import FORMATS, check_formats, destination_of, export_picks, scale_picks
from tomotwin_lib.formats.cbox import read_cbox
from tomotwin_lib.formats.coordinates import read_coords
from tomotwin_lib.formats.star import read_star

SHAPE = (6, 8, 9)
TILT_SERIES = ("relion4", "relion5")


@pytest.fixture
def picks() -> pd.DataFrame:
    columns = {"X": [4.0, 7.5], "Y": [3.0, 0.0], "Z": [2.0, 5.0], "size": [9, 5], "metric_best": [0.9, 0.6]}
    return pd.DataFrame({**columns, "width": 7, "height": 7, "depth": 7})


@pytest.mark.parametrize("output_voxel_size", [None, 10.0, 5.0, 2.0])
def test_every_format_comes_back_as_the_same_places(
    tmp_path: Path, picks: pd.DataFrame, output_voxel_size: float | None
) -> None:
    to = destination_of("t.mrc", SHAPE, 10.0, output_voxel_size_in_angstrom=output_voxel_size)
    formats = [name for name in FORMATS if output_voxel_size or name not in TILT_SERIES]
    check_formats(formats, to, "test", "test")
    paths = export_picks(tmp_path, "p", picks, formats, to)
    assert sorted(paths) == sorted(tmp_path.iterdir())
    for path in paths:
        read = {".coords": read_coords, ".cbox": read_cbox, ".star": read_star}[path.suffix]
        angstrom = read(path).to_numpy() * (output_voxel_size or 10.0)
        np.testing.assert_allclose(angstrom, picks[["X", "Y", "Z"]] * 10.0, atol=1e-3, err_msg=path.name)


def test_the_centre_of_the_first_voxel_stays_at_zero_and_boxes_grow(picks: pd.DataFrame) -> None:
    scaled = scale_picks(picks, 7.4)
    assert scaled["X"].tolist() == [4 * 7.4, 7.5 * 7.4]
    assert scaled["width"].tolist() == [52, 52]  # 7 × 7.4 = 51.8
    assert scaled["size"].tolist() == [9, 5]
    assert picks["X"].tolist() == [4.0, 7.5]


def test_the_size_is_that_of_the_tomogram_scaled_unless_it_is_given() -> None:
    assert destination_of("t.mrc", SHAPE, 10.0).tomogram_size == (9, 8, 6)
    # 9, 8, 6 × 10 / 2.7 = 33.3, 29.6, 22.2
    scaled = destination_of("t.mrc", SHAPE, 10.0, output_voxel_size_in_angstrom=2.7)
    assert scaled.tomogram_size == (33, 30, 22)
    assert destination_of("t.mrc", SHAPE, 10.0, tomogram_size=(34, 30, 22)).tomogram_size == (34, 30, 22)


@pytest.mark.parametrize(
    ("name", "shape", "voxel_size", "problem"),
    [
        ("relion7", SHAPE, 10.0, "'relion7' is no format"),
        ("relion31", SHAPE, None, "needs the voxel size"),
        ("relion4", SHAPE, None, "those of the tomogram (unknown) may be binned"),
        ("relion5", SHAPE, 10.0, "those of the tomogram (10 Å) may be binned"),
    ],
)
def test_refuses_what_cannot_be_written(
    name: str, shape: tuple[int, int, int] | None, voxel_size: float | None, problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_formats([name], destination_of("t.mrc", shape, voxel_size), "--formats", "--size")
    assert problem in caught.value.problem


def test_relion5_needs_the_size_of_the_tomogram() -> None:
    to = destination_of("t.mrc", None, 10.0, output_voxel_size_in_angstrom=10.0)
    with pytest.raises(InputError, match="whose size is not known"):
        check_formats(["relion5"], to, "--formats", "--size")


@pytest.mark.parametrize("name", TILT_SERIES)
def test_voxels_of_the_tilt_series_must_be_asked_for_even_if_they_are_those_of_the_tomogram(
    name: str,
) -> None:
    with pytest.raises(InputError, match=r"--size, such as 1\.35, .* not binned: 10\."):
        check_formats([name], destination_of("t.mrc", SHAPE, 10.0), "--formats", "--size")
    for size in (10.0, 1.35):
        to = destination_of("t.mrc", SHAPE, 10.0, output_voxel_size_in_angstrom=size)
        check_formats([name], to, "--formats", "--size")


@pytest.mark.parametrize(
    ("file_name", "name", "relion3", "relion5", "warp"),
    [
        ("TS_01_10.00Apx.mrc", None, "TS_01_10.00Apx.mrc", "TS_01_10.00Apx", "TS_01.tomostar"),
        ("TS_01.mrc", None, "TS_01.mrc", "TS_01", "TS_01.tomostar"),
        ("a_12Apx.rec", None, "a_12Apx.rec", "a_12Apx", "a.tomostar"),
        # What is given is taken as it stands, points and all.
        ("rec.mrc", "TS_1.5", "TS_1.5", "TS_1.5", "TS_1.5.tomostar"),
        ("rec.mrc", "TS_01.tomostar", "TS_01.tomostar", "TS_01.tomostar", "TS_01.tomostar"),
    ],
)
def test_what_the_next_program_calls_the_tomogram(
    tmp_path: Path,
    picks: pd.DataFrame,
    file_name: str,
    name: str | None,
    relion3: str,
    relion5: str,
    warp: str,
) -> None:
    to = destination_of(file_name, SHAPE, 10.0, output_voxel_size_in_angstrom=10.0, name=name)
    export_picks(tmp_path, "p", picks, list(FORMATS), to)
    for form, column, expected in (
        ("relion3", "rlnMicrographName", relion3),
        ("relion31", "rlnMicrographName", relion3),
        ("relion4", "rlnTomoName", relion5),
        ("relion5", "rlnTomoName", relion5),
        ("warp", "rlnMicrographName", warp),
    ):
        blocks = starfile.read(tmp_path / f"p_{form}.star", always_dict=True)
        assert set(list(blocks.values())[-1][column]) == {expected}, form


@pytest.mark.parametrize("name", ["", "  ", "a\nb"])
def test_refuses_names_that_are_none(name: str) -> None:
    with pytest.raises(InputError, match="tomogram name"):
        destination_of("t.mrc", SHAPE, 10.0, name=name)


@pytest.mark.parametrize(
    ("voxel_size", "options", "problem"),
    [
        (None, {"output_voxel_size_in_angstrom": 5.0}, "its voxel size is not known"),
        (10.0, {"output_voxel_size_in_angstrom": -5.0}, "-5 Å is none"),
        (float("nan"), {}, "nan Å is none"),
        (10.0, {"tomogram_size": (0, 8, 9)}, "[0, 8, 9] is none"),
    ],
)
def test_refuses_impossible_sizes(voxel_size: float | None, options: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        destination_of("t.mrc", SHAPE, voxel_size, **options)  # type: ignore[arg-type]
    assert problem in caught.value.problem
