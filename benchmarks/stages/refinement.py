"""Refinement of references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.inputs import drifting_references
from benchmarks.result import StageResult, require_agreement
from benchmarks.timing import Settings, Side, grow, take_turns
from benchmarks.tomotwin_way.similarity import refine_by_pairs
from tomotwin_lib.products import FloatArray
from tomotwin_lib.refinement import refine_references

#: Both sides choose among the same vectors: the same ones, or others.
TOLERANCE = 0.0
REQUIRED_RATIO = 50.0
ROUNDS = 7


def measure_refinement(settings: Settings) -> list[StageResult]:
    """Four references that move in each of seven rounds among 500 neighbours."""
    positions, references, neighbours = settings.pick((200_000, 4, 500), (4_000, 2, 20))
    given = (positions, references, neighbours)
    turns = take_turns({"ours": Side(ours, given), "theirs": Side(theirs, given)}, settings, _check)
    sizes = settings.pick((100_000, 200_000, 400_000, 800_000, 1_600_000), (2_000, 3_000, 4_000, 5_000))
    growth = grow(
        "positions",
        {size: Side(ours, (size, references, neighbours)) for size in sizes},
        settings,
        {size: Side(theirs, (size, references, neighbours)) for size in sizes},
        seconds_for_theirs=30,
    )
    return [
        turns.compared(
            name="refinement of references",
            input=f"{neighbours} of {positions:,} positions, {ROUNDS} rounds, {references} references",
            required_ratio=REQUIRED_RATIO,
            growth=growth,
            difference=_difference(turns.results),
            tolerance=TOLERANCE,
        )
    ]


def ours(positions: int, references: int, neighbours: int) -> Callable[[], FloatArray]:
    """The library's refinement."""
    tomogram, moved = drifting_references(positions, references)
    return lambda: (
        refine_references(tomogram, moved, rounds=ROUNDS, neighbours=neighbours, guard=False).vectors
    )


def theirs(positions: int, references: int, neighbours: int) -> Callable[[], FloatArray]:
    """TomoTwin's way."""
    tomogram, moved = drifting_references(positions, references)
    return lambda: refine_by_pairs(tomogram.vectors, moved.vectors, ROUNDS, neighbours)


def _difference(results: dict[str, Any]) -> float:
    return float(np.abs(results["ours"] - results["theirs"]).max())


def _check(results: dict[str, Any]) -> None:
    require_agreement("refinement", _difference(results), TOLERANCE)
