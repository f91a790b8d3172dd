"""The results as a table, as JSON and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, StrMethodFormatter

from benchmarks.machine import Machine
from benchmarks.result import Growth, StageResult
from tomotwin_lib.figures.style import GREY, colour, new_figure, save_figure, tidy
from tomotwin_lib.files import atomic_path, write_json

_COLUMNS = (
    "stage",
    "input",
    "ours",
    "TomoTwin's way",
    "ratio",
    "required",
    "",
    "memory, ours / theirs",
    "growth",
)
_MET = {True: "met", False: "**missed**", None: "–"}
_READING = """\
*ours* and *TomoTwin's way* are medians; both sides compute the same from the same input, in turns, in
processes of their own with the same number of threads, after their results were found to agree within the
tolerance that the JSON names. *ratio*: how many times as long TomoTwin's way takes, the median and the
extremes over the rounds. *memory*: peak of the process, libraries and input included. *growth*: our time
grows as the input's size to that power, 1 being proportional. TomoTwin's way is written afresh from the
published description (`benchmarks/tomotwin_way`, which says where it got the benefit of the doubt)."""


def write_report(
    folder: str | Path, stem: str, machine: Machine, commit: str, date: str, results: Sequence[StageResult]
) -> list[Path]:
    """Write ``<stem>.md``, ``<stem>.json`` and, where something grew, ``<stem>.png``.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    folder = Path(folder)
    table, content, picture = (folder / f"{stem}{ending}" for ending in (".md", ".json", ".png"))
    head: dict[str, Any] = {"machine": machine.as_json(), "commit": commit, "date": date}
    write_json(content, {**head, "stages": [result.as_json() for result in results]})
    paths = [table, content]
    growing = [result for result in results if result.growth is not None]
    if growing:
        paths.append(save_figure(picture, growth_figure(growing)))
    with atomic_path(table) as path:
        lines = ["# How fast", "", f"{date}, commit {commit[:12]}.", "", f"{machine}.", ""]
        lines += [markdown_table(results), "", _READING]
        if growing:
            lines += ["", f"![Time of each stage over the size of its input]({picture.name})"]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


def markdown_table(results: Sequence[StageResult]) -> str:
    """One line a stage; what is required of it, and whether it is met."""
    lines = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
    lines += [_line(_cells(result)) for result in results]
    notes = [f"- {result.name}: {result.note}." for result in results if result.note]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _cells(result: StageResult) -> list[str]:
    required = result.requirements()
    ratio = "" if result.ratio is None else f"**{result.ratio:.3g} ×**"
    if result.ratio_range:
        ratio += f" ({result.ratio_range[0]:.3g}–{result.ratio_range[1]:.3g})"
    if result.peak_share is not None:
        ratio = f"**{result.peak_share:.0%}** of peak"
    memory = [_size(result.peak_bytes), _size(result.theirs_peak_bytes)]
    measured = result.ours_seconds is not None
    return [
        result.name,
        result.input,
        _time(result.ours_seconds, result.item) if measured else result.note or "–",
        _time(result.theirs_seconds, result.item),
        ratio or "–",
        "; ".join(one.required for one in required) or "–",
        "; ".join(_MET[one.met] for one in required),
        " / ".join(memory) if result.peak_bytes else "–",
        f"size^{result.growth.exponent:.2f}" if result.growth else "–",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _time(seconds: float | None, item: str) -> str:
    if seconds is None:
        return "–"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale or unit == "µs":
            break
    number = f"{seconds / scale:,.0f}" if seconds / scale >= 100 else f"{seconds / scale:.3g}"
    return f"{number} {unit}" + (f" a {item}" if item != "run" else "")


def _size(count: int | None) -> str:
    return "–" if count is None else f"{count / 1e9:.2f} GB"


def growth_figure(results: Sequence[StageResult]) -> Figure:
    """Time over the size of the input, both logarithmic, one panel a stage, beside a line of slope 1."""
    columns = min(3, len(results))
    rows = -(-len(results) // columns)
    figure = new_figure(3.4 * columns, 3.0 * rows + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, result in zip(panels, results, strict=False):
        assert result.growth is not None
        _panel(panel, result.growth)
        panel.set_title(f"{_short(result.name)}: size$^{{{result.growth.exponent:.2f}}}$", fontsize="medium")
    for panel in panels[len(results) :]:
        panel.set_axis_off()
    shown = {
        label: handle
        for panel in panels[: len(results)]
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        shown.values(),
        shown.keys(),
        loc="outside lower center",
        ncols=len(shown),
        frameon=False,
        fontsize="small",
    )
    return figure


def _panel(axes: Axes, growth: Growth) -> None:
    axes.plot(growth.sizes, growth.seconds, "o-", color=colour(6), markersize=4, label="ours")
    if growth.theirs_sizes:
        axes.plot(
            growth.theirs_sizes,
            growth.theirs_seconds,
            "s-",
            color=colour(5),
            markersize=4,
            label="TomoTwin's way",
        )
    # Through our largest input: smaller ones carry a share of what does not grow.
    size, seconds = growth.sizes[-1], growth.seconds[-1]
    ends = growth.sizes[0], size
    axes.plot(
        ends, [seconds * end / size for end in ends], "--", color=GREY, linewidth=1, label="slope 1", zorder=0
    )
    axes.set(xscale="log", yscale="log", xlabel=f"{growth.unit}", ylabel="time (s)")
    for axis, formatter in ((axes.xaxis, EngFormatter(sep="")), (axes.yaxis, StrMethodFormatter("{x:g}"))):
        low, high = axis.get_view_interval()
        steps = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(subs=steps, numticks=12))
        axis.set_major_formatter(formatter)
        axis.set_minor_formatter(NullFormatter())
    tidy(axes, grid="both")


def _short(name: str) -> str:
    return name.split(",")[0]
