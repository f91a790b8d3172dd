from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.boxes import (
    box_size_of,
    class_of_reference,
    cube_iou,
    differing_boxes,
    farthest_overlap,
)
from tomotwin_lib.errors import InputError


def test_iou_by_hand() -> None:
    assert cube_iou([0, 0, 0], 10, [0, 0, 0], 10) == 1
    assert cube_iou([0, 0, 0], 10, [5, 0, 0], 10) == pytest.approx(500 / 1500)
    assert cube_iou([0, 0, 0], 10, [5, 5, 5], 10) == pytest.approx(125 / 1875)
    assert cube_iou([0, 0, 0], 10, [1, 2, 0], 6) == pytest.approx(216 / 1000)
    assert cube_iou([0, 0, 0], 10, [10, 0, 0], 10) == 0
    assert cube_iou([0, 0, 0], 10, [30, 0, 0], 10) == 0
    assert cube_iou([[0, 0, 0], [5, 0, 0]], [10, 10], [0, 0, 0], 10) == pytest.approx([1, 1 / 3])


def test_no_overlap_beyond_the_reach() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.uniform(1, 10, (2, 2000))
    a, b = rng.uniform(0, 4, (2, 2000, 3))
    iou = cube_iou(a, sizes[0], b, sizes[1])
    apart = np.abs(a - b).max(axis=1)
    for limit in (0.05, 0.3, 0.6):
        over = iou > limit
        assert over.any()
        assert (apart[over] <= farthest_overlap(10, limit)).all()
    assert cube_iou([0, 0, 0], 10, [farthest_overlap(10, 0.6), 0, 0], 10) == pytest.approx(0.6)


@pytest.mark.parametrize("key", ["Seen_1BXN_0.mrc", "seen_1bxn_0", "1bxn"])
def test_sizes_by_name_or_label(key: str) -> None:
    assert box_size_of("seen_1bxn_0.mrc", {key: 20, "5mrc": 37}) == 20


def test_the_file_name_goes_before_the_label() -> None:
    assert box_size_of("seen_1bxn_0.mrc", {"1bxn": 20, "seen_1bxn_0": 22}) == 22


def test_one_size_for_all() -> None:
    assert box_size_of("anything.mrc", 37) == 37


def test_names_without_a_label() -> None:
    assert box_size_of("ribosome.mrc", {"Ribosome": 25}) == 25
    assert class_of_reference("ribosome.mrc", ["ribosome", "barrel"]) == "ribosome"
    assert class_of_reference("shell.mrc", ["ribosome", "barrel"]) is None


def test_a_missing_size_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"seen_3gl1_0\.mrc.*1bxn, 5mrc.*3gl1"):
        box_size_of("seen_3gl1_0.mrc", {"1bxn": 20, "5mrc": 37})
    with pytest.raises(InputError, match="-3"):
        box_size_of("a.mrc", -3)


def test_boxes_that_picks_were_not_located_with_are_told() -> None:
    picks = pd.DataFrame({"predicted_class": [0, 0, 1], "width": [17, 17, 33]})
    picks.attrs["references"] = ["1bxn.mrc", "4cr2.mrc", "4v94.mrc"]
    assert differing_boxes(picks, {"1bxn": 17, "4cr2": 33, "4v94": 39}) is None
    assert differing_boxes(picks, 17) == "boxes differ: 4cr2.mrc with 33 and scored with 17 voxels"
