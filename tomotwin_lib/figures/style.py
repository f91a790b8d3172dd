"""What all figures share: colours, axes without clutter, writing them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tomotwin_lib.files import atomic_path

# Okabe and Ito (2008): distinguishable with every common colour blindness. Ordered so that the first few
# also stand out on a grey picture; in place of black, which is left to text, wine from Tol's palette.
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2", "#882255")
# Past the palette's end the colours return with another line.
LineStyle = Literal["-", "--", ":"]
LINE_STYLES: tuple[LineStyle, ...] = ("-", "--", ":")
GREY = "#555555"
DPI = 150
_SMALLEST_DPI = 30


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of the given size in inches, drawn by Agg, whose layout keeps labels apart."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def colour(index: int) -> str:
    """The colour of the ``index``-th class."""
    return PALETTE[index % len(PALETTE)]


def line_style(index: int) -> LineStyle:
    """The line of the ``index``-th class: solid for the first round through the palette."""
    return LINE_STYLES[index // len(PALETTE) % len(LINE_STYLES)]


def outline(width: float, alpha: float = 1.0) -> list[patheffects.AbstractPathEffect]:
    """A black rim, for white or coloured lines and letters on grey pictures."""
    return [patheffects.withStroke(linewidth=width, foreground="black", alpha=alpha)]


def tidy(axes: Axes, grid: str | None = None) -> None:
    """Remove the frame's upper and right line and draw a faint grid along ``x`` or ``y``."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid is not None:
        axes.grid(axis=grid, color="#dddddd", linewidth=0.7)  # type: ignore[arg-type]
        axes.set_axisbelow(True)


def say_empty(axes: Axes, message: str) -> None:
    """Write ``message`` where there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, message, ha="center", va="center", color=GREY, transform=axes.transAxes)


def short_names(names: Sequence[str], longest: int = 28) -> list[str]:
    """Names without the ending ``.mrc``, the middle of long ones left out."""
    return [_shorten(name.removesuffix(".mrc"), longest) for name in names]


def save_figure(path: str | Path, figure: Figure, dpi: int = DPI) -> Path:
    """Write a figure, whole or not at all; the ending of ``path`` chooses the format.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
    return path


def drawn(figure: Figure) -> Image.Image:
    """The figure as a picture of 150 dpi: drawing takes longest, so it is done once for several sizes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def png_bytes(figure: Figure | Image.Image, max_bytes: int = 400_000) -> bytes:
    """The figure, or what :func:`drawn` made of it, as PNG of at most ``max_bytes`` (150 dpi at most).

    Pictures in the metadata of a platform travel with every page that shows them: they have to stay small.
    One that is too large gets a palette of 256 colours first, then fewer pixels.

    Raises
    ------
    ValueError
        If not even 30 dpi fit.
    """
    picture = drawn(figure) if isinstance(figure, Figure) else figure
    content = encoded(picture)
    return content if len(content) <= max_bytes else shrunk(picture, max_bytes)


def shrunk(picture: Image.Image, max_bytes: int) -> bytes:
    """A picture that is too large as PNG of at most ``max_bytes``; see :func:`png_bytes`."""
    content, share = encoded(_with_palette(picture)), 1.0
    while len(content) > max_bytes:
        # Bytes grow with the area; a little less than the estimate spares another round.
        share *= min(0.95 * (max_bytes / len(content)) ** 0.5, 0.9)
        if share * DPI < _SMALLEST_DPI:
            raise ValueError(f"the figure does not fit into {max_bytes} bytes even at {_SMALLEST_DPI} dpi")
        width, height = (max(1, round(edge * share)) for edge in picture.size)
        content = encoded(_with_palette(picture.resize((width, height), Image.Resampling.LANCZOS)))
    return content


def encoded(picture: Image.Image) -> bytes:
    """A picture as PNG, in all its pixels and colours."""
    buffer = io.BytesIO()
    # Noise, which fills tomograms, does not become smaller at higher levels, only slower.
    picture.save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def _with_palette(picture: Image.Image) -> Image.Image:
    """The same picture with at most 256 colours: about a third of the bytes where grey noise fills it."""
    # The octree keeps the colours of the few circles; the median cut would spend its palette on greys.
    return picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def _shorten(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    tail = (longest - 1) // 2
    return f"{name[: longest - 1 - tail]}…{name[-tail:]}"
