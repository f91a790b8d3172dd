"""What embedding a tomogram will take: told before the work, and refused where it cannot fit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tomotwin_lib.embedding.inference import Form
from tomotwin_lib.embedding.memory import available_host_memory, available_memory
from tomotwin_lib.embedding.precision import seconds_of
from tomotwin_lib.embedding.work import Work
from tomotwin_lib.errors import InputError
from tomotwin_lib.products import FloatArray

# Code and libraries in memory, measured with PyTorch 2.13 for CPUs.
_PROGRAM = 450_000_000
# Bytes of a position's coordinates in a file.
_COORDINATES = 3 * 4


@dataclass(frozen=True)
class Estimate:
    """What a tomogram's embedding will take.

    Attributes
    ----------
    positions : number of positions.
    devices : where it is computed.
    seconds : from a short trial on the first device; reading the file the first time may add to it.
    memory : bytes of main memory at the peak, of all processes together.
    available : bytes of main memory that are to be had now.
    disk : bytes of a file that holds what is kept of each position.
    """

    positions: int
    devices: tuple[str, ...]
    seconds: float
    memory: int
    available: int
    disk: int

    def __str__(self) -> str:
        """In a line, without the file, which not everybody writes."""
        return (
            f"{self.positions:,} positions on {', '.join(self.devices)}: about {duration(self.seconds)}, "
            f"{gigabytes(self.memory)} of memory ({gigabytes(self.available)} free)"
        )


def estimate_work(work: Work, row: FloatArray, devices: Sequence[torch.device], form: Form) -> Estimate:
    """Estimate some work by doing a small piece of it, three times.

    Parameters
    ----------
    row : (1, value), what is kept of a position.
    devices, form : where and how it is computed.
    """
    device = devices[0]
    unit = work.trial(device)
    inputs = work.reader(device)(unit)
    inference = work.inference(device, form)
    seconds = seconds_of(lambda: work.compute(unit, inputs, inference), device)
    effort = sum(work.effort(one) for one in work.units()) / work.effort(unit)
    return Estimate(
        positions=work.size,
        devices=tuple(str(one) for one in devices),
        seconds=seconds * effort / len(devices),
        memory=memory_of(work, row, devices),
        available=available_host_memory(),
        disk=work.size * (_COORDINATES + row.nbytes),
    )


def memory_of(work: Work, row: FloatArray, devices: Sequence[torch.device]) -> int:
    """Bytes of main memory that some work takes at its peak, its result included."""
    on_host = work.memory() if devices[0].type == "cpu" else 0
    return work.size * row.nbytes + len(devices) * (_PROGRAM + on_host)


def require_memory(work: Work, row: FloatArray, devices: Sequence[torch.device], source: str | Path) -> None:
    """Make sure that the work fits.

    Raises
    ------
    InputError
        If main memory cannot hold what is kept of all positions and a unit of work, or a device not a unit.
    """
    remedy = (
        "Use a larger --stride, a --zrange or a --mask, or keep picks only (--references; store = false on "
        "the platform)"
    )
    needed, free = memory_of(work, row, devices), available_host_memory()
    # The program is in memory already; and what is estimated is not refused for a few percent.
    if needed - _PROGRAM > 1.1 * free:
        raise InputError(
            source,
            f"embedding {work.size:,} positions takes about {gigabytes(needed)} of memory, "
            f"{gigabytes(free)} are free",
            remedy,
        )
    if devices[0].type == "cuda" and work.memory() > available_memory(devices[0]):
        raise InputError(
            source,
            f"a unit of work takes about {gigabytes(work.memory())} on {devices[0]}, "
            f"{gigabytes(available_memory(devices[0]))} are free there",
            "Use a smaller --batchsize, or free the device",
        )


def require_disk(estimate: Estimate, folder: Path) -> None:
    """Make sure that a folder has room for the file of an embedding.

    Raises
    ------
    InputError
        If not.
    """
    free = shutil.disk_usage(folder).free
    if estimate.disk > free:
        raise InputError(
            folder,
            f"{gigabytes(estimate.disk)} are to be written there, {gigabytes(free)} are free",
            "Use another folder, a larger --stride, or keep picks only (--references)",
        )


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def gigabytes(count: float) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.1f} GB" if count >= 5e7 else f"{count / 1e6:.1f} MB"
