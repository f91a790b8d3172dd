"""Embedding of a tomogram, by the way that suits the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

import tomotwin_lib
from tomotwin_lib.devices import resolve_device
from tomotwin_lib.embedding.checks import require_batch_size, require_finite_vectors, require_window_size
from tomotwin_lib.embedding.dense import embed_densely
from tomotwin_lib.embedding.grids import masked_sites, window_grid
from tomotwin_lib.embedding.preparation import Statistics, require_usable, standardise_volume
from tomotwin_lib.embedding.windows import embed_windows, evaluating
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.products import FloatArray, Grid, Keep, TomogramEmbedding

Method = Literal["auto", "dense", "windows"]


def embed_tomogram(
    loaded: LoadedNetwork,
    volume: Volume,
    *,
    stride: int | Sequence[int] = (2, 2, 2),
    padding: bool = True,
    z_range: tuple[int, int] | None = None,
    mask: Volume | None = None,
    batch_size: int = 64,
    method: Method = "auto",
    device: str | torch.device = "auto",
    progress: bool = True,
    keep: Keep | None = None,
) -> TomogramEmbedding:
    """Embed a tomogram on a grid of positions.

    Parameters
    ----------
    loaded : the network.
    volume : the tomogram, protein dark as reconstructions have it; it is multiplied by −1.
    stride : distance of neighbouring positions along (z, y, x) or one for all, in voxels.
    padding : whether to continue the tomogram by reflection, half a window on each side, so that its border
        is embedded too.
    z_range : embeds positions with first ≤ z < second, in voxels, with what the full tomogram gives there.
    mask : of the tomogram's shape; only positions at which it is not zero are embedded.
    batch_size : windows a pass, for the way window by window.
    method : ``dense`` evaluates the network over the volume at once, which needs one that is made for it;
        ``windows`` goes window by window; ``auto`` is dense where possible. The result is the same.
    device : ``auto`` computes where the network is.
    progress : whether to show a progress bar.
    keep : what to keep of the vectors, tile by tile or batch by batch, in place of the vectors, which then
        never lie in memory together (:func:`tomotwin_lib.scoring.score_tomogram` uses it).

    Raises
    ------
    InputError
        Before any computation, if an option does not fit the tomogram or the network, or the tomogram or the
        mask cannot be used; after it, if the network gives values that are not finite.
    """
    require_window_size(loaded)
    require_batch_size(batch_size)
    shape = tuple(int(edge) for edge in volume.data.shape)
    grid = window_grid(shape, stride, loaded.window_size, padding, z_range, volume.path)
    dense = _is_dense(loaded, method)
    sites = None if mask is None else masked_sites(mask, grid, shape, volume.path)
    target = loaded.device if device == "auto" else resolve_device(device)
    statistics = require_usable(volume)

    network = loaded.network.to(target)
    if dense:
        vectors = _embed_densely(loaded, volume.data, grid, statistics, padding, target, progress, keep)
        vectors = vectors if sites is None else vectors[sites]
    else:
        vectors = embed_windows(
            network,
            volume.data,
            grid,
            sites,
            statistics=statistics,
            padding=padding,
            batch_size=batch_size,
            device=target,
            progress=progress,
            keep=keep,
        )
    require_finite_vectors(vectors, loaded)
    border = 2 * (loaded.window_size // 2) if padding else 0
    attributes: dict[str, Any] = {
        "tomotwin_lib_version": tomotwin_lib.__version__,
        "filepath": str(volume.path),
        **loaded.lineage(),
        "window_size": loaded.window_size,
        "stride": list(reversed(grid.stride)),
        "tomogram_input_shape": tuple(edge + border for edge in shape),
        "padding": padding,
        "embedding_method": "dense" if dense else "windows",
    }
    if z_range is not None:
        attributes["z_range"] = [int(z) for z in z_range]
    if mask is not None:
        attributes["mask"] = str(mask.path)
    return TomogramEmbedding(vectors, grid, sites, attributes)


def _is_dense(loaded: LoadedNetwork, method: Method) -> bool:
    """Whether to evaluate the network over the volume at once."""
    if method not in ("auto", "dense", "windows"):
        raise InputError("method", f"{method!r} is no way to embed", "Use auto, dense or windows")
    suits = isinstance(loaded.network, DenseNetwork)
    if method == "dense" and not suits:
        raise InputError(
            loaded.path,
            f"{type(loaded.network).__name__} cannot be evaluated densely: it depends on where a window ends",
            "Embed window by window, or use a fully convolutional network",
        )
    return suits and method != "windows"


def _embed_densely(
    loaded: LoadedNetwork,
    data: npt.NDArray[Any],
    grid: Grid,
    statistics: Statistics,
    padding: bool,
    device: torch.device,
    progress: bool,
    keep: Keep | None,
) -> FloatArray:
    """Dense evaluation over the planes that the grid's windows reach; returns (site, channel or value)."""
    assert isinstance(loaded.network, DenseNetwork)
    half = loaded.window_size // 2
    first, last = grid.origin[0], grid.origin[0] + grid.stride[0] * (grid.shape[0] - 1)
    # Reflection at a border reads no further inwards than a window outwards: the planes in reach are enough.
    begin, end = max(first - half, 0), min(last + half + 1, data.shape[0])
    slab = standardise_volume(data[begin:end], statistics)
    np.negative(slab, out=slab)
    shifted = Grid((first - begin, *grid.origin[1:]), grid.stride, grid.shape)
    with evaluating(loaded.network):
        vectors = embed_densely(
            loaded.network, slab, shifted, padding=padding, device=device, progress=progress, keep=keep
        )
    return vectors.reshape(grid.size, -1)
