from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib import neighbours, suppression
from tomotwin_lib.suppression import cube_iou, suppress_overlapping


def picks_of(*rows: tuple[float, float, float, float], width: int = 10) -> pd.DataFrame:
    """Picks from rows of X, Y, Z and metric."""
    frame = pd.DataFrame(rows, columns=["X", "Y", "Z", "metric_best"])
    return frame.assign(width=width)


def test_the_best_pick_survives() -> None:
    # TomoTwin walks from the worst pick up and keeps 0.6 here.
    kept = suppress_overlapping(picks_of((0, 0, 0, 0.6), (1, 0, 0, 0.9)))
    assert kept["metric_best"].tolist() == [0.9]
    assert kept["X"].tolist() == [1]


def test_a_dropped_pick_drops_nobody() -> None:
    # Each overlaps its neighbours only: 0.9 drops 0.8, which leaves 0.7 its place.
    chain = picks_of((4, 0, 0, 0.7), (2, 0, 0, 0.8), (0, 0, 0, 0.9))
    assert suppress_overlapping(chain)["metric_best"].tolist() == [0.9, 0.7]


def test_the_limit_itself_is_no_overlap() -> None:
    # A shift of a quarter of the edge gives an IoU of exactly 0.6.
    assert len(suppress_overlapping(picks_of((0, 0, 0, 0.9), (2.5, 0, 0, 0.8)))) == 2
    assert len(suppress_overlapping(picks_of((0, 0, 0, 0.9), (2.49, 0, 0, 0.8)))) == 1


def test_order_attributes_and_empty() -> None:
    picks = picks_of((0, 0, 0, 0.5), (50, 0, 0, 0.9), (90, 0, 0, 0.7))
    picks.attrs["references"] = ["a.mrc"]
    kept = suppress_overlapping(picks)
    assert kept["metric_best"].tolist() == [0.9, 0.7, 0.5]
    assert kept.index.tolist() == [0, 1, 2] and kept.attrs == {"references": ["a.mrc"]}
    assert suppress_overlapping(picks.iloc[:0]).empty


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.6])
@pytest.mark.parametrize(("rows", "pairs"), [(4096, 1 << 18), (64, 100), (7, 1)])
def test_equals_comparing_all_with_all(
    overlap: float, rows: int, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppression, "_ROWS", rows)
    monkeypatch.setattr(neighbours, "_PAIRS", pairs)
    rng = np.random.default_rng(4)
    picks = pd.DataFrame(rng.uniform(0, 40, (400, 3)), columns=["X", "Y", "Z"]).astype(np.float32)
    picks["metric_best"] = rng.permutation(400) / 400
    picks["width"] = rng.integers(5, 15, 400)
    ordered = picks.sort_values("metric_best", ascending=False)
    centres, sizes = ordered[["X", "Y", "Z"]].to_numpy(np.float64), ordered["width"].to_numpy()
    survivors = np.empty(0, dtype=np.int64)
    for row in range(400):
        if (cube_iou(centres[row], sizes[row], centres[survivors], sizes[survivors]) <= overlap).all():
            survivors = np.append(survivors, row)
    kept = suppress_overlapping(picks, overlap)
    assert 10 < len(kept) < 390
    np.testing.assert_array_equal(kept["metric_best"], ordered["metric_best"].to_numpy()[survivors])


def test_memory_is_bounded_where_many_picks_lie_in_one_place() -> None:
    rng = np.random.default_rng(5)
    picks = pd.DataFrame(rng.uniform(0, 4, (6000, 3)), columns=["X", "Y", "Z"])
    picks["metric_best"], picks["width"] = rng.random(6000), 37
    tracemalloc.start()
    try:
        kept = suppress_overlapping(picks)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The 18 million pairs alone would take 288 MB; 50 MB were measured, as for twice the picks.
    assert peak < 80e6
    assert 0 < len(kept) < 20
