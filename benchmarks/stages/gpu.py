"""Embedding on a GPU, where there is one."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from benchmarks.inputs import fully_convolutional, tomogram
from benchmarks.result import StageResult
from benchmarks.timing import Settings
from benchmarks.tomotwin_way.siamese import GROUPS, OUTPUT_CHANNELS
from tomotwin_lib.embedding.grids import window_grid
from tomotwin_lib.embedding.preparation import volume_statistics
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.embedding.windows import embed_windows
from tomotwin_lib.networks.siamese import SiameseNet

Shape = tuple[int, int, int]

WIDTH = 24
SAMPLE: Shape = (128, 256, 256)
TOMOGRAMS: tuple[Shape, ...] = ((512, 512, 512), (300, 1000, 1000))
#: Whole tomograms that would take longer are left out.
LONGEST = 300.0
WINDOWS = 4096
BATCH_SIZE = 256


def measure_gpu(settings: Settings) -> list[StageResult]:
    """Positions a second, dense and by windows, and whole tomograms as far as time allows."""
    if not torch.cuda.is_available():
        return [StageResult("embedding on a GPU", "", note="no GPU on this machine")]
    shape: Shape = settings.pick(SAMPLE, (16, 20, 20))
    count: int = settings.pick(WINDOWS, 2)
    results = [_dense(shape, settings), _windows(count, settings)]
    a_position = results[0].ours_seconds
    assert a_position is not None
    for whole in settings.pick(TOMOGRAMS, ()):
        expected = window_grid(whole).size * a_position
        if expected > LONGEST:
            skipped = f"left out: {expected:,.0f} s expected, {LONGEST:,.0f} allowed"
            results.append(StageResult("whole tomogram, dense, GPU", _voxels(whole), note=skipped))
        else:
            one = Settings(settings.quick, settings.threads, 1)
            seconds, peak = _timed(_dense_run(whole), one)
            results.append(
                StageResult(
                    "whole tomogram, dense, GPU", _voxels(whole), ours_seconds=seconds, note=_memory(peak)
                )
            )
    return results


def _dense(shape: Shape, settings: Settings) -> StageResult:
    seconds, peak = _timed(_dense_run(shape), settings)
    positions = window_grid(shape).size
    return StageResult(
        name=f"dense, width {WIDTH}, GPU",
        input=_voxels(shape),
        item="position",
        ours_seconds=seconds / positions,
        note=f"{positions / seconds:,.0f} positions/s; {_memory(peak)}",
    )


def _windows(count: int, settings: Settings) -> StageResult:
    torch.manual_seed(10)
    device = torch.device("cuda")
    network = SiameseNet(OUTPUT_CHANNELS, "GroupNorm", {"num_groups": GROUPS}).eval().to(device)
    data = tomogram((48, 48, 48)).data
    sites = torch.arange(min(count, window_grid(data.shape).size)).numpy()

    def run() -> object:
        return embed_windows(
            network,
            data,
            window_grid(data.shape),
            sites,
            statistics=volume_statistics(data),
            padding=True,
            batch_size=BATCH_SIZE,
            device=device,
            progress=False,
        )

    seconds, peak = _timed(run, settings)
    return StageResult(
        name="window path, SiameseNet, GPU",
        input=f"{len(sites):,} windows, batches of {BATCH_SIZE}",
        item="position",
        ours_seconds=seconds / len(sites),
        note=f"{len(sites) / seconds:,.0f} positions/s; {_memory(peak)}",
    )


def _dense_run(shape: Shape) -> Callable[[], object]:
    loaded, volume = fully_convolutional(WIDTH), tomogram(shape)
    return lambda: (
        embed_tomogram(loaded, volume, stride=2, method="dense", device="cuda", progress=False).vectors
    )


def _timed(run: Callable[[], object], settings: Settings) -> tuple[float, int]:
    """Seconds of the best round, and the largest memory that tensors took on the GPU."""
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    # Vectors come back as arrays of the main memory, so nothing is still under way when a run returns. Where
    # there are several rounds, the first one also starts the device and does not count.
    for _ in range(1 if settings.rounds == 1 or settings.quick else settings.rounds + 1):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:] or seconds), torch.cuda.max_memory_allocated()


def _memory(peak: int) -> str:
    return f"{peak / 1e9:.1f} GB on the GPU"


def _voxels(shape: Shape) -> str:
    return f"{' × '.join(map(str, shape))} voxels, stride 2"
