from __future__ import annotations

import numpy as np
import pandas as pd

from tomotwin_lib.picking import above, keep_picks, limits_below


def picks() -> pd.DataFrame:
    frame = pd.DataFrame({"metric_best": np.float32([0.51, 0.62, 0.73, 0.84]), "size": [10, 20, 30, 40]})
    frame.attrs["references"] = ["a.mrc"]
    return frame


def test_no_limit_keeps_all() -> None:
    kept = keep_picks(picks())
    pd.testing.assert_frame_equal(kept, picks())
    assert kept.attrs == {"references": ["a.mrc"]}


def test_limits_are_strict() -> None:
    assert keep_picks(picks(), minimum_metric=0.55, maximum_metric=0.8)["size"].tolist() == [20, 30]
    assert keep_picks(picks(), minimum_size=10, maximum_size=40)["size"].tolist() == [20, 30]
    assert keep_picks(picks(), minimum_size=20)["size"].tolist() == [30, 40]
    assert keep_picks(picks(), maximum_size=0)["size"].tolist() == [10, 20, 30, 40]
    assert keep_picks(picks(), minimum_metric=0.62, maximum_size=35)["size"].tolist() == [30]


def test_half_precision_is_compared_as_such() -> None:
    halves = np.float16([0.7, 0.7007]).astype(np.float32)
    assert halves[0] > 0.7
    assert above(halves, 0.7).tolist() == [False, True]
    assert above(np.float32([0.70019, 0.70021]), 0.7).tolist() == [True, True]
    assert above(np.float32([]), 0.7).tolist() == []
    assert above(np.float32([-1e9, 0.5]), 0.4).tolist() == [False, True]


def test_counting_limits_is_comparing_with_each() -> None:
    limits = np.array([-0.1, 0.5, 0.7, 0.7, 0.9])
    values = [-0.2, 0.5, 0.6, 0.7, 0.70001, 2.0]
    for metric in (np.float16(values).astype(np.float32), np.float32(values), np.array(values)):
        expected = np.sum([above(metric, float(limit)) for limit in limits], axis=0)
        assert limits_below(metric, limits).tolist() == expected.tolist()
    assert limits_below(np.array([5000, 0, 4097]), np.array([0.5, 4096.5])).tolist() == [2, 0, 2]
    assert limits_below(np.array([np.nan, np.inf]), limits).tolist() == [0, 5]
