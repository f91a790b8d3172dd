"""The machine that the times are from, and the fastest it can compute."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.child import child_process
from benchmarks.timing import Settings


@dataclass(frozen=True)
class Machine:
    """A description of the machine.

    Attributes
    ----------
    processor, cores, memory_bytes : as the system tells.
    threads : what each side of a comparison computes with.
    load : processes that wanted a core in the minute before; what is above 0 was somebody else's.
    gpu : its name, or ``None``.
    peak_operations : float32 operations a second of a large matrix product, the best of some.
    system, python, torch : versions.
    """

    processor: str
    cores: int
    memory_bytes: int
    threads: int
    load: float
    gpu: str | None
    peak_operations: float
    system: str
    python: str
    torch: str

    def as_json(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.processor}, {self.cores} cores ({self.threads} threads a side), "
            f"{self.memory_bytes / 2**30:.0f} GiB memory, {self.gpu or 'no GPU'}; {self.system}, "
            f"Python {self.python}, PyTorch {self.torch}; float32 matrix product "
            f"{self.peak_operations / 1e9:.0f} GFLOP/s; load before the run {self.load:.1f}"
        )


def describe(settings: Settings) -> Machine:
    """Describe this machine; the matrix product takes some seconds."""
    load = os.getloadavg()[0]
    edge = settings.pick(4096, 128)
    with child_process(settings.threads) as child:
        child.prepare(matrix_product, edge)
        seconds = min(child.run().seconds for _ in range(settings.pick(4, 1)))
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        threads=settings.threads,
        load=load,
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        peak_operations=matrix_product_operations(edge) / seconds,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        torch=torch.__version__,
    )


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def matrix_product(edge: int) -> Callable[[], None]:
    """The product of two square float32 matrices, which no network can be faster than."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(edge, edge, generator=generator) for _ in range(2))
    product = torch.empty(edge, edge)

    def run() -> None:
        torch.mm(a, b, out=product)

    return run


def matrix_product_operations(edge: int) -> float:
    """Additions and multiplications of that product."""
    return 2.0 * edge**3


def commit() -> str:
    """The commit of the code, with ``+`` where files differ from it; "unknown" outside a repository."""
    here = Path(__file__).parent
    try:
        commit, changes = (
            subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + "+" * bool(changes)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
