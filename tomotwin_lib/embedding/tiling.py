"""How large the tiles of a volume are: from the memory at hand, and from what their halo costs.

Neighbouring tiles compute the maps of early layers twice where they overlap. Large tiles waste less of that,
but memory grows with their volume, so past some size they gain next to nothing.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tomotwin_lib.embedding.memory import available_memory
from tomotwin_lib.embedding.overlap import AHEAD
from tomotwin_lib.networks.base import DenseNetwork

#: What tiles may take at most, in bytes: on the host, and on a device.
MOST_ON_HOST, MOST_ON_DEVICE = 2**31, 2**32
#: What they may take where hardly any is left: less would be slow rather than small.
LEAST = 2**28
# A larger tile must save this share of the arithmetic.
_WORTH_IT = 0.03
# Edges that are tried where a mask leaves some sites: cubes, so that few of them are touched.
_MASKED_EDGES = (12, 16, 24, 32, 48, 64, 96)
# What libraries take beside the maps for their own rearrangements, in bytes and as a share.
_SCRATCH, _SLACK = 2**27, 1.1
# Assumed of a network whose layers cannot be told without running it.
_UNKNOWN_CHANNELS = 256

Edges = tuple[int, int, int]


@dataclass(frozen=True)
class LayerCost:
    """What a layer of a dense network takes, as a function of the sites along each edge of a tile.

    Attributes
    ----------
    incoming, outgoing : channels of its input and of its output, 0 for an output in the input's place.
    edge_in, edge_out : edge of its maps for one site, and what each further site adds, in voxels.
    multiplications : for a voxel of its output.
    """

    incoming: int
    outgoing: int
    edge_in: tuple[int, float]
    edge_out: tuple[int, float]
    multiplications: int

    def values(self, sites: Sequence[Any]) -> Any:
        """Numbers that its input and its output hold together; arrays of sites give arrays."""
        return self.incoming * _voxels(self.edge_in, sites) + self.outgoing * _voxels(self.edge_out, sites)

    def operations(self, sites: Sequence[Any]) -> Any:
        """Multiplications of a tile."""
        return self.multiplications * _voxels(self.edge_out, sites)


@dataclass(frozen=True)
class NetworkCost:
    """What a dense network takes for a tile.

    Attributes
    ----------
    layers : in the order in which they run.
    window : edge of its window, in voxels.
    stride : its total stride, in voxels.
    """

    layers: tuple[LayerCost, ...]
    window: int
    stride: int

    @property
    def channels(self) -> int:
        """Length of a vector."""
        return max(self.layers[-1].outgoing, 1)

    def memory(self, sites: Sequence[Any], dtype: torch.dtype = torch.float32) -> Any:
        """Bytes for a tile of (z, y, x) sites computed in ``dtype``, with what waits on either side of it."""
        maps = np.max([layer.values(sites) for layer in self.layers], axis=0) * dtype.itemsize
        box = _voxels((self.window, self.stride), sites)
        vectors = sites[0] * sites[1] * sites[2] * self.channels
        # A box is in float64 for a moment; vectors are copied once for their norm and once for their order.
        waiting = (8 + 4 * (AHEAD + 1)) * box + 4 * (AHEAD + 3) * vectors
        return (_SLACK * maps + waiting + _SCRATCH).astype(np.int64)

    def operations(self, sites: Sequence[Any]) -> Any:
        """Multiplications for a tile of (z, y, x) sites."""
        return sum(layer.operations(sites) for layer in self.layers)


def _voxels(edge: tuple[int, float], sites: Sequence[Any]) -> Any:
    first, further = edge
    return np.prod([first + further * (np.asarray(count) - 1) for count in sites], axis=0)


def network_cost(network: DenseNetwork) -> NetworkCost:
    """What a network takes for a tile, from what its layers do with one window and with 3 × 3 × 3."""
    window, stride = network.window_size, network.total_stride
    one, three = (_trace(network, window + stride * (sites - 1)) for sites in (1, 3))
    layers = tuple(
        LayerCost(
            a.incoming,
            a.outgoing,
            (a.edge_in[0], (b.edge_in[0] - a.edge_in[0]) / 2),
            (a.edge_out[0], (b.edge_out[0] - a.edge_out[0]) / 2),
            a.multiplications,
        )
        for a, b in zip(one, three, strict=True)
    )
    if not layers:  # it is not made of modules
        box, site = (window, stride), (1, 1.0)
        layers = (LayerCost(1, _UNKNOWN_CHANNELS, box, site, _UNKNOWN_CHANNELS * window**3),)
    return NetworkCost(layers, window, stride)


def tile_memory(network: DenseNetwork, sites: Edges, dtype: torch.dtype = torch.float32) -> int:
    """Bytes that a tile of (z, y, x) sites takes, computed in ``dtype``."""
    return int(network_cost(network).memory(sites, dtype))


def tile_budget(device: torch.device, reserved: int = 0, processes: int = 1) -> int:
    """Bytes that a tile may take on a device.

    Parameters
    ----------
    reserved : bytes of main memory that are still to be filled by something else, such as the result.
    processes : number of processes that share the device.
    """
    on_host = device.type != "cuda"
    free = available_memory(device) - (reserved if on_host else 0)
    # Half of it, and not all: there are other programs, and libraries that want more for a moment.
    return max(min(free // (2 * processes), MOST_ON_HOST if on_host else MOST_ON_DEVICE), LEAST)


@dataclass(frozen=True)
class Tile:
    """A box of sites, as slices along (z, y, x).

    Attributes
    ----------
    sites : those that the tile gives.
    computed : those that it computes: all tiles compute boxes of one shape, for which code and algorithms
        are chosen once, so the last along an axis begins before its first site.
    """

    sites: tuple[slice, slice, slice]
    computed: tuple[slice, slice, slice]


@dataclass(frozen=True)
class Tiling:
    """Tiles of a box of sites.

    Attributes
    ----------
    first : (z, y, x) first site of the box.
    counts : (z, y, x) sites along it.
    edges : (z, y, x) sites along a tile.
    """

    first: Edges
    counts: Edges
    edges: Edges

    def tiles(self) -> Iterator[Tile]:
        """All of them, x fastest."""
        spans = []
        for first, count, edge in zip(self.first, self.counts, self.edges, strict=True):
            axis = []
            for start in range(0, count, edge):
                begin = first + min(start, count - edge)
                given = slice(first + start, first + min(start + edge, count))
                axis.append((given, slice(begin, begin + edge)))
            spans.append(axis)
        for z, y, x in itertools.product(*spans):
            yield Tile((z[0], y[0], x[0]), (z[1], y[1], x[1]))


def choose_tiling(
    cost: NetworkCost,
    counts: Edges,
    spacing: Edges,
    budget: int,
    wanted: npt.NDArray[np.bool_] | None = None,
) -> Tiling:
    """The tiles with which a box of sites is computed with little waste in the memory given.

    Parameters
    ----------
    cost : of the network.
    counts : (z, y, x) sites.
    spacing : (z, y, x) distance of neighbouring sites in units of the network's stride; those between are
        computed as well.
    budget : bytes that a tile may take; the smallest tile is used where none fits.
    wanted : (z, y, x), the sites that matter where not all do; tiles without any are to be left out.
    """
    first = (0, 0, 0)
    if wanted is not None:
        first, counts = _bounding_box(wanted)
        wanted = wanted[tuple(slice(a, a + n) for a, n in zip(first, counts, strict=True))]
        shapes = [tuple(min(edge, n) for n in counts) for edge in _MASKED_EDGES]
        edges = np.array(sorted(set(shapes))).T
        numbers = np.array([_touched(wanted, shape) for shape in edges.T])
    else:
        axes = [sorted({-(-n // pieces) for pieces in range(1, max(n // 8, 1) + 1)}) for n in counts]
        edges = np.stack([grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")])
        numbers = np.prod([-(-n // edge) for n, edge in zip(counts, edges, strict=True)], axis=0)
    computed = [(edge - 1) * step + 1 for edge, step in zip(edges, spacing, strict=True)]
    memory = cost.memory(computed)
    operations = cost.operations(computed) * numbers
    fits = memory <= max(budget, memory.min())
    good = fits & (operations <= operations[fits].min() * (1 + _WORTH_IT))
    best = int(np.flatnonzero(good)[np.argmin(memory[good])])
    z, y, x = (int(edge) for edge in edges[:, best])
    return Tiling(first, counts, (z, y, x))


def _bounding_box(wanted: npt.NDArray[np.bool_]) -> tuple[Edges, Edges]:
    """First site and number of sites along (z, y, x) of the box around all that are wanted."""
    firsts, counts = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(wanted.any(axis=others))
        firsts.append(int(found[0]))
        counts.append(int(found[-1]) - int(found[0]) + 1)
    return (firsts[0], firsts[1], firsts[2]), (counts[0], counts[1], counts[2])


def _touched(wanted: npt.NDArray[np.bool_], edges: npt.NDArray[np.integer]) -> int:
    """Number of tiles with a site that is wanted."""
    for axis, edge in enumerate(edges):
        wanted = np.logical_or.reduceat(wanted, np.arange(0, wanted.shape[axis], edge), axis=axis)
    return int(np.count_nonzero(wanted))


def _trace(network: DenseNetwork, edge: int) -> list[LayerCost]:
    """What each layer takes for a volume of ``edge`` voxels a side."""
    device = next(network.parameters()).device
    module = copy.deepcopy(network).eval().folded()
    layers: list[LayerCost] = []

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        maps = [part for part in (*inputs[:1], output) if isinstance(part, torch.Tensor) and part.dim() == 5]
        if len(maps) < 2:
            return
        source = maps[0]
        weights = layer.weight.numel() if isinstance(layer, nn.Conv3d) else output.shape[1]
        layers.append(
            LayerCost(
                source.shape[1],
                0 if output is source else output.shape[1],
                (source.shape[-1], 0),
                (output.shape[-1], 0),
                weights,
            )
        )

    for layer in module.modules():
        if not list(layer.children()):
            layer.register_forward_hook(note)
    with torch.inference_mode():
        module(torch.zeros(1, 1, edge, edge, edge, device=device))
    return layers
