"""Picks beside their similarity show the same place, and the histogram all numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import EllipseCollection

from tomotwin_lib import figures
from tomotwin_lib.products import Grid, SimilarityMap

SHAPE = (30, 50, 70)
GRID = Grid((0, 0, 0), (2, 2, 2), (15, 25, 35))


def picks(rows: list[tuple[float, float, float, int, float]]) -> pd.DataFrame:
    """Picks (x, y, z, class, similarity), boxes of 10 voxels."""
    frame = pd.DataFrame(rows, columns=["X", "Y", "Z", "predicted_class", "metric_best"])
    frame["width"] = 10
    frame.attrs["references"] = ["1abc.mrc", "2xyz.mrc"]
    return frame


def similarity(sites: np.ndarray | None = None) -> SimilarityMap:
    """0.1 but for the second reference at z, y, x = 20, 30, 40, where it is 0.9."""
    values = np.full((GRID.size, 2), 0.1, np.float32)
    values[np.ravel_multi_index((10, 15, 20), GRID.shape), 1] = 0.9
    if sites is not None:
        values = values[sites]
    return SimilarityMap(values, ["1abc.mrc", "2xyz.mrc"], GRID, sites)


@pytest.mark.parametrize("masked", [False, True])
def test_the_similarity_is_that_of_the_slice_with_the_picks(masked: bool) -> None:
    sites = np.arange(5000, 10_000) if masked else None
    frame = picks([(40, 30, 20, 1, 0.9), (10, 10, 3, 0, 0.5)])
    figure = figures.picks_beside_similarity(np.zeros(SHAPE), frame.head(1), similarity(sites), title="t")
    left, right = figure.axes[:2]
    (circle,) = [part for part in left.collections if isinstance(part, EllipseCollection)]
    assert np.asarray(circle.get_offsets()).tolist() == [[40, 30]]
    assert right.lines[0].get_xydata().tolist() == [[40, 30]]  # type: ignore[union-attr]
    shown = np.ma.filled(right.images[0].get_array(), np.nan)  # type: ignore[arg-type]
    assert np.unravel_index(np.nanargmax(shown), shown.shape) == (15, 20)
    assert np.nanmax(shown) == pytest.approx(0.9)
    assert "z = 20" in left.get_title() and "z = 20" in right.get_title()


def test_of_many_picks_the_best_are_drawn() -> None:
    frame = picks([(40, 30, 20, 1, 0.5)] * 400 + [(20, 20, 20, 1, 0.9)] * 150)
    figure = figures.picks_beside_similarity(np.zeros(SHAPE), frame, similarity())
    assert "best 150 of 550 picks" in figure.axes[0].get_title()
    assert set(figure.axes[1].lines[0].get_xdata()) == {20}  # type: ignore[arg-type]


def test_no_picks_are_drawn_as_well() -> None:
    empty = picks([])
    assert figures.png_bytes(figures.picks_beside_similarity(np.zeros(SHAPE), empty, similarity()))
    assert figures.png_bytes(figures.score_histogram(empty, similarity(), 0.5))


def test_the_histogram_counts_all_positions_and_picks() -> None:
    frame = picks([(40, 30, 20, 1, 0.9), (10, 10, 3, 0, 0.5)])
    axes = figures.score_histogram(frame, similarity(), 0.6).axes[0]
    heights = sum(bar.get_height() for bar in axes.patches)  # type: ignore[attr-defined]
    assert heights == GRID.size + 2
    assert axes.lines[0].get_xdata()[0] == 0.6  # type: ignore[index]
    empty = SimilarityMap(np.full((3, 1), np.nan, np.float32), ["a"], Grid((0, 0, 0), (1, 1, 1), (1, 1, 3)))
    assert figures.png_bytes(figures.score_histogram(frame, empty))
