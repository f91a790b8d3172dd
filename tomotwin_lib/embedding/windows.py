"""Embedding window by window: possible with every network, and the only way with most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from tomotwin_lib.embedding.dense import reflected
from tomotwin_lib.embedding.preparation import Statistics, standardise_volume, standardise_window
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.products import FloatArray, Grid, IntArray, Keep

#: Voxels of a tomogram (padding included) that are on the device at a time: 1 GiB in float32.
RESIDENT_VOXELS = 2**28


def embed_windows(
    network: EmbeddingNetwork,
    data: npt.NDArray[Any],
    grid: Grid,
    sites: IntArray | None = None,
    *,
    statistics: Statistics,
    padding: bool,
    batch_size: int,
    device: torch.device,
    progress: bool = True,
    resident_voxels: int = RESIDENT_VOXELS,
    keep: Keep | None = None,
) -> FloatArray:
    """Embed the windows around the centres of a grid.

    The tomogram goes to the device in slabs of whole planes, and the windows of a batch are gathered there.

    Parameters
    ----------
    network : on ``device``; it says how windows are standardised.
    data : tomogram (z, y, x) as its file has it: protein dark, any number type, memory-mapped or not.
    grid, sites : the centres, and those of them to embed (flat indices in rising order; ``None`` for all).
    statistics : mean and deviation of the whole tomogram, for networks that want it standardised by these.
    padding : whether windows may reach beyond the tomogram, which is then continued by reflection.
    batch_size : windows a pass through the network.
    resident_voxels : bound on a slab, in voxels; one plane of windows is the least.
    keep : what to keep of the vectors of a batch, where the vectors themselves are not wanted.

    Returns
    -------
    (site, channel), float32, of unit norm, in the order of the sites; or (site, value) of what was kept.
    """
    if sites is None:
        sites = np.arange(grid.size)
    window = network.window_size
    plane_sites = grid.shape[1] * grid.shape[2]
    margin = window // 2 if padding else 0
    # Where the first window begins, in voxels of the tomogram after padding.
    corner = np.asarray(grid.origin) - window // 2 + margin
    result: FloatArray | None = None
    done = 0
    with evaluating(network), tqdm(total=len(sites), unit="position", disable=not progress) as bar:
        for first, last in _slabs(data.shape, grid, window, margin, resident_voxels):
            chosen = sites[
                np.searchsorted(sites, first * plane_sites) : np.searchsorted(sites, last * plane_sites)
            ]
            if not len(chosen):
                continue
            begin = corner[0] + first * grid.stride[0]
            end = corner[0] + (last - 1) * grid.stride[0] + window
            slab = _slab(
                data, begin, end, margin, statistics if network.standardisation == "volume" else None
            )
            # A view of every window of the slab, (z, y, x, window, window, window): nothing is copied here.
            windows = torch.from_numpy(slab).to(device)
            for axis in range(3):
                windows = windows.unfold(axis, window, 1)
            starts = np.stack(np.unravel_index(chosen, grid.shape), axis=1) * np.asarray(grid.stride) + corner
            starts[:, 0] -= begin
            indices = torch.from_numpy(starts).to(device)
            for batch in indices.split(batch_size):
                vectors = embed_batch(network, windows[tuple(batch.T)], network.standardisation == "window")
                kept = vectors if keep is None else keep(vectors)
                if result is None:
                    result = np.empty((len(sites), kept.shape[1]), dtype=kept.dtype)
                result[done : done + len(batch)] = kept
                done += len(batch)
                bar.update(len(batch))
    assert result is not None, "a grid and a mask hold at least one position"
    return result


def embed_batch(
    network: EmbeddingNetwork, windows: torch.Tensor, standardise: bool
) -> npt.NDArray[np.float32]:
    """Embed windows that are on the network's device.

    Parameters
    ----------
    windows : (b, d, h, w), float32, protein bright.
    standardise : whether to bring each window to mean 0 and deviation 1 first.

    Returns
    -------
    (b, channel), float32, of unit norm. On a GPU the network computes in half precision.
    """
    with torch.inference_mode():
        if standardise:
            windows = standardise_window(windows)
        with torch.autocast(windows.device.type, dtype=torch.float16, enabled=windows.device.type == "cuda"):
            vectors = network(windows[:, None])
        return vectors.float().cpu().numpy()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for the length of a block, in which a window's vector depends on that window alone."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def _slabs(
    shape: tuple[int, ...], grid: Grid, window: int, margin: int, resident_voxels: int
) -> Iterator[tuple[int, int]]:
    """Ranges of planes of the grid, first and end, whose windows fit in the bound together."""
    plane_voxels = (shape[1] + 2 * margin) * (shape[2] + 2 * margin)
    planes = max((resident_voxels // plane_voxels - window) // grid.stride[0] + 1, 1)
    for first in range(0, grid.shape[0], planes):
        yield first, min(first + planes, grid.shape[0])


def _slab(
    data: npt.NDArray[Any], begin: int, end: int, margin: int, statistics: Statistics | None
) -> npt.NDArray[np.float32]:
    """Planes of the padded tomogram from ``begin`` to ``end``, protein bright, in float32."""
    planes = reflected(np.arange(begin, end) - margin, data.shape[0])
    low = int(planes.min())
    # A memory-mapped file is read once, in one piece, and the reflected planes are copied from that.
    block = np.asarray(data[low : int(planes.max()) + 1])
    block = block.astype(np.float32) if statistics is None else standardise_volume(block, statistics)
    np.negative(block, out=block)
    beside = ((0, 0), (margin, margin), (margin, margin))
    return np.pad(block[planes - low], beside, mode="reflect") if margin else block[planes - low]
