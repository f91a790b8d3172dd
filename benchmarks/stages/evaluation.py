"""Scores with the best thresholds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.inputs import BOX_SIZE, located_picks
from benchmarks.result import StageResult, require_agreement
from benchmarks.timing import Settings, Side, grow, take_turns
from benchmarks.tomotwin_way.evaluation import evaluate_by_matching_again
from tomotwin_lib.evaluation import evaluate_positions

COLUMNS = ["F1", "O_METRIC", "O_MIN_SIZE", "O_MAX_SIZE"]
TOLERANCE = 1e-9
REQUIRED_RATIO = 50.0
STEP = 0.01


def measure_evaluation(settings: Settings) -> list[StageResult]:
    """Three classes with a thousand picks each."""
    picks, classes = settings.pick((1_000, 3), (30, 2))
    sides = {"ours": Side(ours, (picks, classes)), "theirs": Side(theirs, (picks, classes))}
    turns = take_turns(sides, settings, _check)
    sizes = settings.pick((250, 500, 1_000, 2_000, 4_000), (20, 30, 40, 50))
    growth = grow(
        "picks a class",
        {size: Side(ours, (size, classes)) for size in sizes},
        settings,
        {size: Side(theirs, (size, classes)) for size in sizes},
        seconds_for_theirs=30,
    )
    return [
        turns.compared(
            name="evaluation with optimisation",
            input=f"{classes} classes, {picks:,} picks and {picks // 2:,} particles each, step {STEP}",
            required_ratio=REQUIRED_RATIO,
            growth=growth,
            difference=_difference(turns.results),
            tolerance=TOLERANCE,
        )
    ]


def ours(picks: int, classes: int) -> Callable[[], pd.DataFrame]:
    """The library's scores."""
    located, truth = located_picks(picks, classes)
    return lambda: evaluate_positions(located, truth, BOX_SIZE, optimise=True, step=STEP)


def theirs(picks: int, classes: int) -> Callable[[], pd.DataFrame]:
    """TomoTwin's way."""
    located, truth = located_picks(picks, classes)
    return lambda: evaluate_by_matching_again(located, truth, BOX_SIZE, STEP)


def _difference(results: dict[str, Any]) -> float:
    """Largest difference of a score or a threshold."""
    first, second = (results[side].set_index("reference")[COLUMNS] for side in ("ours", "theirs"))
    return float(np.abs(first - second.loc[first.index]).to_numpy().max())


def _check(results: dict[str, Any]) -> None:
    require_agreement("evaluation", _difference(results), TOLERANCE)
