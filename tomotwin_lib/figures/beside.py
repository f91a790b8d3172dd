"""Picks and what they were found by, side by side: a slice of the tomogram, and of the similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from tomotwin_lib.embedding.quality import sampled_rows
from tomotwin_lib.figures.classes import pick_classes
from tomotwin_lib.figures.picks import (
    MOST_PICKS,
    XY,
    best_picks,
    densest,
    draw_picks,
    draw_slice,
    pick_legend,
    scale_bar,
)
from tomotwin_lib.figures.style import GREY, PALETTE, colour, new_figure, say_empty, tidy
from tomotwin_lib.products import SimilarityMap

_PANEL_INCHES = 4.6
_BINS = 80
_SAMPLED = 2**18


def picks_beside_similarity(
    volume: npt.NDArray[Any],
    picks: pd.DataFrame,
    similarity: SimilarityMap,
    *,
    voxel_size_in_angstrom: float | None = None,
    title: str | None = None,
) -> Figure:
    """The xy slice that shows most of the picks, and the highest similarity to any reference there.

    The best picks are circles there and dots here: a bright spot without a dot was not taken.

    Parameters
    ----------
    volume : (z, y, x), may be memory-mapped.
    picks : as in :func:`~tomotwin_lib.figures.picks.orthoslices_with_picks`.
    similarity : the map that they were found in.
    """
    best, shown = best_picks(picks, MOST_PICKS)
    classes = pick_classes(best, None, None)
    layer = densest(volume.shape, classes)[0]
    height, width = volume.shape[1:]
    panel = _PANEL_INCHES * min(max(height / width, 0.3), 2.0)
    figure = new_figure(2 * _PANEL_INCHES + 0.8, panel + 0.7 + (0.7 if classes.labels else 0.0))
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    draw_slice(left, volume, XY, layer)
    left.set(xlabel="X", ylabel="Y")
    left.set_title(f"tomogram, z = {layer}{shown}", fontsize=10)
    at, highest = _highest(similarity, layer)
    z, y, x = similarity.grid.axes()
    _, stride_y, stride_x = similarity.grid.stride
    finite = highest[np.isfinite(highest)]
    low, high = (float(np.median(finite)), float(finite.max())) if finite.size else (0.0, 1.0)
    image = right.imshow(
        highest,
        origin="lower",
        cmap="magma",
        extent=(x[0] - stride_x / 2, x[-1] + stride_x / 2, y[0] - stride_y / 2, y[-1] + stride_y / 2),
        vmin=low,
        vmax=max(high, low + 1e-3),
    )
    right.set(xlabel="X")
    right.set_title(f"highest similarity to any reference, z = {z[at]}", fontsize=10)
    right.tick_params(labelsize=7, length=2.5)
    figure.colorbar(image, ax=right, shrink=0.8, pad=0.02, label="similarity")
    draw_picks(left, classes, XY, layer)
    # The same ones as the circles: those whose sphere the slice cuts.
    cut = np.abs(classes.positions[:, 0] - layer) <= classes.radii * np.sqrt(0.75)
    for index in range(len(classes.labels)):
        chosen = classes.positions[cut & (classes.classes == index)]
        right.plot(
            chosen[:, 2], chosen[:, 1], "o", color=colour(index), markersize=4, markeredgecolor="white",
            markeredgewidth=0.6,
        )  # fmt: skip
    left.set_xlim(-0.5, width - 0.5)
    left.set_ylim(-0.5, height - 0.5)
    if voxel_size_in_angstrom:
        scale_bar(left, width, height, voxel_size_in_angstrom)
    if title:
        figure.suptitle(title, fontsize=11)
    if classes.labels:
        pick_legend(figure, classes)
    return figure


def score_histogram(picks: pd.DataFrame, similarity: SimilarityMap, lowest: float | None = None) -> Figure:
    """Similarities of the picks against those of all positions of the tomogram, on a logarithmic scale.

    Picks that stand off from the grey can be told from background; those that lie in it cannot.

    Parameters
    ----------
    picks : column ``metric_best``.
    similarity : the map that they were found in; each position counts with its most similar reference.
    lowest : similarity that a pick had to have; drawn as a vertical line.
    """
    figure = new_figure(8, 3.8)
    axes = figure.add_subplot()
    rows = sampled_rows(len(similarity.values), _SAMPLED)
    values = np.asarray(similarity.values[rows], dtype=np.float32)
    positions = np.where(np.isfinite(values), values, -np.inf).max(axis=1, initial=-np.inf)
    positions = positions[np.isfinite(positions)]
    if not positions.size:
        say_empty(axes, "the map holds no value")
        return figure
    scores = picks["metric_best"].to_numpy(dtype=float)
    low, high = float(positions.min()), float(max(positions.max(), *scores, positions.min() + 0.01))
    edges = np.linspace(low, high, _BINS + 1).tolist()
    # The sample stands for all positions.
    weights = np.full(positions.shape, len(similarity.values) / len(rows))
    axes.hist(positions, edges, weights=weights, color="#bbbbbb", label="all positions")
    axes.hist(scores, edges, color=PALETTE[0], label=f"{len(scores):,} picks")
    if lowest is not None and low < lowest < high:
        axes.axvline(
            lowest, color=GREY, linewidth=1, linestyle=(0, (2, 2)), label=f"lowest similarity {lowest:g}"
        )
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.set(xlabel="similarity to the most similar reference", ylabel="positions, picks")
    tidy(axes, grid="y")
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure


def _highest(similarity: SimilarityMap, layer: int) -> tuple[int, npt.NDArray[np.float32]]:
    """Index of the grid's layer nearest to a z, and the highest similarity there, (y, x)."""
    grid = similarity.grid
    at = int(np.abs(grid.axes()[0] - layer).argmin())
    size = grid.shape[1] * grid.shape[2]
    begin, end = at * size, (at + 1) * size
    highest = np.full(size, np.nan, np.float32)
    if similarity.sites is None:
        highest[:] = np.asarray(similarity.values[begin:end], dtype=np.float32).max(axis=1)
    else:
        first, last = np.searchsorted(similarity.sites, (begin, end))
        if first < last:
            values = np.asarray(similarity.values[first:last], dtype=np.float32)
            highest[similarity.sites[first:last] - begin] = values.max(axis=1)
    return at, highest.reshape(grid.shape[1:])
