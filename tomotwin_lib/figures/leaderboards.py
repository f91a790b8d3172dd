"""Networks beside each other, with how far their scores can be trusted."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tomotwin_lib.figures.style import GREY, PALETTE, new_figure, say_empty, short_names, tidy

_KINDS = (("honest", "honest thresholds", PALETTE[6], -0.14), ("best_case", "best case", PALETTE[0], 0.14))


def leaderboard_chart(leaderboard: pd.DataFrame, production: str | None = None, most: int = 40) -> Figure:
    """Mean F1 of each network at honest and at best-case thresholds, with intervals, best network first.

    Parameters
    ----------
    leaderboard : what :func:`tomotwin_lib.leaderboard.leaderboard` returns.
    production : the network in production, which is marked.
    most : networks drawn; of more, the first.
    """
    shown = leaderboard.head(most)
    figure = new_figure(8, 1.5 + 0.36 * max(len(shown), 3))
    axes = figure.add_subplot()
    if shown.empty:
        say_empty(axes, "nothing has been evaluated yet")
        return figure
    rows = np.arange(len(shown))
    for kind, label, colour, offset in _KINDS:
        mean, low, high = (
            shown[name].to_numpy(dtype=np.float64)
            for name in (f"mean_{kind}_f1", f"{kind}_f1_low", f"{kind}_f1_high")
        )
        if np.isnan(mean).all():
            continue
        # A mean without an interval is a dot alone.
        lengths = np.clip(np.nan_to_num([mean - low, high - mean]), 0, None)
        axes.errorbar(
            mean, rows + offset, xerr=lengths, fmt="o", color=colour, markersize=6, capsize=3, label=label
        )
        for row, value in zip(rows, mean, strict=True):
            if not np.isnan(value):
                axes.annotate(
                    f"{value:.2f}", (value, row + offset), xytext=(0, 5), textcoords="offset points",
                    ha="center", fontsize=7, color=GREY,
                )  # fmt: skip
    names = short_names([str(name) for name in shown["model"]])
    axes.set_yticks(
        rows,
        [
            f"{name} (production)" if model == production else name
            for name, model in zip(names, shown["model"], strict=True)
        ],
    )
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set(
        xlim=(-0.02, 1.04), xlabel="mean F1 over the benchmark tomograms, 95% interval where three or more"
    )
    more = f" (first {most} of {len(leaderboard)})" if len(leaderboard) > most else ""
    figure.suptitle(f"Leaderboard{more}")
    tidy(axes, grid="x")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure
