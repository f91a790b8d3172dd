"""Reading, computing and writing at the same time, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Unit = TypeVar("Unit")
Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")

#: Units that are read ahead, and units that wait to be written.
AHEAD = 2


def overlapped(
    units: Iterable[Unit],
    read: Callable[[Unit], Inputs],
    compute: Callable[[Unit, Inputs], Outputs],
    write: Callable[[Unit, Outputs], None],
    ahead: int = AHEAD,
) -> None:
    """Take each unit through the three steps, in order: ``read`` and ``write`` in a thread of their own each.

    What a step raises is raised here, once the step at work in each thread is through; no further one begins.

    Parameters
    ----------
    units : what to do, one after the other.
    read, compute, write : the steps; ``compute`` runs in the calling thread.
    ahead : at most so many units are held between two steps.
    """
    reader = ThreadPoolExecutor(1, thread_name_prefix="read")
    writer = ThreadPoolExecutor(1, thread_name_prefix="write")
    reads: deque[tuple[Unit, Future[Inputs]]] = deque()
    writes: deque[Future[None]] = deque()
    waiting = iter(units)
    try:
        while True:
            for unit in waiting:
                reads.append((unit, reader.submit(read, unit)))
                if len(reads) > ahead:
                    break
            if not reads:
                break
            unit, inputs = reads.popleft()
            writes.append(writer.submit(write, unit, compute(unit, inputs.result())))
            del inputs
            while writes and (len(writes) > ahead or writes[0].done()):
                writes.popleft().result()
        while writes:
            writes.popleft().result()
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
        writer.shutdown(wait=True, cancel_futures=True)
