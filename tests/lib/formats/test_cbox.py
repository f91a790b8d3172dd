"""`.cbox` files against one written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.cbox import read_cbox, write_cbox


@pytest.fixture
def picks() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "X": [100.0, 10.5],
            "Y": [50.0, 20.0],
            "Z": [30.0, 7.25],
            "size": [12, 40],
            "metric_best": [0.75, 0.5],
            "width": [33, 20],
            "height": [33, 20],
            "depth": [33, 20],
        }
    )


def test_corner_in_the_plane_and_centre_along_z(tmp_path: Path, picks: pd.DataFrame) -> None:
    path = tmp_path / "p.cbox"
    write_cbox(path, picks)
    lines = [" ".join(line.split()) for line in path.read_text().splitlines()]
    names = ["CoordinateX", "CoordinateY", "CoordinateZ", "Width", "Height", "Depth", "EstWidth", "EstHeight"]
    names += ["Confidence", "NumBoxes", "Angle"]
    assert [line for line in lines if line and not line.startswith("#")] == [
        "data_global",
        "_cbox_format_version 1.0",
        "data_cryolo",
        "loop_",
        *(f"_{name} #{number}" for number, name in enumerate(names, start=1)),
        "83.500000 33.500000 30.000000 33.000000 33.000000 33.000000 12.000000 12.000000 0.750000 <NA> <NA>",
        "0.500000 10.000000 7.250000 20.000000 20.000000 20.000000 40.000000 40.000000 0.500000 <NA> <NA>",
        "data_cryolo_include",
        "loop_",
        "_slice_index #1",
        "7.250000",
        "30.000000",
    ]
    np.testing.assert_allclose(read_cbox(path), picks[["X", "Y", "Z"]])


def test_one_box_and_none(tmp_path: Path, picks: pd.DataFrame) -> None:
    for count in (1, 0):
        write_cbox(tmp_path / "p.cbox", picks[:count])
        np.testing.assert_allclose(read_cbox(tmp_path / "p.cbox"), picks[["X", "Y", "Z"]][:count])


@pytest.mark.parametrize("text", ["", "data_\n\nloop_\n_a #1\n1\n2\n", "1 2 3\n"])
def test_refuses_what_has_no_boxes(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.cbox").write_text(text)
    with pytest.raises(InputError, match="holds no boxes"):
        read_cbox(tmp_path / "p.cbox")
