"""Embedding of a whole volume in tiles, by a network whose dense evaluation equals that of its windows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.products import FloatArray, Grid, Keep

# Sites along each edge of a tile. The halo that neighbouring tiles compute twice is as wide as half a window:
# at 48 sites it costs a few percent, and a tile's largest map stays below a few hundred megabytes.
TILE_SITES = 48


def embed_densely(
    network: DenseNetwork,
    volume: FloatArray,
    grid: Grid,
    *,
    padding: bool,
    device: torch.device,
    progress: bool = True,
    tile_sites: int = TILE_SITES,
    keep: Keep | None = None,
) -> FloatArray:
    """Embed the sites of a grid.

    Parameters
    ----------
    network : in evaluation mode.
    volume : (z, y, x), float32, standardised, protein bright, without padding.
    grid : window centres in voxels of ``volume``. Any stride: where a stride is no multiple of the network's,
        the volume is evaluated once for each residue that occurs.
    padding : continue the volume by reflection where a window reaches out of it; otherwise none may.
    tile_sites : sites along each edge of a tile. It changes memory and time, never the result.
    keep : what to keep of the vectors of a tile, where the vectors themselves are not wanted.

    Returns
    -------
    (z, y, x, channel), float32, unit norm along the channels; or (z, y, x, value) of what was kept.
    """
    inference: nn.Module = network.folded().to(device)
    inference = inference.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    result: FloatArray | None = None
    passes = list(_passes(grid, network.total_stride))
    tiles = [(part, tile) for part in passes for tile in _tiles(part.counts, tile_sites)]
    sites = sum(_volume_of(tile) for _, tile in tiles)
    with (
        torch.inference_mode(),
        tqdm(total=sites, unit="site", unit_scale=True, desc="embedding", disable=not progress) as bar,
    ):
        for part, tile in tiles:
            box = _cut(volume, part, tile, network, padding)
            vectors = inference(box.to(device))
            vectors = functional.normalize(vectors.float(), dim=1)[0]
            vectors = vectors[(slice(None), *(slice(None, None, step) for step in part.subsampling))]
            kept = vectors.permute(1, 2, 3, 0).cpu().numpy()
            if keep is not None:
                rows = keep(kept.reshape(-1, kept.shape[-1]))
                kept = rows.reshape(*kept.shape[:-1], -1)
            if result is None:
                result = np.empty((*grid.shape, kept.shape[-1]), dtype=kept.dtype)
            target = tuple(
                slice(first + period * span.start, first + period * (span.stop - 1) + 1, period)
                for first, period, span in zip(part.first, part.period, tile, strict=True)
            )
            result[target] = kept
            bar.update(_volume_of(tile))
    assert result is not None  # a grid has at least one site
    return result


@dataclass(frozen=True)
class _Pass:
    """The sites that one dense evaluation reaches: every ``period``-th along each axis from ``first`` on.

    Attributes
    ----------
    start : (z, y, x) voxel of the first of these sites.
    spacing : (z, y, x) voxels between them, multiples of the network's stride.
    subsampling : (z, y, x) spacing over the network's stride.
    counts : (z, y, x) number of them.
    """

    first: tuple[int, ...]
    period: tuple[int, ...]
    start: tuple[int, ...]
    spacing: tuple[int, ...]
    subsampling: tuple[int, ...]
    counts: tuple[int, ...]


def _passes(grid: Grid, total_stride: int) -> Iterator[_Pass]:
    # k steps of the grid's stride lie on the network's lattice when k is a multiple of this.
    period = tuple(total_stride // int(np.gcd(total_stride, stride)) for stride in grid.stride)
    for first in itertools.product(*(range(min(p, n)) for p, n in zip(period, grid.shape, strict=True))):
        spacing = tuple(p * stride for p, stride in zip(period, grid.stride, strict=True))
        yield _Pass(
            first=first,
            period=period,
            start=tuple(o + f * s for o, f, s in zip(grid.origin, first, grid.stride, strict=True)),
            spacing=spacing,
            subsampling=tuple(step // total_stride for step in spacing),
            counts=tuple(len(range(f, n, p)) for f, n, p in zip(first, grid.shape, period, strict=True)),
        )


def _tiles(counts: tuple[int, ...], edge: int) -> Iterator[tuple[slice, ...]]:
    """Split (z, y, x) counts into boxes of at most ``edge`` sites a side and of about equal size."""
    spans = []
    for count in counts:
        pieces = -(-count // edge)
        bounds = np.linspace(0, count, pieces + 1).round().astype(int)
        spans.append([slice(int(a), int(b)) for a, b in itertools.pairwise(bounds)])
    return itertools.product(*spans)


def _volume_of(tile: tuple[slice, ...]) -> int:
    return int(np.prod([span.stop - span.start for span in tile]))


def _cut(
    volume: FloatArray, part: _Pass, tile: tuple[slice, ...], network: DenseNetwork, padding: bool
) -> torch.Tensor:
    """The voxels that a tile's windows cover, shape (1, 1, d, h, w), reflected at the ends where padded."""
    half = network.window_size // 2
    indices = []
    for axis, span in enumerate(tile):
        low = part.start[axis] + part.spacing[axis] * span.start - half
        high = part.start[axis] + part.spacing[axis] * (span.stop - 1) - half + network.window_size
        indices.append(
            reflected(np.arange(low, high), volume.shape[axis]) if padding else np.arange(low, high)
        )
    box = np.ascontiguousarray(volume[np.ix_(*indices)], dtype=np.float32)
    return torch.from_numpy(box)[None, None].to(memory_format=torch.channels_last_3d)


def reflected(indices: npt.NDArray[np.integer], size: int) -> npt.NDArray[np.integer]:
    """Continue the indices of an axis of ``size`` voxels by reflection, the end voxels not repeated."""
    if size == 1:
        return np.zeros_like(indices)
    period = 2 * (size - 1)
    folded = indices % period
    return np.minimum(folded, period - folded)
