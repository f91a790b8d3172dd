"""Precision against recall."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tomotwin_lib.figures.style import GREY, colour, line_style, new_figure, say_empty, short_names, tidy

_LINES_OF_F1 = (0.2, 0.4, 0.6, 0.8, 0.9)


def precision_recall_chart(
    table: pd.DataFrame,
    title: str = "Precision and recall",
    thresholds: Mapping[str, float] | None = None,
) -> Figure:
    """One line a reference, with lines of equal F1 behind.

    Parameters
    ----------
    table : what :func:`~tomotwin_lib.precision_recall.precision_recall` returned.
    title : above the picture.
    thresholds : by reference, a similarity at which a dot marks its line.
    """
    references = list(dict.fromkeys(table["reference"]))
    figure = new_figure(8, max(4.6, 1.2 + 0.21 * len(references)))
    axes = figure.add_subplot()
    if table.empty:
        say_empty(axes, "no reference has ground truth and picks")
        return figure
    for f1 in _LINES_OF_F1:
        # Close together where the line is steep.
        recall = 1 - (1 - f1 / (2 - f1)) * (1 - np.linspace(0, 1, 200) ** 2)
        axes.plot(recall, f1 * recall / (2 * recall - f1), color="#dddddd", linewidth=0.8, zorder=0)
        axes.text(1.015, f1 / (2 - f1), f"F1 {f1:g}", color=GREY, fontsize=7, va="center")
    for index, (reference, name) in enumerate(zip(references, short_names(references), strict=True)):
        # The first lines are the widest, so that those drawn over them hide none.
        width = 2.8 - 1.6 * index / max(len(references) - 1, 1)
        own = table[table["reference"] == reference].sort_values("threshold")
        axes.plot(
            own["Recall"], own["Precision"], color=colour(index), linestyle=line_style(index),
            linewidth=width, marker="." if len(own) == 1 else "", label=name,
        )  # fmt: skip
        if thresholds and reference in thresholds:
            # The picks above a threshold are those of the last row that does not exceed it.
            place = int(np.searchsorted(own["threshold"].to_numpy(), thresholds[reference] + 1e-9)) - 1
            row = own.iloc[max(place, 0)]
            axes.plot(row["Recall"], row["Precision"], "o", color=colour(index), markersize=6, clip_on=False)
    axes.set(xlim=(0, 1.005), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
    tidy(axes)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure
