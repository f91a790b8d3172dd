"""Embedding as work in units that do not depend on each other, on one device or shared among several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from tomotwin_lib.embedding.inference import COMPILE_FROM_SECONDS, Form, Inference, evaluating
from tomotwin_lib.embedding.overlap import overlapped
from tomotwin_lib.embedding.precision import Precision, checked_precision, timed, wanted_precision
from tomotwin_lib.embedding.preparation import Statistics
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.products import FloatArray, Grid, IntArray, Keep

# Vectors that are compared in a trial.
_TRIAL_ROWS = 64


@dataclass(frozen=True, eq=False)
class Work(ABC):
    """What is to be embedded, and by what. It has no state of a device, so it can be sent to processes.

    Attributes
    ----------
    network : the network; it says how windows are standardised.
    data : tomogram (z, y, x) as its file has it: protein dark, any number type, memory-mapped or not.
    grid, sites : window centres in voxels of ``data``, and those of them to embed (flat indices in rising
        order; ``None`` for all).
    statistics : mean and deviation of the whole tomogram, for networks that want it standardised by these.
    padding : continue the tomogram by reflection where a window reaches out of it; otherwise none may.
    """

    network: EmbeddingNetwork
    data: npt.NDArray[Any]
    grid: Grid
    sites: IntArray | None
    statistics: Statistics
    padding: bool

    @property
    def size(self) -> int:
        """Number of sites to embed."""
        return self.grid.size if self.sites is None else len(self.sites)

    @abstractmethod
    def units(self) -> Sequence[Any]:
        """The units, in the order in which they are best done."""

    @abstractmethod
    def count(self, unit: Any) -> int:
        """Number of a unit's vectors that are wanted."""

    @abstractmethod
    def inference(self, device: torch.device, form: Form) -> Inference:
        """The network on a device."""

    @abstractmethod
    def reader(self, device: torch.device) -> Callable[[Any], Any]:
        """What reads for a unit; it is called in a thread beside the one that computes."""

    @abstractmethod
    def compute(self, unit: Any, inputs: Any, inference: Inference) -> torch.Tensor:
        """The vectors of a unit, (site, channel), float32, of unit norm, on the device."""

    @abstractmethod
    def positions(self, unit: Any) -> tuple[Any, Any]:
        """Which of a unit's vectors are wanted, and which rows of the result these are, as indices."""

    @abstractmethod
    def effort(self, unit: Any) -> float:
        """What a unit takes, in any measure that is proportional to its time."""

    @abstractmethod
    def memory(self) -> int:
        """Bytes that a unit takes on its device, with those that are read ahead and wait to be written."""

    @abstractmethod
    def trial(self, device: torch.device) -> Any:
        """A unit that shows how the network computes on a device."""


def do_units(
    work: Work,
    units: Sequence[Any],
    device: torch.device,
    form: Form,
    result: FloatArray,
    *,
    keep: Keep | None,
    progress: bool,
) -> None:
    """Do some units of the work on one device; reading, computing and writing overlap.

    Parameters
    ----------
    result : (site, value), which the units are written to.
    keep : what to keep of vectors, where they themselves are not wanted.
    """
    inference = work.inference(device, form)
    total = sum(work.count(unit) for unit in units)
    with tqdm(total=total, unit="position", unit_scale=True, desc="embedding", disable=not progress) as bar:

        def write(unit: Any, vectors: torch.Tensor) -> None:
            chosen, positions = work.positions(unit)
            rows = vectors[chosen].cpu().numpy()
            result[positions] = rows if keep is None else keep(rows)
            bar.update(len(rows))

        def compute(unit: Any, inputs: Any) -> torch.Tensor:
            return work.compute(unit, inputs, inference)

        overlapped(units, work.reader(device), compute, write)


def choose_form(work: Work, devices: Sequence[torch.device], precision: Precision) -> Form:
    """How the network computes on all of the devices, by a trial on the first.

    Parameters
    ----------
    precision : what to compute in: ``auto`` takes 16-bit floats on GPUs, and on CPUs that multiply these
        faster; 16-bit floats are used only if the network then agrees with itself in float32.

    Raises
    ------
    InputError
        If there is no precision of that name.
    """
    device = devices[0]
    wanted = wanted_precision(precision, device)
    if device.type != "cuda" and wanted == torch.float32:
        return Form()
    unit = work.trial(device)
    inputs = work.reader(device)(unit)
    inferences: dict[torch.dtype, Inference] = {}

    def compute(dtype: torch.dtype) -> torch.Tensor:
        if dtype not in inferences:
            inferences[dtype] = work.inference(device, Form(dtype))
        vectors = work.compute(unit, inputs, inferences[dtype])
        return vectors[:: max(len(vectors) // _TRIAL_ROWS, 1)]

    dtype = checked_precision(wanted, device, compute, type(work.network).__name__)
    if device.type != "cuda":
        return Form(dtype)
    _, seconds = timed(compute, dtype, device)
    expected = seconds * len(work.units()) / len(devices)
    return Form(dtype, compiled=expected > COMPILE_FROM_SECONDS)


def row_of(network: EmbeddingNetwork, keep: Keep | None) -> FloatArray:
    """What is kept of some vector, (1, value): its length and number type are those of all."""
    edge = network.window_size
    window = torch.zeros(1, 1, edge, edge, edge, device=next(network.parameters()).device)
    with evaluating(network), torch.inference_mode():
        channels = network(window).shape[1]
    vector = np.eye(1, channels, dtype=np.float32)
    return vector if keep is None else keep(vector)
