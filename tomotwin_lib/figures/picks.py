"""Three orthogonal slices of a tomogram with the picks drawn on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import gaussian_filter

from tomotwin_lib.figures.classes import PickClasses, pick_classes
from tomotwin_lib.figures.style import GREY, colour, line_style, new_figure, outline

#: Picks without a threshold that a picture shows: more would hide what they mark.
MOST_PICKS = 150

_SLAB = 5
_BLUR = 1.0
# Spheres that the slice barely touches would be dots that mark nothing: the circle has to be at least this
# share of the sphere's diameter.
_SMALLEST_CIRCLE = 0.5
_LONGEST_EDGE_INCHES = 6.5
_OUTLINE = outline(2.2, alpha=0.6)


@dataclass(frozen=True)
class _View:
    """One of the three slices: the axis it cuts, and which coordinates run to the right and upwards."""

    cut: int
    right: str
    up: str
    depth: str


XY = _View(0, "X", "Y", "Z")
_XZ = _View(1, "X", "Z", "Y")
_ZY = _View(2, "Z", "Y", "X")


def orthoslices_with_picks(
    volume: npt.NDArray[Any],
    picks: pd.DataFrame | None = None,
    *,
    names: Sequence[str] | None = None,
    box_sizes: int | Mapping[str, int] | None = None,
    centre: tuple[int, int, int] | None = None,
    voxel_size_in_angstrom: float | None = None,
    title: str | None = None,
    most: int | None = None,
) -> Figure:
    """Draw an xy, an xz and a zy slice; circles are where the slice cuts the spheres around the picks.

    Each slice is the mean of five layers, slightly blurred, so that particles stand out of the noise.

    Parameters
    ----------
    volume : (z, y, x), may be memory-mapped: only the slabs that are drawn are read.
    picks : columns ``X``, ``Y``, ``Z`` (voxels); the class from ``class`` or ``predicted_class``; the size of
        its sphere from ``width`` unless ``box_sizes`` says otherwise.
    names : names of the classes that ``predicted_class`` counts; by default ``picks.attrs["references"]``.
    box_sizes : diameter in voxels, for all or for each class by its label; 37 where nothing says.
    centre : (z, y, x) voxel through which the slices go; by default where they show most of the picks, or
        the middle.
    voxel_size_in_angstrom : adds a scale bar.
    most : draw so many at most, by ``metric_best``; the title tells.
    """
    drawn, shown = (picks, "") if picks is None or most is None else best_picks(picks, most)
    title = f"{title or ''}{shown}".removeprefix(", ") or None
    classes = pick_classes(drawn, names, box_sizes)
    at = centre if centre is not None else densest(volume.shape, classes)
    depth, height, width = volume.shape
    scale = _LONGEST_EDGE_INCHES / max(width + depth, height + depth)
    legend_inches = 0.95 if classes.labels else 0.0
    figure = new_figure((width + depth) * scale + 1.1, (height + depth) * scale + 1.0 + legend_inches)
    grid = figure.add_gridspec(2, 2, width_ratios=(width, depth), height_ratios=(height, depth))
    panels = {XY: figure.add_subplot(grid[0, 0])}
    panels[_ZY] = figure.add_subplot(grid[0, 1], sharey=panels[XY])
    panels[_XZ] = figure.add_subplot(grid[1, 0], sharex=panels[XY])

    for view, axes in panels.items():
        draw_slice(axes, volume, view, at[view.cut])
        draw_picks(axes, classes, view, at[view.cut])
        _draw_cuts(axes, view, at)
    panels[XY].tick_params(labelbottom=False)
    panels[_ZY].tick_params(labelleft=False)
    panels[XY].set_ylabel("Y")
    panels[_XZ].set(xlabel="X", ylabel="Z")
    panels[_ZY].set_xlabel("Z")
    corner = figure.add_subplot(grid[1, 1])
    corner.set_axis_off()
    corner.text(
        0.5, 0.5, f"x = {at[2]}\ny = {at[1]}\nz = {at[0]}", ha="center", va="center", fontsize=8, color=GREY,
        transform=corner.transAxes,
    )  # fmt: skip
    if voxel_size_in_angstrom:
        scale_bar(panels[XY], width, height, voxel_size_in_angstrom)
    if title:
        figure.suptitle(title, fontsize=11)
    if classes.labels:
        pick_legend(figure, classes)
    return figure


def best_picks(picks: pd.DataFrame, most: int) -> tuple[pd.DataFrame, str]:
    """The best by ``metric_best``, and what a title says of it."""
    if len(picks) <= most:
        return picks, ""
    best = picks.nlargest(most, "metric_best")
    best.attrs = picks.attrs
    return best, f", best {most:,} of {len(picks):,} picks"


def densest(shape: tuple[int, ...], classes: PickClasses) -> tuple[int, int, int]:
    """The voxel (z, y, x) through which the slices show most of the spheres; the middle without picks."""
    at = []
    for axis, size in enumerate(shape):
        if not len(classes.positions):
            at.append(size // 2)
            continue
        # A sphere counts by the area of its circle: rather a few cut in the middle than many barely.
        distance = (np.arange(size)[:, None] - classes.positions[:, axis]) / classes.radii
        at.append(int(np.clip(1 - distance**2, 0, None).sum(axis=1).argmax()))
    return at[0], at[1], at[2]


def draw_slice(axes: Axes, volume: npt.NDArray[Any], view: _View, layer: int) -> None:
    """The slice at ``layer`` of the axis that the view cuts."""
    low = max(layer - _SLAB // 2, 0)
    slab = np.take(volume, range(low, min(layer + _SLAB // 2 + 1, volume.shape[view.cut])), axis=view.cut)
    picture = gaussian_filter(slab.astype(np.float32).mean(axis=view.cut), _BLUR)
    if view is _ZY:
        picture = picture.T  # the slab is (z, y); its z runs to the right here
    dark, bright = np.percentile(picture, (0.5, 99.5))
    axes.imshow(
        picture,
        cmap="gray",
        origin="lower",
        vmin=dark,
        vmax=max(bright, dark + 1e-9),
        interpolation="bilinear",
    )
    axes.tick_params(labelsize=7, length=2.5)


def draw_picks(axes: Axes, classes: PickClasses, view: _View, layer: int) -> None:
    """Circles where a slice cuts the spheres around the picks."""
    columns = {"Z": 0, "Y": 1, "X": 2}
    distance = classes.positions[:, columns[view.depth]] - layer
    diameters = 2 * np.sqrt(np.maximum(classes.radii**2 - distance**2, 0))
    cut = diameters >= _SMALLEST_CIRCLE * 2 * classes.radii
    for index in range(len(classes.labels)):
        chosen = cut & (classes.classes == index)
        if not chosen.any():
            continue
        offsets = classes.positions[chosen][:, [columns[view.right], columns[view.up]]]
        size = diameters[chosen]
        circles = EllipseCollection(
            size, size, np.zeros_like(size), units="xy", offsets=offsets, transOffset=axes.transData,
            facecolors="none", edgecolors=colour(index), linewidths=1.3, linestyles=line_style(index),
        )  # fmt: skip
        circles.set_path_effects(_OUTLINE)
        axes.add_collection(circles, autolim=False)


def _draw_cuts(axes: Axes, view: _View, at: tuple[int, int, int]) -> None:
    """Thin lines where the other two slices run."""
    place = {"Z": at[0], "Y": at[1], "X": at[2]}
    axes.axvline(place[view.right], color="white", linewidth=0.6, linestyle=(0, (4, 4)), alpha=0.6)
    axes.axhline(place[view.up], color="white", linewidth=0.6, linestyle=(0, (4, 4)), alpha=0.6)


def scale_bar(axes: Axes, width: int, height: int, voxel_size_in_angstrom: float) -> None:
    """A bar of 1, 2 or 5 times a power of ten nanometres, about a fifth of the picture long."""
    wanted = 0.2 * width * voxel_size_in_angstrom / 10
    power = 10.0 ** math.floor(math.log10(wanted))
    length = power * max(step for step in (1, 2, 5) if step * power <= wanted)
    voxels = length * 10 / voxel_size_in_angstrom
    left, bottom = 0.03 * width, 0.035 * height
    axes.plot([left, left + voxels], [bottom, bottom], color="white", linewidth=3, solid_capstyle="butt",
              path_effects=_OUTLINE, scalex=False, scaley=False)  # fmt: skip
    axes.annotate(
        f"{length:g} nm", (left + voxels / 2, bottom), xytext=(0, 4), textcoords="offset points", ha="center",
        va="bottom", color="white", fontsize=8, path_effects=_OUTLINE,
    )  # fmt: skip


def pick_legend(figure: Figure, classes: PickClasses) -> None:
    """The classes with their numbers of picks, below the figure."""
    handles = [
        Patch(fill=False, edgecolor=colour(index), linestyle=line_style(index), linewidth=1.5,
              label=f"{label} ({(classes.classes == index).sum()})")
        for index, label in enumerate(classes.labels)
    ]  # fmt: skip
    longest = max(len(label) for label in classes.labels)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=max(2, min(6, 60 // (longest + 6), len(handles))),
        title="circles: where the slice cuts the spheres around the picks", title_fontsize=8,
        frameon=False, fontsize=8, handlelength=1.3, handletextpad=0.5, columnspacing=1.4,
    )  # fmt: skip
