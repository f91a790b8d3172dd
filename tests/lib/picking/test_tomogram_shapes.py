"""Whether a tomogram is the one that was picked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.tomogram_shapes import check_tomogram_of_picks, possible_shapes


def volume(*shape: int) -> Volume:
    return Volume(np.zeros(shape, dtype=np.float32), 10.0, Path("t.mrc"))


def picks(*rows: tuple[float, float, float], **attributes: Any) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["X", "Y", "Z"], dtype=float)
    frame.attrs.update(attributes)
    return frame


@pytest.mark.parametrize(
    ("attributes", "shapes"),
    [
        ({}, []),
        ({"tomogram_input_shape": (40, 50, 60)}, [(40, 50, 60)]),
        # 37 voxels of window are 18 of padding on each side.
        ({"tomogram_input_shape": [76, 86, 96], "padding": True}, [(40, 50, 60), (76, 86, 96)]),
        (
            {"tomogram_input_shape": (60, 70, 80), "padding": True, "window_size": 21},
            [(40, 50, 60), (60, 70, 80)],
        ),
    ],
)
def test_shapes_that_the_attributes_tell(attributes: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    assert possible_shapes(attributes) == shapes


def test_another_shape_is_refused_with_both_named() -> None:
    padded = picks((59, 49, 39), tomogram_input_shape=(76, 86, 96), padding=True)
    check_tomogram_of_picks(volume(40, 50, 60), padded, "")
    for shape in ((40, 50, 61), (60, 50, 40), (80, 100, 120)):
        with pytest.raises(InputError) as caught:
            check_tomogram_of_picks(volume(*shape), padded, "Give another")
        assert "×".join(map(str, shape)) in caught.value.problem
        assert "40×50×60" in caught.value.problem
        assert (caught.value.source, caught.value.remedy) == ("t.mrc", "Give another")


def test_picks_outside_are_refused_where_no_shape_is_told() -> None:
    check_tomogram_of_picks(volume(40, 50, 60), picks((59, 49, 39), (0, 0, 0), (59.4, 49.4, 39.4)), "")
    check_tomogram_of_picks(volume(40, 50, 60), picks(), "")
    for outside in ((59.6, 49, 39), (39, 49, 59), (0, -0.6, 0)):
        with pytest.raises(InputError, match=r"1 of 2 picks lie outside its 40×50×60 voxels"):
            check_tomogram_of_picks(volume(40, 50, 60), picks((1, 2, 3), outside), "")
