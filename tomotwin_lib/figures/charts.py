"""Curves and bars: training, similarity, scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tomotwin_lib.figures.style import (
    GREY,
    PALETTE,
    colour,
    line_style,
    new_figure,
    say_empty,
    short_names,
    tidy,
)
from tomotwin_lib.products import SimilarityMap
from tomotwin_lib.references import negatives_among

SCORES = ("F1", "Recall", "Precision")
_HISTOGRAM_BINS = 120
_LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.3, "alpha": 0.8}


def training_curve(history: pd.DataFrame, title: str = "Training") -> Figure:
    """Losses and validation F1 over the epochs, the best epoch of each marked.

    Parameters
    ----------
    history : columns ``epoch``, ``train_loss``, ``valid_loss`` and ``valid_f1``, one row an epoch.
    """
    figure = new_figure(8, 3.4)
    figure.suptitle(title)
    losses, scores = figure.subplots(1, 2)
    if history.empty:
        for axes in (losses, scores):
            say_empty(axes, "no epoch finished")
        return figure

    _curve(losses, history, "train_loss", "training", colour(1))
    _curve(losses, history, "valid_loss", "validation", colour(5))
    _mark_best(losses, history, "valid_loss", lowest=True)
    losses.set(xlabel="epoch", ylabel="loss")
    losses.set_ylim(
        0, 1.08 * np.nan_to_num(history[["train_loss", "valid_loss"]].to_numpy(float)).max() or 1.0
    )
    _curve(scores, history, "valid_f1", "validation", colour(5))
    _mark_best(scores, history, "valid_f1", lowest=False)
    scores.set(xlabel="epoch", ylabel="F1 of classification", ylim=(0, 1.02))
    for axes in (losses, scores):
        tidy(axes, grid="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        pad = max(0.03 * (history["epoch"].max() - history["epoch"].min()), 0.5)
        axes.set_xlim(history["epoch"].min() - pad, history["epoch"].max() + pad)
        axes.legend(frameon=False, fontsize="small")
    return figure


def steps_curve(steps: pd.DataFrame, title: str = "Training on tomograms") -> Figure:
    """Losses over the steps, and the scores on the way where there are any, else the learning rate.

    Parameters
    ----------
    steps : columns ``step``, ``proxies``, ``pairs``, ``rate`` and scores (any other name but ``seconds``).
    """
    figure = new_figure(8, 3.4)
    figure.suptitle(title)
    losses, scores = figure.subplots(1, 2)
    if steps.empty:
        for axes in (losses, scores):
            say_empty(axes, "no step finished")
        return figure
    few = len(steps) <= 40  # dots while they can be told apart: a single row has no line
    style = {"marker": "o" if few else "", "markersize": 3}
    for place, name in enumerate(("pairs", "proxies")):
        if steps[name].any():
            losses.plot(steps["step"], steps[name], color=colour(5 * place), label=name, **style)
    losses.set(xlabel="step", ylabel="loss")
    told = [str(name) for name in steps if name not in ("step", "seconds", "proxies", "pairs", "rate")]
    for place, name in enumerate(told):
        known = steps.dropna(subset=[name])
        scores.plot(known["step"], known[name], color=colour(place), label=name, marker="o", markersize=3)
    if not told:
        scores.plot(steps["step"], steps["rate"], color=colour(1), label="learning rate", **style)
    scores.set(xlabel="step", ylabel="score" if told else "learning rate")
    for axes in (losses, scores):
        axes.set_ylim(bottom=0)
        tidy(axes, grid="y")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))  # room for five digits
        axes.legend(frameon=False, fontsize="small")
    return figure


def similarity_histogram(similarity: SimilarityMap, global_min: float | None = None) -> Figure:
    """How often each similarity occurs, one line a reference, on a logarithmic scale.

    A reference that finds something has a tail towards 1 that stands off from the bulk. Negatives, of which
    there may be dozens, are one line: at every position that of them which is most similar, which is what a
    pick there has to exceed.

    Parameters
    ----------
    global_min : lowest similarity at which a pick may be centred; drawn as a vertical line.
    """
    negatives = set(negatives_among(similarity.references, similarity.attributes))
    against = np.array([name in negatives for name in similarity.references])
    names = short_names([name for name in similarity.references if name not in negatives])
    styles: list[dict[str, Any]] = [
        {"color": colour(index), "linestyle": line_style(index), "label": name}
        for index, name in enumerate(names)
    ]
    if negatives:
        styles.append({"color": GREY, "label": f"the most similar of {len(negatives)} negatives"})
    figure = new_figure(8, max(3.6, 1.2 + 0.21 * len(styles)))
    axes = figure.add_subplot()
    spread = similarity.spread()
    low, high = float(spread.lowest.min(initial=np.inf)), float(spread.highest.max(initial=-np.inf))
    if low > high:
        say_empty(axes, "the map holds no value")
        return figure
    edges = np.linspace(low, max(high, low + 0.01), _HISTOGRAM_BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    counted = np.zeros((len(styles), _HISTOGRAM_BINS))
    for block in similarity.blocks():
        values = block.astype(np.float32)
        columns = [*values[:, ~against].T]
        if negatives:
            columns.append(values[:, against].max(axis=1))
        for counts, column in zip(counted, columns, strict=True):
            counts += np.histogram(column, bins=edges)[0]
    counted[counted == 0] = np.nan
    for counts, style in zip(counted, styles, strict=True):
        # Dots, so that a bin that stands alone in the tail is seen.
        axes.plot(centres, counts, linewidth=1.2, marker=".", markersize=3, **style)
    if global_min is not None:
        axes.axvline(global_min, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
        # Below the curves, where a logarithmic histogram leaves room.
        axes.text(
            global_min, 0.03, f" lowest maximum {global_min:g}", transform=axes.get_xaxis_transform(),
            rotation=90, ha="left", va="bottom", fontsize="small", color=GREY,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set(
        xlabel="similarity", ylabel="positions", title=f"Similarity at {len(similarity.values):,} positions"
    )
    tidy(axes, grid="y")
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure


def score_bars(scores: pd.DataFrame, title: str = "Picking scores") -> Figure:
    """F1, recall and precision of every reference, and their means.

    Parameters
    ----------
    scores : columns ``reference``, ``F1``, ``Recall`` and ``Precision``, one row a reference, in [0, 1].
    """
    figure = new_figure(8, 1.5 + 0.42 * max(len(scores), 3))
    axes = figure.add_subplot()
    if scores.empty:
        say_empty(axes, "no reference has ground truth")
        return figure
    rows = np.arange(len(scores))
    thickness = 0.8 / len(SCORES)
    for index, score in enumerate(SCORES):
        values = scores[score].astype(float)
        bars = axes.barh(
            rows + (index - 1) * thickness, values.fillna(0), thickness, color=PALETTE[index],
            label=f"{score}, mean {values.mean():.2f}",
        )  # fmt: skip
        if score == "F1":
            axes.bar_label(
                bars, [f"{value:.2f}" for value in values], padding=3, fontsize=7, color=GREY, bbox=_LABEL_BOX
            )
            axes.axvline(values.mean(), color=PALETTE[index], linewidth=1, linestyle="--", zorder=0)
    axes.set_yticks(rows, short_names(scores["reference"].astype(str).tolist()))
    axes.set_ylim(len(scores) - 0.4, -0.6)
    axes.set(xlim=(0, 1.06), xlabel="score")
    figure.suptitle(title)
    tidy(axes, grid="x")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return figure


def _curve(axes: Axes, history: pd.DataFrame, column: str, label: str, line_colour: str) -> None:
    """Draw one column over the epochs, with dots while they are few enough to tell apart."""
    if column not in history:
        return
    marker = "o" if len(history) <= 40 else ""
    axes.plot(history["epoch"], history[column], color=line_colour, marker=marker, markersize=3, label=label)


def _mark_best(axes: Axes, history: pd.DataFrame, column: str, *, lowest: bool) -> None:
    """Ring the best epoch and say its value in the legend."""
    if column not in history or history[column].isna().all():
        return
    values = history[column].to_numpy(dtype=float)
    best = int(np.nanargmin(values) if lowest else np.nanargmax(values))
    epoch = history["epoch"].to_numpy()[best]
    label = f"best: {values[best]:.3g} (epoch {epoch})"
    axes.plot(epoch, values[best], "o", markersize=9, fillstyle="none", color="black", label=label)
