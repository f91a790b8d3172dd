"""Slices of simulated tomograms beside each other: without noise, as recorded, and what is what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from tomotwin_lib.figures.style import PALETTE, new_figure, say_empty

_MOST = 5


@dataclass(frozen=True)
class Slices:
    """One z slice of a simulated tomogram, three times, each (y, x).

    Attributes
    ----------
    title : says which and how it was imaged.
    signal : without noise.
    data : with it.
    class_mask : 0 background, 1 and on classes, then kinds of distractor.
    classes : how many of the mask's values are classes of particles.
    """

    title: str
    signal: npt.NDArray[np.float32]
    data: npt.NDArray[np.float32]
    class_mask: npt.NDArray[np.uint16]
    classes: int


def simulated_slices(slices: Sequence[Slices]) -> Figure:
    """A column for each of the first five tomograms: noise-free, with noise, particles and distractors.

    In the lowest row particles are orange and distractors blue. Grey levels run between the first and the
    last percentile but half, for each picture its own.
    """
    shown = list(slices)[:_MOST]
    if not shown:
        figure = new_figure(6, 2.5)
        say_empty(figure.add_subplot(), "no tomogram")
        return figure
    height, width = shown[0].data.shape
    edge = 3.0
    figure = new_figure(edge * len(shown) + 0.4, 3 * (edge * height / width + 0.1) + 0.5)
    grid = figure.subplots(3, len(shown), squeeze=False)
    colours = ListedColormap(["white", PALETTE[0], PALETTE[1]])
    for column, one in enumerate(shown):
        kinds = (one.class_mask > 0).astype(int) + (one.class_mask > one.classes)
        for axes, picture in zip(grid[:2, column], (one.signal, one.data), strict=True):
            low, high = np.percentile(picture, (0.5, 99.5))
            axes.imshow(picture, cmap="gray", origin="lower", vmin=low, vmax=max(high, low + 1e-9))
        grid[2, column].imshow(kinds, cmap=colours, origin="lower", vmin=0, vmax=2, interpolation="nearest")
        grid[0, column].set_title(one.title.replace(": ", "\n"), fontsize=8)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for axes, name in zip(grid[:, 0], ("without noise", "tomogram", "particles, distractors"), strict=True):
        axes.set_ylabel(name, fontsize=9)
    if len(slices) > _MOST:
        figure.supxlabel(f"the first {_MOST} of {len(slices)}", fontsize=8)
    return figure
