"""A process of its own for each side: its peak memory is its own, and no side warms the other's caches."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

#: Makes the input and returns what is to be timed.
Recipe = Callable[..., Callable[[], Any]]

# What the child has prepared.
_prepared: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Run:
    """One run of what was prepared.

    Attributes
    ----------
    seconds : wall-clock time, without the preparation.
    peak_bytes : largest resident memory of the process while it ran, input and libraries included.
    result : what it returned, where that was asked for.
    """

    seconds: float
    peak_bytes: int
    result: Any = None


class Child:
    """A process that prepares and runs what it is told to."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def prepare(self, recipe: Recipe, *arguments: Any) -> None:
        """Make the input, off the clock; what was prepared before is forgotten."""
        self._pool.submit(_prepare, recipe, arguments).result()

    def run(self, keep: bool = False) -> Run:
        """Run what was prepared, once; its result comes back where it is to be kept."""
        return self._pool.submit(_run, keep).result()


@contextmanager
def child_process(threads: int) -> Iterator[Child]:
    """A child that computes with that many threads; it ends with the block."""
    # Forked from a server that has imported the libraries and nothing else: a start takes milliseconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.stages"])
    with ProcessPoolExecutor(
        1, mp_context=context, initializer=torch.set_num_threads, initargs=(threads,)
    ) as pool:
        yield Child(pool)


def _prepare(recipe: Recipe, arguments: tuple[Any, ...]) -> None:
    global _prepared
    _prepared = None
    gc.collect()
    _prepared = recipe(*arguments)


def _run(keep: bool) -> Run:
    assert _prepared is not None, "nothing is prepared"
    gc.collect()
    _reset_peak()
    start = time.perf_counter()
    result = _prepared()
    seconds = time.perf_counter() - start
    return Run(seconds, _peak_bytes(), result if keep else None)


def _reset_peak() -> None:
    """Let the peak begin anew; where the system cannot (other than Linux), it is that since the start."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    # The system's own account for processes, ru_maxrss, goes on from the process that was forked.
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
