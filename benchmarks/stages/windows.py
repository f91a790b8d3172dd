"""The window path with TomoTwin's network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.inputs import tomogram
from benchmarks.result import StageResult, require_agreement
from benchmarks.timing import Settings, Side, grow, take_turns
from benchmarks.tomotwin_way.siamese import GROUPS, OUTPUT_CHANNELS, PublishedSiameseNet
from benchmarks.tomotwin_way.windows import Windows, embed_window_by_window
from tomotwin_lib.embedding.grids import window_grid
from tomotwin_lib.embedding.precision import Precision, low_precision
from tomotwin_lib.embedding.preparation import volume_statistics
from tomotwin_lib.embedding.windows import embed_windows
from tomotwin_lib.networks.siamese import SiameseNet
from tomotwin_lib.products import FloatArray

SHAPE = (48, 48, 48)
BATCH_SIZE = 64
TOLERANCE = 1e-4
#: bfloat16 has 8 bits of precision; errors of the layers add up at random.
BFLOAT16_TOLERANCE = 3e-2
REQUIRED_RATIO = 1.1
REQUIRED_BFLOAT16_RATIO = 2.0


def measure_windows(settings: Settings) -> list[StageResult]:
    """In float32, and in bfloat16 where the processor and the library have it."""
    count: int = settings.pick(BATCH_SIZE, 1)
    # Other processors emulate it, more slowly than they compute in float32.
    able = low_precision(torch.device("cpu")) == torch.bfloat16
    sides = {
        "ours": Side(ours, (count,), count),
        "theirs": Side(theirs, (count,), count),
    }
    if able:
        sides["bfloat16"] = Side(ours, (count, "bfloat16"), count)
    # Half a minute a round and side: two rounds.
    fewer = Settings(settings.quick, settings.threads, min(settings.rounds, 2))
    turns = take_turns(sides, fewer, _check)
    sizes = (8, 16, 32, 64)
    # A single window takes 30 GFLOP, too many to repeat where only the code is to be seen working.
    growth = (
        None
        if settings.quick
        else grow(
            "windows",
            {size: Side(ours, (size,)) for size in sizes},
            settings,
            {size: Side(theirs, (size,)) for size in sizes},
            seconds_for_theirs=20,
        )
    )
    given = (
        f"SiameseNet, TomoTwin's geometry, random weights; {count:,} × 37³ voxels, batches of {BATCH_SIZE}"
    )
    full = turns.compared(
        name="window path, float32",
        input=given,
        item="position",
        required_ratio=REQUIRED_RATIO,
        growth=growth,
        difference=_difference(turns.results, "ours"),
        tolerance=TOLERANCE,
    )
    name = "window path, bfloat16"
    if not able:
        return [
            full,
            StageResult(name, given, required_ratio=REQUIRED_BFLOAT16_RATIO, note="not on this CPU"),
        ]
    half = turns.compared(
        name=name,
        input=given,
        to="bfloat16",
        item="position",
        required_ratio=REQUIRED_BFLOAT16_RATIO,
        difference=_difference(turns.results, "bfloat16"),
        tolerance=BFLOAT16_TOLERANCE,
        note="TomoTwin's way in float32",
    )
    return [full, half]


def ours(count: int, precision: Precision = "float32") -> Callable[[], FloatArray]:
    """The library's window path."""
    torch.manual_seed(10)
    network = SiameseNet(OUTPUT_CHANNELS, "GroupNorm", {"num_groups": GROUPS}).eval()
    data = tomogram(SHAPE).data
    return lambda: embed_windows(
        network,
        data,
        window_grid(SHAPE),
        _sites(count),
        statistics=volume_statistics(data),
        padding=True,
        batch_size=BATCH_SIZE,
        device=torch.device("cpu"),
        progress=False,
        precision=precision,
    )


def theirs(count: int) -> Callable[[], FloatArray]:
    """TomoTwin's way, with the same weights in a network of its own."""
    torch.manual_seed(10)
    weights = SiameseNet(OUTPUT_CHANNELS, "GroupNorm", {"num_groups": GROUPS}).state_dict()
    network = PublishedSiameseNet()
    network.load_state_dict(weights)
    centres = window_grid(SHAPE).positions(_sites(count)).astype(int)
    windows = Windows(tomogram(SHAPE).data, centres)
    return lambda: embed_window_by_window(network.eval(), windows)


def _sites(count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.sort(np.random.default_rng(11).choice(window_grid(SHAPE).size, count, replace=False))


def _difference(results: dict[str, Any], side: str) -> float:
    return float(np.abs(results[side] - results["theirs"]).max())


def _check(results: dict[str, Any]) -> None:
    require_agreement("window path", _difference(results, "ours"), TOLERANCE)
    if "bfloat16" in results:
        require_agreement("window path, bfloat16", _difference(results, "bfloat16"), BFLOAT16_TOLERANCE)
