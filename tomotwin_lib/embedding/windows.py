"""Embedding window by window: possible with every network, and the only way with most."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tomotwin_lib.embedding.inference import Form, Inference
from tomotwin_lib.embedding.overlap import AHEAD
from tomotwin_lib.embedding.precision import Precision
from tomotwin_lib.embedding.preparation import Statistics, standardise_volume, standardise_window
from tomotwin_lib.embedding.processes import do_work
from tomotwin_lib.embedding.reading import cut
from tomotwin_lib.embedding.work import Work, choose_form, row_of
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.products import FloatArray, Grid, IntArray, Keep

#: Voxels of a tomogram (padding included) that are on the device at a time: half a GiB in float32. While the
#: next ones are read it is twice that.
RESIDENT_VOXELS = 2**27

# Windows in a trial: the float32 of a CPU should take little of the time.
_TRIAL_WINDOWS = 16


class Batch(NamedTuple):
    """Windows that pass the network together.

    Attributes
    ----------
    slab : first plane of the grid, and the one after the last, that are on the device together.
    first, last : of the sites to embed; ``last`` is not included.
    """

    slab: tuple[int, int]
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class WindowWork(Work):
    """A tomogram in batches of windows.

    The tomogram goes to the device in slabs of whole planes, and the windows of a batch are gathered there.

    Attributes
    ----------
    network, data, grid, sites, statistics, padding : see :class:`~tomotwin_lib.embedding.work.Work`.
    batch_size : windows a pass through the network.
    resident_voxels : bound on a slab, in voxels; one plane of windows is the least.
    """

    batch_size: int
    resident_voxels: int = RESIDENT_VOXELS

    def units(self) -> Sequence[Batch]:
        """See :meth:`Work.units`."""
        return self._batches

    @cached_property
    def _batches(self) -> Sequence[Batch]:
        # Hundreds of thousands of a large tomogram, which are asked for several times.
        plane = self.grid.shape[1] * self.grid.shape[2]
        batches = []
        for slab in self._slabs():
            first, last = (index * plane for index in slab)
            if self.sites is not None:
                first, last = (int(index) for index in np.searchsorted(self.sites, (first, last)))
            batches += [
                Batch(slab, start, min(start + self.batch_size, last))
                for start in range(first, last, self.batch_size)
            ]
        return batches

    def count(self, unit: Batch) -> int:
        """See :meth:`Work.count`."""
        return unit.last - unit.first

    def inference(self, device: torch.device, form: Form) -> Inference:
        """See :meth:`Work.inference`."""
        return Inference(self.network, device, form)

    def reader(self, device: torch.device) -> Callable[[Batch], tuple[torch.Tensor, torch.Tensor]]:
        """See :meth:`Work.reader`.

        It gives a view of every window of the slab, (z, y, x, window, window, window), and where in it those
        of the batch are, (b, 3), both on the device.
        """
        resident: dict[tuple[int, int], torch.Tensor] = {}
        window = self.network.window_size

        def read(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            if batch.slab not in resident:
                resident.clear()
                windows = self._slab(batch.slab).to(device)
                for axis in range(3):
                    windows = windows.unfold(axis, window, 1)  # a view: nothing is copied
                resident[batch.slab] = windows
            chosen = slice(batch.first, batch.last)
            sites = np.arange(batch.first, batch.last) if self.sites is None else self.sites[chosen]
            indices = np.stack(np.unravel_index(sites, self.grid.shape), axis=1)
            indices[:, 0] -= batch.slab[0]
            starts = torch.from_numpy(indices * np.asarray(self.grid.stride))
            return resident[batch.slab], starts.to(device)

        return read

    def compute(
        self, unit: Batch, inputs: tuple[torch.Tensor, torch.Tensor], inference: Inference
    ) -> torch.Tensor:
        """See :meth:`Work.compute`."""
        windows, starts = inputs
        batch = windows[tuple(starts.T)]
        if self.network.standardisation == "window":
            batch = standardise_window(batch)
        return inference(batch[:, None])

    def positions(self, unit: Batch) -> tuple[Any, Any]:
        """See :meth:`Work.positions`."""
        return slice(None), slice(unit.first, unit.last)

    def effort(self, unit: Batch) -> float:
        """See :meth:`Work.effort`: the windows."""
        return float(self.count(unit))

    def memory(self) -> int:
        """See :meth:`Work.memory`: slabs, of batches that wait too, the next one, and the maps of a batch."""
        edge = self.network.window_size
        slabs = list(self._slabs())
        slab = max((last - first) * self.grid.stride[0] for first, last in slabs) + edge
        plane = int(np.prod([size + (edge - 1) * self.padding for size in self.data.shape[1:]]))
        alive = min(AHEAD + 2, len(slabs) + 1)
        return alive * 4 * slab * plane + self.batch_size * largest_maps(self.network)

    def trial(self, device: torch.device) -> Batch:
        """See :meth:`Work.trial`; a whole batch on a GPU, where the algorithm depends on its size."""
        batch = self.units()[0]
        if device.type == "cuda":
            return batch
        return batch._replace(last=min(batch.last, batch.first + _TRIAL_WINDOWS))

    def _slabs(self) -> Iterator[tuple[int, int]]:
        """Ranges of planes of the grid, first and end, whose windows fit in the bound together."""
        window = self.network.window_size
        margin = window // 2 if self.padding else 0
        plane_voxels = (self.data.shape[1] + 2 * margin) * (self.data.shape[2] + 2 * margin)
        planes = max((self.resident_voxels // plane_voxels - window) // self.grid.stride[0] + 1, 1)
        for first in range(0, self.grid.shape[0], planes):
            yield first, min(first + planes, self.grid.shape[0])

    def _slab(self, slab: tuple[int, int]) -> torch.Tensor:
        """The voxels that the windows of some planes of the grid cover, protein bright, float32."""
        half = self.network.window_size // 2
        starts = [origin - half for origin in self.grid.origin]
        stops = [
            start + stride * (count - 1) + self.network.window_size
            for start, stride, count in zip(starts, self.grid.stride, self.grid.shape, strict=True)
        ]
        stops[0] = starts[0] + self.grid.stride[0] * (slab[1] - 1) + self.network.window_size
        starts[0] += self.grid.stride[0] * slab[0]
        box = cut(self.data, starts, stops, padding=self.padding)
        if self.network.standardisation == "volume":
            box = standardise_volume(box, self.statistics)
        box = box.astype(np.float32, copy=False)
        return torch.from_numpy(np.negative(box, out=box))


def largest_maps(network: EmbeddingNetwork) -> int:
    """Bytes of the largest input and output of a layer together, for one window, in float32."""
    module = copy.deepcopy(network).eval().to("meta")
    found = [0]

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        parts = (*inputs, output)
        found.append(sum(4 * part.numel() for part in parts if isinstance(part, torch.Tensor)))

    for layer in module.modules():
        if not list(layer.children()):
            layer.register_forward_hook(note)
    with torch.inference_mode():
        module(torch.empty(1, 1, *(network.window_size,) * 3, device="meta"))
    return max(found)


def embed_windows(
    network: EmbeddingNetwork,
    data: npt.NDArray[Any],
    grid: Grid,
    sites: IntArray | None = None,
    *,
    statistics: Statistics,
    padding: bool,
    batch_size: int,
    device: torch.device | Sequence[torch.device],
    precision: Precision = "auto",
    progress: bool = True,
    resident_voxels: int = RESIDENT_VOXELS,
    keep: Keep | None = None,
) -> FloatArray:
    """Embed the windows around the centres of a grid.

    Parameters
    ----------
    network, data, grid, sites, statistics, padding, batch_size, resident_voxels : see :class:`WindowWork`.
    device, keep : see :func:`~tomotwin_lib.embedding.processes.do_work`.
    precision : see :func:`~tomotwin_lib.embedding.work.choose_form`.

    Returns
    -------
    (site, channel), float32, of unit norm, in the order of the sites; or (site, value) of what was kept.
    """
    work = WindowWork(network, data, grid, sites, statistics, padding, batch_size, resident_voxels)
    devices = (device,) if isinstance(device, torch.device) else tuple(device)
    form = choose_form(work, devices, precision)
    return do_work(work, devices, form, row_of(network, keep), keep=keep, progress=progress)[0]
