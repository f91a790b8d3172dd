"""Positions, box sizes and labels, worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import (
    label_from_name,
    read_box_sizes,
    read_particle_positions,
    write_box_sizes,
    write_particle_positions,
)


def test_reads_positions_with_angles(tmp_path: Path) -> None:
    path = tmp_path / "truth.txt"
    path.write_text("# SHREC\n\n1BXN 1 2.5 3 10 20 30\n  3gl1\t4 5 6e1   -1 -2 -3 99 extra\r\n")
    frame = read_particle_positions(path)
    assert list(frame.columns) == ["class", "X", "Y", "Z", "phi", "psi", "theta"]
    assert list(frame["class"]) == ["1bxn", "3gl1"]
    np.testing.assert_array_equal(
        frame.drop(columns="class").to_numpy(float), [[1, 2.5, 3, 10, 20, 30], [4, 5, 60, -1, -2, -3]]
    )


def test_angles_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "truth.txt"
    path.write_text("a 1 2 3\nb 4 5 6")
    assert list(read_particle_positions(path).columns) == ["class", "X", "Y", "Z"]
    path.write_text("a 1 2 3\nb 4 5 6 70")
    frame = read_particle_positions(path)
    assert list(frame.columns) == ["class", "X", "Y", "Z", "phi"]
    np.testing.assert_array_equal(frame["phi"], [np.nan, 70])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a 1 2 3\n\nb 1 x3 4\n", "'x3' in line 3 is not a number"),
        ("a 1 2 3\nb 1 nan 4\n", "'nan' in line 2 is not a number"),
        ("a 1 2 3 4 5 inf\n", "'inf' in line 1 is not a number"),
        ("a 1 2 3\nb 1 2\n", "line 2 has 3 of the four columns: 'b 1 2'"),
        ("", "holds no particle"),
        ("# nothing\n", "holds no particle"),
    ],
)
def test_refuses_positions(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "truth.txt"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_particle_positions(path)
    assert problem in caught.value.problem
    assert caught.value.source == str(path)


def test_refuses_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "truth.txt"
    path.write_bytes(b"a 1 2 \xff\xfe\n")
    with pytest.raises(InputError, match="not a text file"):
        read_particle_positions(path)
    with pytest.raises(InputError, match="no such file"):
        read_particle_positions(tmp_path / "missing.txt")
    with pytest.raises(InputError, match="a folder"):
        read_particle_positions(tmp_path)


@pytest.mark.parametrize(
    "columns", [["class", "X", "Y", "Z"], ["class", "X", "Y", "Z", "phi", "psi", "theta"]]
)
def test_positions_round_trip(tmp_path: Path, columns: list[str]) -> None:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.uniform(-180, 5000, (20, len(columns) - 1)), columns=columns[1:])
    frame.insert(0, "class", pd.Series(["1bxn", "3gl1"] * 10, dtype=object))
    write_particle_positions(tmp_path / "t.txt", frame)
    pd.testing.assert_frame_equal(
        read_particle_positions(tmp_path / "t.txt"), frame, atol=5.01e-4, rtol=0, check_column_type=False
    )


@pytest.mark.parametrize("given", ["17", 17, "17.0", " 17 "])
def test_one_box_size(given: str | int) -> None:
    assert read_box_sizes(given) == 17


@pytest.mark.parametrize("given", ["0", 0, -3, "-3", "17.5", "nan", "inf", True])
def test_refuses_one_box_size(given: str | int) -> None:
    with pytest.raises(InputError, match="whole number of voxels above 0"):
        read_box_sizes(given)


def test_box_sizes_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    path.write_text('{"1BXN": 20, "vesicle": null, "2df7": 33.0, "6TA5": 37, "6ta5": 37}')
    assert read_box_sizes(str(path)) == {"1bxn": 20, "2df7": 33, "6ta5": 37}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"1bxn": 0}', "the size of '1bxn' is 0"),
        ('{"1bxn": -4}', "the size of '1bxn' is -4"),
        ('{"1bxn": 4.5}', "the size of '1bxn' is 4.5"),
        ('{"1bxn": "20"}', "the size of '1bxn' is '20'"),
        ('{"1bxn": true}', "the size of '1bxn' is True"),
        ('{"1bxn": NaN}', "the size of '1bxn' is nan"),
        ('{"1bxn": [1, 2]}', "the size of '1bxn' is [1, 2]"),
        ('{"1bxn": 20, "1BXN": 21}', "'1bxn' has two sizes, 20 and 21"),
        ("[20]", "no names with sizes"),
        ('{"1bxn": 20,', "no JSON"),
        ("", "no JSON"),
    ],
)
def test_refuses_box_sizes(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "sizes.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_box_sizes(path)
    assert problem in caught.value.problem
    assert caught.value.source == str(path)


def test_missing_box_sizes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_box_sizes(tmp_path / "sizes.json")


def test_box_sizes_round_trip(tmp_path: Path) -> None:
    sizes = {"1bxn": 20, "2df7": 33}
    write_box_sizes(tmp_path / "sizes.json", sizes)
    assert read_box_sizes(tmp_path / "sizes.json") == sizes


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("model_0_1BXN_1.mrc", "1bxn"),
        ("gen01_t01_2df7_089.mrc", "2df7"),
        ("tomo_id3GL1_ref.mrc", "3gl1"),
        ("protein_5mrc.mrc", "5mrc"),
        ("tomo520_6PXM_2.mrc", "6pxm"),
        ("seen_4v94_0.mrc", "4v94"),
        ("id1BRL", "1brl"),
        ("/data/1abc_run/train/tomo500_1S3X_0.mrc", "1s3x"),
        ("C:\\data\\1abc\\seen_3cf3_1.mrc", "3cf3"),
        # Behind `id` stands the class, whatever comes before.
        ("9xyz_id1bxn_2df7.mrc", "1bxn"),
        ("model_1bxn.REC", "1bxn"),
    ],
)
def test_label(name: str, label: str) -> None:
    assert label_from_name(name) == label


@pytest.mark.parametrize(
    "name", ["reference.mrc", "model_1.mrc", "id_12_x.mrc", "1abc/reference.mrc", "a5.mrc"]
)
def test_refuses_a_name_without_a_label(name: str) -> None:
    with pytest.raises(InputError) as caught:
        label_from_name(name)
    assert caught.value.source == name


def test_fixtures(shared: Path) -> None:
    sizes = read_box_sizes(shared / "reference" / "boxsizes.json")
    assert isinstance(sizes, dict)
    assert sizes["2df7"] == 33 and sizes["7etm"] == 21
    assert all(name == name.lower() and size > 0 for name, size in sizes.items())

    seen = shared / "data" / "picking" / "seen"
    truth = read_particle_positions(seen / "particle_positions.txt")
    assert list(truth.iloc[0]) == ["4v94", 203.76, 71.43, 35.63, -34.35, 50.82, -56.82]
    assert set(truth.groupby("class").size()) == {14}
    labels = {label_from_name(path.name) for path in (seen / "references").iterdir()}
    assert labels == set(truth["class"])
    assert len(read_particle_positions(shared / "interop" / "evaluate" / "particle_positions.txt")) > 0
