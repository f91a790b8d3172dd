"""Picks of a similarity map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.inputs import BOX_SIZE, similarity_map
from benchmarks.result import Disagreement, StageResult, require_agreement
from benchmarks.timing import Settings, Side, grow, take_turns
from benchmarks.tomotwin_way.locating import locate_by_flooding
from tomotwin_lib.locating import locate

Shape = tuple[int, int, int]

#: Positions are means of whole numbers, kept in float32.
TOLERANCE = 1e-3
REQUIRED_RATIO = 20.0
#: Linear, but for what small inputs have in common and large ones lose to the caches.
REQUIRED_EXPONENT = 1.15


def measure_locating(settings: Settings) -> list[StageResult]:
    """A map with 200 picks, and larger ones with as many a voxel."""
    shape: Shape = settings.pick((100, 190, 190), (30, 50, 50))
    turns = take_turns({"ours": Side(ours, (shape,)), "theirs": Side(theirs, (shape,))}, settings, _check)
    shapes: list[Shape] = settings.pick(
        [(50, 95, 95), (71, 134, 134), (100, 190, 190), (141, 269, 269), (200, 400, 400)],
        [(24, 44, 44), (30, 44, 44), (30, 50, 50), (30, 60, 60)],
    )
    growth = grow(
        "voxels",
        {int(np.prod(shape)): Side(ours, (shape,)) for shape in shapes},
        settings,
        {int(np.prod(shape)): Side(theirs, (shape,)) for shape in shapes},
    )
    return [
        turns.compared(
            name="locating",
            input=f"map of {shape[2]}×{shape[1]}×{shape[0]} voxels, {len(turns.results['ours'])} picks",
            required_ratio=REQUIRED_RATIO,
            growth=growth,
            required_exponent=REQUIRED_EXPONENT,
            difference=_difference(turns.results),
            tolerance=TOLERANCE,
            note="larger maps have as many picks a voxel",
        )
    ]


def ours(shape: Shape) -> Callable[[], pd.DataFrame]:
    """The library's picks; positions in voxels of the tomogram."""
    similarity = similarity_map(shape)
    return lambda: locate(similarity, box_sizes=BOX_SIZE, progress=False)


def theirs(shape: Shape) -> Callable[[], pd.DataFrame]:
    """TomoTwin's way; positions in voxels of the map."""
    similarity = similarity_map(shape)
    volume, step = similarity.volume(0), similarity.grid.stride[0]
    return lambda: locate_by_flooding(volume, box_size=BOX_SIZE / step)


def _difference(results: dict[str, Any]) -> float:
    """Largest difference of a position in voxels of the tomogram; the other columns must agree."""
    first, second = results["ours"], results["theirs"]
    if len(first) != len(second) or len(first) == 0:
        raise Disagreement(f"locating: {len(first)} picks here, {len(second)} there")
    for column in ("size", "metric_best"):
        if not np.array_equal(first[column], second[column]):
            raise Disagreement(f"locating: the picks' {column} differs")
    step = 2
    return float(np.abs(first[["Z", "Y", "X"]].to_numpy() - step * second[["Z", "Y", "X"]].to_numpy()).max())


def _check(results: dict[str, Any]) -> None:
    require_agreement("locating", _difference(results), TOLERANCE)
