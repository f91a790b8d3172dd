"""Embedding of a tomogram, by the way that suits the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

import tomotwin_lib
from tomotwin_lib.devices import resolve_devices
from tomotwin_lib.embedding.checks import require_batch_size, require_finite_vectors, require_window_size
from tomotwin_lib.embedding.dense import DenseWork, dense_work
from tomotwin_lib.embedding.estimate import Estimate, estimate_work, require_memory
from tomotwin_lib.embedding.grids import masked_sites, window_grid
from tomotwin_lib.embedding.precision import Precision, wanted_precision
from tomotwin_lib.embedding.preparation import require_usable
from tomotwin_lib.embedding.processes import do_work
from tomotwin_lib.embedding.windows import WindowWork
from tomotwin_lib.embedding.work import Work, choose_form, row_of
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.products import Keep, TomogramEmbedding

Method = Literal["auto", "dense", "windows"]

# Units of work that a GPU should have at least for a process of its own, whose start takes some seconds.
_LEAST_UNITS = 8


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
    device: str | torch.device | Sequence[str | torch.device] = "auto",
    precision: Precision = "auto",
    progress: bool = True,
    keep: Keep | None = None,
    on_estimate: Callable[[Estimate], None] | None = None,
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
    device : ``auto`` computes where the network is. If that is a GPU, and with ``cuda``, all GPUs of the
        machine share the work, in one process each; a sequence of names says which devices do. A script that
        uses several must do so under ``if __name__ == "__main__":``.
    precision : see :func:`~tomotwin_lib.embedding.work.choose_form`.
    progress : whether to show a progress bar.
    keep : what to keep of the vectors, tile by tile or batch by batch, in place of the vectors, which then
        never lie in memory together (:func:`tomotwin_lib.scoring.score_tomogram` uses it);
        :func:`tomotwin_lib.half_precision.halved` keeps what files hold, in half the memory.
    on_estimate : called, before the work begins, with what it will take; what it raises ends it.

    Raises
    ------
    InputError
        Before any computation, if an option does not fit the tomogram or the network, the tomogram or the
        mask cannot be used, or memory cannot hold what is kept; after it, if the network gives values that
        are not finite.
    RuntimeError
        If one of several processes fails.
    """
    require_window_size(loaded)
    require_batch_size(batch_size)
    shape = tuple(int(edge) for edge in volume.data.shape)
    grid = window_grid(shape, stride, loaded.window_size, padding, z_range, volume.path)
    dense = _is_dense(loaded, method)
    sites = None if mask is None else masked_sites(mask, grid, shape, volume.path)
    devices = resolve_devices(device, loaded.device)
    wanted_precision(precision, devices[0])
    statistics = require_usable(volume)

    network = loaded.network
    row = row_of(network, keep)
    work: Work
    if dense:
        assert isinstance(network, DenseNetwork)
        work = dense_work(network, volume.data, grid, sites, statistics, padding, devices, row)
    else:
        work = WindowWork(network, volume.data, grid, sites, statistics, padding, batch_size)
    # Of all GPUs only those that have enough to do; those that were named, if there is anything.
    least = _LEAST_UNITS if isinstance(device, str | torch.device) else 1
    devices = devices[: max(len(work.units()) // least, 1)]
    require_memory(work, row, devices, volume.path)
    form = choose_form(work, devices, precision)
    if on_estimate is not None:
        on_estimate(estimate_work(work, row, devices, form))
    vectors, form = do_work(work, devices, form, row, keep=keep, progress=progress)
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
        "embedding_precision": str(form.dtype).removeprefix("torch."),
        "embedding_devices": [str(one) for one in devices],
    }
    if isinstance(work, DenseWork):
        attributes["embedding_tile"] = list(reversed(work.tile_edges))
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
