"""Work done on one device in this process, or on several in one process each, by PyTorch's own launcher."""

from __future__ import annotations

import copy
import logging
import mmap
import os
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tomotwin_lib.embedding.checks import rows_not_finite
from tomotwin_lib.embedding.inference import Form
from tomotwin_lib.embedding.work import Work, choose_form, do_units
from tomotwin_lib.errors import InputError
from tomotwin_lib.products import FloatArray, Keep

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Mapped:
    """A memory-mapped array, told so that another process can map it too."""

    path: Path
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]

    def open(self) -> npt.NDArray[Any]:
        return np.memmap(self.path, dtype=self.dtype, mode="r", offset=self.offset, shape=self.shape)


@dataclass(frozen=True)
class _Job:
    work: Work
    data: _Mapped
    result: Path
    devices: tuple[torch.device, ...]
    form: Form
    keep: Keep | None
    threads: int
    progress: bool


def do_work(
    work: Work,
    devices: Sequence[torch.device],
    form: Form,
    row: FloatArray,
    *,
    keep: Keep | None = None,
    progress: bool = True,
) -> tuple[FloatArray, Form]:
    """Embed all sites of the work.

    With several devices, each has a process. The processes write to one memory-mapped file in the folder for
    temporary files, which has no name any more once they are through and is gone when the array is. As always
    where processes are started anew, a script that does this must do so under ``if __name__ == "__main__":``.

    Parameters
    ----------
    devices : at most as many as there are units are used.
    form : how to compute, as :func:`~tomotwin_lib.embedding.work.choose_form` chooses it.
    row : (1, value), what :func:`~tomotwin_lib.embedding.work.row_of` tells of ``keep``.
    keep : what to keep of the vectors, where they themselves are not wanted. With several devices it is sent
        to other processes: a function or an object of a class at the top of a module.

    Returns
    -------
    (site, channel), float32, of unit norm, or (site, value) of what was kept; and how it was computed.

    Raises
    ------
    InputError
        If the folder for temporary files is too small.
    RuntimeError
        If one of several processes fails; it says on which device and why.
    """
    units = work.units()
    devices = devices[: max(len(units), 1)]
    shape = work.size, row.shape[1]
    result: FloatArray
    if len(devices) > 1:
        result = _do_in_processes(work, devices, form, shape, row.dtype, keep, progress)
    else:
        result = np.empty(shape, dtype=row.dtype)
        do_units(work, units, devices[0], form, result, keep=keep, progress=progress)
    # What the trial did not meet: a marker of gold can be too bright for 16-bit floats.
    if form.dtype != torch.float32 and (bad := rows_not_finite(result)):
        logger.warning("half precision overflows at %d positions: all are computed again in float32", bad)
        del result
        exact = choose_form(work, devices, "float32")
        return do_work(work, devices, exact, row, keep=keep, progress=progress)
    return result, form


def _do_in_processes(
    work: Work,
    devices: Sequence[torch.device],
    form: Form,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    keep: Keep | None,
    progress: bool,
) -> FloatArray:
    # Only here: with one device nothing of this is needed, and it takes a second to import.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="tomotwin_") as name:
        folder = Path(name)
        path = folder / "vectors.npy"
        result = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        _reserve(path)
        threads = max(torch.get_num_threads() // len(devices), 1)
        data = _mapped(work.data, folder)
        # The tomogram goes by its file: an array would be copied to every process.
        network = copy.deepcopy(work.network).cpu()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # what the trial took is for the process on that GPU now
        sent = replace(work, network=network, data=np.empty((0, 0, 0)))
        job = _Job(sent, data, path, tuple(devices), form, keep, threads, progress)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=len(devices),
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=str(folder / "log")),
        )
        try:
            elastic_launch(config, _do_share)(job)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise RuntimeError(f"embedding on {devices[rank]} failed: {failure.message}") from error
        return np.asarray(result)


def _do_share(job: _Job) -> None:
    """What a process does."""
    rank = int(os.environ["LOCAL_RANK"])
    device = job.devices[rank]
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(job.threads)
    work = replace(job.work, data=job.data.open())
    units = work.units()
    first, last = (len(units) * index // len(job.devices) for index in (rank, rank + 1))
    result = np.load(job.result, mmap_mode="r+")
    # The shares take equally long, so the first one's progress is that of all.
    progress = job.progress and rank == 0
    do_units(work, units[first:last], device, job.form, result, keep=job.keep, progress=progress)


def _reserve(path: Path) -> None:
    """Take the room for a file that was made at its full length: without it, writing would be a crash."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise InputError(
                tempfile.gettempdir(),
                f"there is no room for {path.stat().st_size:,} bytes ({error.strerror})",
                "Set TMPDIR to a folder with more room, or embed on one device",
            ) from error


def _mapped(data: npt.NDArray[Any], folder: Path) -> _Mapped:
    """The file that an array is the memory map of; where it is none, one is written in the folder."""
    if isinstance(data, np.memmap) and isinstance(data.base, mmap.mmap) and data.filename is not None:
        return _Mapped(Path(data.filename), data.dtype, data.offset, data.shape)
    path = folder / "tomogram.npy"
    np.save(path, data)
    written = np.load(path, mmap_mode="r")
    return _Mapped(path, written.dtype, written.offset, written.shape)
