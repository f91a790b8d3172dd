"""Small pictures side by side: similarity maps and subvolumes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from tomotwin_lib.figures.style import GREY, new_figure, say_empty, short_names
from tomotwin_lib.products import SimilarityMap

# Sites, spread over the map, whose values tell its median well enough for colours.
_SAMPLED = 2**18


def similarity_slices(similarity: SimilarityMap, *, columns: int = 4, most: int = 16) -> Figure:
    """For every reference the z slice of its map that holds its highest similarity, which a ring marks.

    All panels share one colour scale; axes are voxels of the tomogram.

    Parameters
    ----------
    most : how many references are drawn at most, in the order of the map.
    """
    count = min(len(similarity.references), most)
    highest = float(similarity.spread().highest.max(initial=-np.inf))
    if count == 0 or highest == -np.inf:
        figure = new_figure(6, 2.5)
        say_empty(figure.add_subplot(), "the map holds no value")
        return figure
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    z, y, x = similarity.grid.axes()
    half_y, half_x = similarity.grid.stride[1] / 2, similarity.grid.stride[2] / 2
    extent = (x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y)
    ratio = (extent[3] - extent[2]) / (extent[1] - extent[0])
    width = 2.5
    figure = new_figure(columns * width + 0.9, rows * (width * min(max(ratio, 0.3), 2.0) + 0.45) + 0.1)
    grid = figure.subplots(rows, columns, squeeze=False)
    # From the bulk up: what lies below it finds nothing and would only use up colours.
    step = max(len(similarity.values) // _SAMPLED, 1)
    sampled = np.concatenate([block[::step].astype(np.float32) for block in similarity.blocks()])
    lowest = float(np.median(sampled[np.isfinite(sampled)]))
    for axes in grid.flat:
        axes.set_axis_off()
    names = short_names(similarity.references, 26)
    image = None
    for index, axes in enumerate(grid.flat[:count]):
        volume = similarity.volume(index, fill=np.nan)
        site = np.unravel_index(np.nanargmax(volume), volume.shape)
        image = axes.imshow(
            volume[site[0]],
            origin="lower",
            extent=extent,
            cmap="magma",
            vmin=lowest,
            vmax=max(highest, lowest + 1e-3),
        )
        # White on black: it shows on bright and dark. A path effect would fill the circle.
        for edge, width in (("black", 2.5), ("white", 1.0)):
            axes.plot(
                x[site[2]],
                y[site[1]],
                "o",
                markersize=11,
                fillstyle="none",
                color=edge,
                markeredgewidth=width,
                clip_on=False,
            )
        axes.set_title(f"{names[index]}\nz = {z[site[0]]}, highest {volume[site]:.2f}", fontsize=8)
    assert image is not None
    figure.colorbar(image, ax=grid, label="similarity", shrink=0.8, pad=0.02, aspect=25 * rows)
    if count < len(similarity.references):
        figure.supxlabel(f"and {len(similarity.references) - count} more references", fontsize=8, color=GREY)
    return figure


def subvolume_gallery(
    subvolumes: Sequence[tuple[str, npt.NDArray[np.generic]]],
    *,
    columns: int = 8,
    most: int = 48,
    title: str | None = None,
) -> Figure:
    """The central slices (mean of three, slightly blurred) of subvolumes, each with its own contrast.

    Parameters
    ----------
    subvolumes : pairs of name and array (z, y, x).
    most : how many are drawn at most, the first ones.
    """
    shown = list(subvolumes)[:most]
    if not shown:
        figure = new_figure(6, 2.5)
        say_empty(figure.add_subplot(), "no subvolume")
        return figure
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(max(columns * 1.15, 3), rows * 1.33 + (0.4 if title else 0.1))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (name, volume) in zip(grid.flat, shown, strict=False):
        middle = volume.shape[0] // 2
        picture = np.asarray(volume[max(middle - 1, 0) : middle + 2], dtype=np.float32).mean(axis=0)
        picture = gaussian_filter(picture, 0.8)
        low, high = np.percentile(picture, (1, 99))
        axes.imshow(picture, cmap="gray", origin="lower", vmin=low, vmax=max(high, low + 1e-9))
        axes.set_title(short_names([name], 16)[0], fontsize=6.5, pad=2)
    if title or len(subvolumes) > most:
        more = f" ({most} of {len(subvolumes)})" if len(subvolumes) > most else ""
        figure.suptitle(f"{title or ''}{more}", fontsize=10)
    return figure
