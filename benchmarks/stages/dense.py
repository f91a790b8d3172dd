"""Dense evaluation against window by window, with the same network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.inputs import fully_convolutional, tomogram
from benchmarks.machine import matrix_product, matrix_product_operations
from benchmarks.result import Growth, StageResult, require_agreement
from benchmarks.timing import Settings, Side, Turns, grow, take_turns
from benchmarks.tomotwin_way.windows import Windows, embed_window_by_window
from tomotwin_lib.embedding.grids import window_grid
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.products import FloatArray, IntArray

Shape = tuple[int, int, int]

STRIDE = 2
TOLERANCE = 1e-4
REQUIRED_RATIO = {32: 150.0, 24: 100.0}
REQUIRED_PEAK_SHARE = 0.6


def measure_dense(settings: Settings) -> list[StageResult]:
    """Both widths, and the share of the machine's matrix peak at the full one."""
    shape: Shape = settings.pick((64, 160, 160), (12, 20, 20))
    windows: int = settings.pick(128, 4)
    edge: int = settings.pick(4096, 128)
    required: dict[int, float] = settings.pick(REQUIRED_RATIO, {4: 1.0, 2: 1.0})
    full, default = required
    results = []
    for width in required:
        positions = window_grid(shape, STRIDE).size
        sides = {
            "ours": Side(densely, (width, shape), positions),
            "theirs": Side(window_by_window, (width, shape, windows), windows),
        }
        if width == full:
            sides["peak"] = Side(matrix_product, (edge,), matrix_product_operations(edge))
        turns = take_turns(sides, settings, _check(shape, windows))
        results.append(
            turns.compared(
                name=f"dense against window by window, width {width}",
                input=f"{_times(shape)} voxels, stride {STRIDE}: {positions:,} positions; {windows} windows",
                item="position",
                required_ratio=required[width],
                difference=_difference(turns.results, shape, windows),
                tolerance=TOLERANCE,
                note="time of windows is proportional to their number, hence a sample of them",
            )
        )
        if width == full:
            results.append(_share(turns, width, edge))
    results[-1].growth = _growth(settings, default, shape)
    return results


def _share(turns: Turns, width: int, edge: int) -> StageResult:
    """The rate of the dense evaluation over that of the matrix product in the same round."""
    useful = operations_per_position(width)
    return StageResult(
        name=f"share of the float32 matrix peak, dense, width {width}",
        input=f"the same; {useful / 1e6:.2f} million useful operations a position; {edge}² matrices",
        item="position",
        ours_seconds=turns.middle("ours"),
        peak_share=useful * float(np.median(turns.ratios("peak", "ours"))),
        required_peak_share=REQUIRED_PEAK_SHARE,
        note=f"peak {1 / turns.middle('peak') / 1e9:.0f} GFLOP/s in the same rounds; counted are the "
        "operations of plain convolutions at the positions asked for, not what tiles compute twice; a share "
        "above 100% is an algorithm that needs fewer operations than these",
    )


def _growth(settings: Settings, width: int, shape: Shape) -> Growth:
    shapes: list[Shape] = settings.pick(
        [(16, 40, 40), (24, 64, 64), (40, 96, 96), (64, 160, 160)],
        [(4, 8, 8), (4, 8, 12), (4, 12, 12), (8, 12, 12)],
    )
    counts: tuple[int, ...] = settings.pick((16, 32, 64, 128), (1, 2, 3, 4))
    return grow(
        "positions",
        {window_grid(one, STRIDE).size: Side(densely, (width, one)) for one in shapes},
        settings,
        {count: Side(window_by_window, (width, shape, count)) for count in counts},
    )


def densely(width: int, shape: Shape) -> Callable[[], FloatArray]:
    """Ours: a whole tomogram (z, y, x) at once, its checks and its standardisation included."""
    loaded, volume = fully_convolutional(width), tomogram(shape)
    return lambda: (
        embed_tomogram(
            loaded, volume, stride=STRIDE, method="dense", device="cpu", progress=False, precision="float32"
        ).vectors
    )


def window_by_window(width: int, shape: Shape, count: int) -> Callable[[], FloatArray]:
    """TomoTwin's way: ``count`` windows of the same tomogram, by the same network."""
    network = fully_convolutional(width).network.eval()
    centres = window_grid(shape, STRIDE).positions(sampled_sites(shape, count)).astype(int)
    windows = Windows(tomogram(shape).data, centres, standardise="volume")
    return lambda: embed_window_by_window(network, windows)


def sampled_sites(shape: Shape, count: int) -> IntArray:
    """Sites of the tomogram's grid, in rising order; some lie at its border, where it is continued."""
    sites = np.random.default_rng(9).choice(window_grid(shape, STRIDE).size, count, replace=False)
    return np.sort(sites)


def operations_per_position(width: int) -> int:
    """Additions and multiplications that a dense evaluation needs for one more position.

    Each weight of each convolution is multiplied once a position, as all layers behind the first have as many
    sites as there are positions. Whatever an algorithm saves or wastes, this is the useful work.
    """
    network = fully_convolutional(width).network
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv3d)]
    return 2 * sum(int(torch.numel(weight)) for weight in weights)


def _difference(results: dict[str, Any], shape: Shape, windows: int) -> float:
    ours = results["ours"][sampled_sites(shape, windows)]
    return float(np.abs(ours - results["theirs"]).max())


def _check(shape: Shape, windows: int) -> Callable[[dict[str, Any]], None]:
    def check(results: dict[str, Any]) -> None:
        require_agreement("dense", _difference(results, shape, windows), TOLERANCE)

    return check


def _times(shape: Shape) -> str:
    return " × ".join(map(str, shape))
