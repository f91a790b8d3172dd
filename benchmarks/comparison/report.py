"""The comparison as tables and as a picture of what failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from benchmarks.comparison.promises import promises_table
from benchmarks.comparison.worst_picks import COUNTED, FALSE, MISS
from tomotwin_lib.figures.style import colour, new_figure, outline, say_empty, short_names
from tomotwin_lib.files import atomic_path

_HALF = 18  # voxels around the centre that the picture shows
_VIEWS = ("xy", "xz", "yz")
_READING = """\
F1 by the overlap of boxes (above 0.6); F-beta with β = 4 by distance (within half the radius). *honest*: at
thresholds chosen on the other tomograms of the same noise level; *best case*: chosen on the very picks that
are scored. Brackets: 95 % bootstrap interval of the mean over tomograms; all tomograms of a noise level share
one reference a protein, so it does not tell how much scores vary with the reference. *centring*: mean
distance in voxels of found particles from the nearest pick above the honest threshold. *time*: the median a
tomogram, references included."""

_PROMISES = """\
Limits as `--max_false_picks` sets them, for each tomogram from all others of its noise level; counted over
all references. Brackets: 95 % bootstrap interval over tomograms. A reference whose best picks cannot be told
from background keeps none."""


def comparison_table(rows: pd.DataFrame) -> str:
    """One Markdown table a noise level, from lines with the columns of :mod:`~.comparison.scores`."""
    parts = []
    for snr, level in rows.groupby("snr", sort=False):
        head = ["method", "proteins", "F1, honest", "F-beta, honest", "F1, best case", "F-beta, best case",
                "centring (voxels)", "time (s)"]  # fmt: skip
        lines = [f"## Signal-to-noise ratio {snr:g}, {level['tomograms'].max()} tomograms", ""]
        lines += [_line(head), _line(["---"] * len(head))]
        for _, row in level.iterrows():
            scores = [
                _score(row, name) for name in ("honest_f1", "honest_fbeta", "best_case_f1", "best_case_fbeta")
            ]
            proteins = f"{row['proteins']} ({row['classes']})"
            lines.append(
                _line([row["method"], proteins, *scores, _number(row["centring"]), f"{row['seconds']:.3g}"])
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def worst_table(worst: pd.DataFrame) -> str:
    """The worst false picks and misses as a Markdown table, numbered as in their picture."""
    head = ["", "tomogram", "protein", "x y z", "similarity (threshold)", "taken for / what lies there",
            "nearest", "distance (voxels)"]  # fmt: skip
    lines = [_line(head), _line(["---"] * len(head))]
    for label, (_, row) in zip(labels(worst), worst.iterrows(), strict=True):
        similarity = "none near" if np.isnan(row["similarity"]) else f"{row['similarity']:.3f}"
        place = " ".join(f"{row[axis]:.0f}" for axis in "XYZ")
        lines.append(
            _line([label, row["tomogram"], row["class"], place, f"{similarity} ({row['threshold']:.3f})",
                   row["what"], row["nearest"], _number(row["distance"])])
        )  # fmt: skip
    return "\n".join(lines)


def counts_table(wrong: pd.DataFrame) -> str:
    """How many faults of each kind each method made, from lines of ``snr``, ``method`` and the counts."""
    kinds = {kind: "missed" if kind == MISS else f"false: {kind}" for kind in COUNTED}
    lines = [_line(["SNR", "method", *kinds.values()]), _line(["---"] * (2 + len(kinds)))]
    for row in wrong.to_dict("records"):
        lines.append(_line([f"{row['snr']:g}", row["method"], *(row[kind] for kind in kinds)]))
    return "\n".join(lines)


def labels(worst: pd.DataFrame) -> list[str]:
    """``false pick 1`` and so on, each kind counted by itself."""
    numbers = worst.groupby("kind").cumcount() + 1
    return [f"{kind} {number}" for kind, number in zip(worst["kind"], numbers, strict=True)]


def write_report(
    folder: Path,
    rows: pd.DataFrame,
    notes: Mapping[str, str],
    about: Sequence[str],
    worst: pd.DataFrame,
    wrong: pd.DataFrame,
    promised: pd.DataFrame | None = None,
) -> list[Path]:
    """Write ``compare_methods.md`` and ``.csv``, and ``worst_picks.csv``.

    Parameters
    ----------
    rows : the lines of all noise levels and methods.
    notes : by method, what else to know.
    about : lines on how it was made.
    worst : what :func:`worst_table` shows.
    wrong : what :func:`counts_table` shows.
    promised : what :func:`~.promises.promises_table` shows, where a network was compared.
    """
    table, numbers, faults = (
        folder / name for name in ("compare_methods.md", "compare_methods.csv", "worst_picks.csv")
    )
    lines = [
        "# Methods compared on simulated tomograms",
        "",
        *about,
        "",
        comparison_table(rows),
        "",
        _READING,
    ]
    lines += ["", *(f"- {name}: {note}." for name, note in notes.items()), ""]
    if promised is not None:
        lines += ["## Promised and kept", "", _PROMISES, "", promises_table(promised), ""]
    lines += ["## What failed", "", "The false picks furthest above their honest thresholds and the misses "
              f"furthest below, of {next(iter(notes))}.", "", worst_table(worst), "",
              "![Slices through each](worst_picks.png)", "", "## What lies where false picks are", "",
              "All false picks and misses at the honest thresholds.", "", counts_table(wrong)]  # fmt: skip
    with atomic_path(table) as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for content, target in ((rows, numbers), (worst, faults)):
        with atomic_path(target) as path:
            content.to_csv(path, index=False, float_format="%.5g")
    return [table, numbers, faults]


def worst_figure(
    worst: pd.DataFrame, volume_of: Callable[[str], npt.NDArray[np.float32]], box_sizes: Mapping[str, int]
) -> Figure:
    """Three slices through the centre of each false pick (left) and miss (right), protein dark.

    Parameters
    ----------
    worst : columns as of :data:`~.worst_picks.COLUMNS`.
    volume_of : gives the tomogram (z, y, x) of a name.
    box_sizes : by class; a ring shows the particle's size.
    """
    count = int(worst["kind"].value_counts().max()) if len(worst) else 0
    if not count:
        figure = new_figure(6, 2.5)
        say_empty(figure.add_subplot(), "nothing failed")
        return figure
    figure = new_figure(10, 1.75 * count)
    grid = figure.subplots(count, 2 * len(_VIEWS), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    filled = {FALSE: 0, MISS: 0}
    for label, (_, row) in zip(labels(worst), worst.iterrows(), strict=True):
        kind = str(row["kind"])
        first = 0 if kind == FALSE else len(_VIEWS)
        panels = grid[filled[kind], first : first + len(_VIEWS)]
        filled[kind] += 1
        around = _cut(volume_of(str(row["tomogram"])), [row["Z"], row["Y"], row["X"]])
        for axis, (axes, view) in enumerate(zip(panels, _VIEWS, strict=True)):
            # Not the mean of several: outside the tomogram there is nothing to take it of.
            picture = np.take(around, _HALF, axis)
            low, high = np.nanpercentile(around, (1, 99))
            axes.imshow(picture, cmap="gray", origin="lower", vmin=low, vmax=high)
            edge = np.linspace(0, 2 * np.pi, 73)
            radius = box_sizes[str(row["class"])] / 2
            axes.plot(
                _HALF + radius * np.cos(edge), _HALF + radius * np.sin(edge), color=colour(0), linewidth=0.8
            )
            axes.text(
                0.04,
                0.04,
                view,
                fontsize=7,
                color="white",
                transform=axes.transAxes,
                path_effects=outline(1.5),
            )
        words = short_names([f"{label}: {row['class']}", f"{_verb(kind)} {row['what']}"], 40)
        panels[0].set_title("\n".join(words), fontsize=7, loc="left")
    return figure


def _cut(volume: npt.NDArray[np.float32], centre: Sequence[float]) -> npt.NDArray[np.float32]:
    """The blurred cube around a centre (z, y, x), NaN outside the volume."""
    at = np.rint(np.asarray(centre)).astype(int)
    low, high = np.maximum(at - _HALF, 0), np.minimum(at + _HALF + 1, volume.shape)
    cube = np.full((2 * _HALF + 1,) * 3, np.nan, dtype=np.float32)
    inner = tuple(slice(first, last) for first, last in zip(low - at + _HALF, high - at + _HALF, strict=True))
    cube[inner] = gaussian_filter(
        volume[tuple(slice(first, last) for first, last in zip(low, high, strict=True))], 0.8
    )
    return cube


def _verb(kind: str) -> str:
    return "there is" if kind == FALSE else "taken for"


def _score(row: pd.Series, name: str) -> str:
    interval = ""
    if not np.isnan(row[f"{name}_low"]):
        interval = f" ({row[f'{name}_low']:.2f}–{row[f'{name}_high']:.2f})"
    return f"{row[name]:.3f}{interval}"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
