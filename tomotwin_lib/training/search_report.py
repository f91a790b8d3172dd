"""What a search found: a table of its trials and a picture of how it went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tomotwin_lib.figures.style import GREY, colour, new_figure, say_empty, tidy

COLUMNS = ("trial", "state", "value", "epochs", "seconds", "error")


def trials_table(trials: Sequence[Any]) -> pd.DataFrame:
    """The trials of a study, a row each.

    Parameters
    ----------
    trials : of Optuna (``FrozenTrial``).

    Returns
    -------
    Frame with the columns trial (number), state (complete, pruned, fail, running), value (of the target),
    epochs, seconds (of training), error, and one for each open value of the configuration.
    """
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "value": trial.value,
            "epochs": trial.user_attrs.get("epochs"),
            "seconds": trial.user_attrs.get("seconds"),
            "error": trial.user_attrs.get("error"),
            **trial.params,
        }
        for trial in trials
    ]
    parameters = sorted({name for trial in trials for name in trial.params})
    table = pd.DataFrame(rows, columns=[*COLUMNS, *parameters])
    return table.astype({"epochs": "Int64"})


def optimisation_history(table: pd.DataFrame, target: str, *, lowest: bool, title: str = "Search") -> Figure:
    """The value of every trial and the best one so far.

    Parameters
    ----------
    table : of :func:`trials_table`.
    target : name of the value.
    lowest : whether low values are good.
    """
    figure = new_figure(8, 3.6)
    figure.suptitle(title)
    axes = figure.add_subplot()
    complete = table[(table["state"] == "complete") & table["value"].notna()]
    if complete.empty:
        say_empty(axes, "no trial finished")
        return figure
    values = complete["value"].to_numpy(dtype=float)
    best = np.minimum.accumulate(values) if lowest else np.maximum.accumulate(values)
    axes.step(complete["trial"], best, where="post", color=colour(5), label="best so far")
    axes.plot(complete["trial"], values, "o", color=colour(6), markersize=5, label="finished")
    pruned = table[(table["state"] == "pruned") & table["value"].notna()]
    if len(pruned):
        axes.plot(pruned["trial"], pruned["value"], "x", color=GREY, markersize=5, label="given up early")
    first = int(values.argmin() if lowest else values.argmax())
    axes.plot(
        complete["trial"].iloc[first], values[first], "o", markersize=10, fillstyle="none", color="black",
        label=f"best: {values[first]:.3g} (trial {complete['trial'].iloc[first]})",
    )  # fmt: skip
    axes.set(xlabel="trial", ylabel=target)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(-0.5, max(table["trial"].max(), 1) + 0.5)
    tidy(axes, grid="y")
    axes.legend(frameon=False, fontsize="small")
    return figure
