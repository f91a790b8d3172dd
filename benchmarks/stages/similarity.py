"""The similarity map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.inputs import CHANNELS, embedding, reference_embedding
from benchmarks.result import StageResult, require_agreement
from benchmarks.timing import Settings, Side, grow, take_turns
from benchmarks.tomotwin_way.similarity import similarity_reference_by_reference
from tomotwin_lib.products import FloatArray
from tomotwin_lib.similarity import similarity_map

#: Half a step of 16-bit floats below 1: the library may give similarities as its files hold them.
TOLERANCE = 2.5e-4
REQUIRED_RATIO = 5.0


def measure_map(settings: Settings) -> list[StageResult]:
    """Two million positions and ten references."""
    positions, references = settings.pick((2_000_000, 10), (1_000, 3))
    sides = {"ours": Side(ours, (positions, references)), "theirs": Side(theirs, (positions, references))}
    turns = take_turns(sides, settings, _check)
    sizes = settings.pick((250_000, 500_000, 1_000_000, 2_000_000, 4_000_000), (500, 1_000, 1_500, 2_000))
    growth = grow(
        "positions",
        {size: Side(ours, (size, references)) for size in sizes},
        settings,
        {size: Side(theirs, (size, references)) for size in sizes},
    )
    return [
        turns.compared(
            name="similarity map",
            input=f"{positions:,} positions × {CHANNELS} channels × {references} references",
            required_ratio=REQUIRED_RATIO,
            growth=growth,
            difference=_difference(turns.results),
            tolerance=TOLERANCE,
        )
    ]


def ours(positions: int, references: int) -> Callable[[], FloatArray]:
    """The library's map."""
    tomogram, compared = embedding(positions), reference_embedding(references)
    return lambda: similarity_map(tomogram, compared, progress=False).values


def theirs(positions: int, references: int) -> Callable[[], FloatArray]:
    """TomoTwin's way."""
    vectors, compared = embedding(positions).vectors, reference_embedding(references).vectors
    return lambda: similarity_reference_by_reference(vectors, compared)


def _difference(results: dict[str, Any]) -> float:
    return float(np.abs(results["ours"] - results["theirs"]).max())


def _check(results: dict[str, Any]) -> None:
    require_agreement("similarity map", _difference(results), TOLERANCE)
