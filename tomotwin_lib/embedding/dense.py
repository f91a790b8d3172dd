"""Embedding of a whole volume in tiles, by a network whose dense evaluation equals that of its windows."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tomotwin_lib.embedding.inference import Form, Inference
from tomotwin_lib.embedding.precision import Precision
from tomotwin_lib.embedding.preparation import Statistics, standardise_voxels
from tomotwin_lib.embedding.processes import do_work
from tomotwin_lib.embedding.reading import cut
from tomotwin_lib.embedding.tiling import (
    Edges,
    NetworkCost,
    Tile,
    Tiling,
    choose_tiling,
    network_cost,
    tile_budget,
)
from tomotwin_lib.embedding.work import Work, choose_form, row_of
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.products import FloatArray, Grid, IntArray, Keep

# Sites along each edge of a trial on a CPU: little of the time that even a small volume takes.
_TRIAL_SITES = 16


@dataclass(frozen=True)
class DensePass:
    """The sites that one dense evaluation reaches: every ``period``-th along each axis from ``first`` on.

    Attributes
    ----------
    start : (z, y, x) voxel of the first of these sites.
    spacing : (z, y, x) voxels between them, multiples of the network's stride.
    subsampling : (z, y, x) spacing over the network's stride.
    counts : (z, y, x) number of them.
    """

    first: Edges
    period: Edges
    start: Edges
    spacing: Edges
    subsampling: Edges
    counts: Edges

    def targets(self, tile: Tile) -> tuple[slice, ...]:
        """Where on the grid the sites of a tile lie, along (z, y, x)."""
        return tuple(
            slice(first + period * span.start, first + period * (span.stop - 1) + 1, period)
            for first, period, span in zip(self.first, self.period, tile.sites, strict=True)
        )


@dataclass(frozen=True)
class DenseUnit:
    """A tile of a pass, and how many of its sites are wanted."""

    part: DensePass
    tile: Tile
    count: int


@dataclass(frozen=True, eq=False)
class DenseWork(Work):
    """A tomogram in tiles.

    Attributes
    ----------
    network, data, grid, sites, statistics, padding : see :class:`~tomotwin_lib.embedding.work.Work`. Where a
        stride is no multiple of the network's, the volume is evaluated once for each residue that occurs.
    tiles : what :func:`dense_units` gives. They change memory and time, never the result.
    """

    network: DenseNetwork
    tiles: tuple[DenseUnit, ...]

    @property
    def tile_edges(self) -> Edges:
        """Sites along (z, y, x) of a tile."""
        z, y, x = (span.stop - span.start for span in self._largest.tile.computed)
        return z, y, x

    def units(self) -> Sequence[DenseUnit]:
        """See :meth:`Work.units`."""
        return self.tiles

    def count(self, unit: DenseUnit) -> int:
        """See :meth:`Work.count`."""
        return unit.count

    def inference(self, device: torch.device, form: Form) -> Inference:
        """See :meth:`Work.inference`."""
        return Inference(copy.deepcopy(self.network).eval().folded(), device, form)

    def reader(self, device: torch.device) -> Callable[[DenseUnit], torch.Tensor]:
        """See :meth:`Work.reader`; it gives the voxels that a tile's windows cover, (d, h, w)."""
        half = self.network.window_size // 2

        def read(unit: DenseUnit) -> torch.Tensor:
            spans = list(zip(unit.part.start, unit.part.spacing, unit.tile.computed, strict=True))
            starts = [start + spacing * span.start - half for start, spacing, span in spans]
            stops = [start + spacing * (span.stop - 1) + half + 1 for start, spacing, span in spans]
            voxels = torch.from_numpy(cut(self.data, starts, stops, padding=self.padding))
            return voxels.pin_memory() if device.type == "cuda" else voxels

        return read

    def compute(self, unit: DenseUnit, inputs: torch.Tensor, inference: Inference) -> torch.Tensor:
        """See :meth:`Work.compute`."""
        # On the device: of a GPU the host would take longer for this than the GPU for the network.
        box = standardise_voxels(inputs.to(inference.device, non_blocking=True), self.statistics)
        vectors = inference(box.neg_()[None, None])[0]
        tile, steps = unit.tile, unit.part.subsampling
        given = tuple(
            slice((part.start - whole.start) * step, (part.stop - whole.start - 1) * step + 1, step)
            for part, whole, step in zip(tile.sites, tile.computed, steps, strict=True)
        )
        return vectors[(slice(None), *given)].permute(1, 2, 3, 0).flatten(0, 2)

    def positions(self, unit: DenseUnit) -> tuple[Any, Any]:
        """See :meth:`Work.positions`."""
        z, y, x = (np.arange(span.start, span.stop, span.step) for span in unit.part.targets(unit.tile))
        _, height, width = self.grid.shape
        flat = ((z[:, None, None] * height + y[:, None]) * width + x).ravel()
        if self.sites is None:
            return slice(None), flat
        found = np.minimum(np.searchsorted(self.sites, flat), len(self.sites) - 1)
        rows = np.flatnonzero(self.sites[found] == flat)
        return torch.from_numpy(rows), found[rows]

    def effort(self, unit: DenseUnit) -> float:
        """See :meth:`Work.effort`: the multiplications."""
        return float(self._cost.operations(self._computed(unit)))

    def memory(self) -> int:
        """See :meth:`Work.memory`."""
        return int(self._cost.memory(self._computed(self._largest)))

    @cached_property
    def _largest(self) -> DenseUnit:
        # Each pass has tiles of its own, and a mask can leave one next to nothing.
        return max(self.tiles, key=self.effort)

    @cached_property
    def _cost(self) -> NetworkCost:
        return network_cost(self.network)

    @staticmethod
    def _computed(unit: DenseUnit) -> list[int]:
        """Sites along (z, y, x) that are computed for a tile, at the network's own stride."""
        spans = zip(unit.tile.computed, unit.part.subsampling, strict=True)
        return [(span.stop - span.start - 1) * step + 1 for span, step in spans]

    def trial(self, device: torch.device) -> DenseUnit:
        """See :meth:`Work.trial`; a whole tile on a GPU, where the algorithm depends on its size."""
        unit = self._largest
        if device.type == "cuda":
            return unit
        spans = [
            slice(span.start, span.start + min(span.stop - span.start, _TRIAL_SITES))
            for span in unit.tile.sites
        ]
        corner = (spans[0], spans[1], spans[2])
        return DenseUnit(unit.part, Tile(corner, corner), 0)


def embed_densely(
    network: DenseNetwork,
    data: npt.NDArray[Any],
    grid: Grid,
    sites: IntArray | None = None,
    *,
    statistics: Statistics,
    padding: bool,
    device: torch.device | Sequence[torch.device],
    precision: Precision = "auto",
    progress: bool = True,
    tile_sites: int | None = None,
    keep: Keep | None = None,
) -> FloatArray:
    """Embed the sites of a grid.

    Parameters
    ----------
    network, data, grid, sites, statistics, padding : see :class:`DenseWork`.
    device, keep : see :func:`~tomotwin_lib.embedding.processes.do_work`.
    precision : see :func:`~tomotwin_lib.embedding.work.choose_form`.
    tile_sites : sites along each edge of a tile; by the memory at hand where ``None``.

    Returns
    -------
    (site, channel), float32, of unit norm, in the order of the sites; or (site, value) of what was kept.
    """
    devices = (device,) if isinstance(device, torch.device) else tuple(device)
    row = row_of(network, keep)
    work = dense_work(network, data, grid, sites, statistics, padding, devices, row, tile_sites)
    form = choose_form(work, devices, precision)
    return do_work(work, devices, form, row, keep=keep, progress=progress)[0]


def dense_work(
    network: DenseNetwork,
    data: npt.NDArray[Any],
    grid: Grid,
    sites: IntArray | None,
    statistics: Statistics,
    padding: bool,
    devices: tuple[torch.device, ...],
    row: FloatArray,
    tile_sites: int | None = None,
) -> DenseWork:
    """The work with tiles that suit the memory of the devices, which ``row`` of each site takes part of."""
    size = grid.size if sites is None else len(sites)
    reserved = size * row.nbytes
    budget = min(tile_budget(device, reserved, devices.count(device)) for device in devices)
    units = dense_units(grid, sites, network, budget, tile_sites)
    return DenseWork(network, data, grid, sites, statistics, padding, units)


def dense_units(
    grid: Grid,
    sites: IntArray | None,
    network: DenseNetwork,
    budget: int,
    edge: int | None = None,
) -> tuple[DenseUnit, ...]:
    """The tiles with which the sites of a grid are embedded, without those that no site is wanted of.

    Parameters
    ----------
    grid, sites : see :class:`DenseWork`.
    budget : bytes that a tile may take.
    edge : sites along a tile, in place of the choice by the budget.
    """
    wanted = None
    if sites is not None:
        wanted = np.zeros(grid.shape, dtype=np.bool_)
        wanted.flat[sites] = True
    cost = network_cost(network)
    units = []
    for part in _passes(grid, network.total_stride):
        of_pass = None if wanted is None else wanted[part.targets(_whole(part.counts))]
        if of_pass is not None and not of_pass.any():
            continue
        if edge is None:
            tiling = choose_tiling(cost, part.counts, part.subsampling, budget, of_pass)
        else:
            z, y, x = (min(edge, count) for count in part.counts)
            tiling = Tiling((0, 0, 0), part.counts, (z, y, x))
        for tile in tiling.tiles():
            count = int(np.prod([span.stop - span.start for span in tile.sites]))
            if of_pass is not None:
                count = int(np.count_nonzero(of_pass[tile.sites]))
            if count:
                units.append(DenseUnit(part, tile, count))
    return tuple(units)


def _whole(counts: Edges) -> Tile:
    z, y, x = (slice(0, count) for count in counts)
    return Tile((z, y, x), (z, y, x))


def _passes(grid: Grid, total_stride: int) -> Iterator[DensePass]:
    # k steps of the grid's stride lie on the network's lattice when k is a multiple of this.
    period = _each(lambda axis: total_stride // math.gcd(total_stride, grid.stride[axis]))
    spacing = _each(lambda axis: period[axis] * grid.stride[axis])
    for z, y, x in itertools.product(*(range(min(p, n)) for p, n in zip(period, grid.shape, strict=True))):
        yield _pass(grid, (z, y, x), period, _each(lambda axis: spacing[axis] // total_stride))


def _pass(grid: Grid, first: Edges, period: Edges, subsampling: Edges) -> DensePass:
    return DensePass(
        first=first,
        period=period,
        start=_each(lambda axis: grid.origin[axis] + first[axis] * grid.stride[axis]),
        spacing=_each(lambda axis: period[axis] * grid.stride[axis]),
        subsampling=subsampling,
        counts=_each(lambda axis: len(range(first[axis], grid.shape[axis], period[axis]))),
    )


def _each(value: Callable[[int], int]) -> Edges:
    return value(0), value(1), value(2)
