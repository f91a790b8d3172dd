"""Checkpoints (``.pth``): a network's weights with what is needed to build it again and to go on training."""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tomotwin_lib.devices import resolve_device
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, md5_of_file
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.networks.shipped_networks import find_network_file

# What TomoTwin's checkpoints hold beside tensors and plain types: scores saved as NumPy scalars.
_SCALARS = ("float16", "float32", "float64", "int32", "int64", "bool")
# What rebuilds NumPy's scalars and arrays: NumPy 1 and NumPy 2 give its module different names.
_REBUILD_SCALAR, _REBUILD_ARRAY = np.float64(0).__reduce__()[0], np.empty(0).__reduce__()[0]
_ALLOWED: list[Any] = [
    np.dtype,
    np.ndarray,
    *(type(np.dtype(name)) for name in _SCALARS),
    *((_REBUILD_SCALAR, f"numpy.{module}.multiarray.scalar") for module in ("core", "_core")),
    *((_REBUILD_ARRAY, f"numpy.{module}.multiarray._reconstruct") for module in ("core", "_core")),
]
_REQUIRED = ("model_state_dict", "tomotwin_config")

VOXEL_SIZE = "voxel_size_in_angstrom"
"""The entry that tells the voxel size, in Å, of what the network was trained on; TomoTwin's have none."""


@dataclass(frozen=True)
class LoadedNetwork:
    """A trained network, ready to embed.

    Attributes
    ----------
    network : in evaluation mode, on its device.
    configuration : ``tomotwin_config`` of the checkpoint.
    path, md5 : the file it came from and its MD5.
    half_turns : whether its embeddings are means over half turns (:mod:`tomotwin_lib.networks.half_turns`).
    voxel_size_in_angstrom : of what it was trained on; ``None`` where nothing tells.
    """

    network: EmbeddingNetwork
    configuration: dict[str, Any]
    path: Path
    md5: str
    half_turns: bool = False
    voxel_size_in_angstrom: float | None = None

    @property
    def window_size(self) -> int:
        """Edge of the window, in voxels."""
        return self.network.window_size

    @property
    def distance(self) -> str:
        """Name of the distance that the network was trained with."""
        return str(self.configuration.get("distance", "COSINE"))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def lineage(self) -> dict[str, Any]:
        """What products record about the network that made them."""
        told = {"modelpth": str(self.path), "modelmd5": self.md5, "tomotwin_config": self.configuration}
        return {**told, "half_turns": True} if self.half_turns else told


def load_network(path: str | Path, device: str | torch.device = "auto") -> LoadedNetwork:
    """Load a network for embedding.

    Parameters
    ----------
    path : a checkpoint, or the name of a network that ships with the library
        (:mod:`tomotwin_lib.networks.shipped_networks`).
    device : auto, cpu, cuda or cuda:<number>.

    Raises
    ------
    InputError
        If the file is no checkpoint, names an unknown network, or its weights do not fit the network.
    """
    path = find_network_file(path)
    checkpoint = load_checkpoint(path)
    configuration = dict(checkpoint["tomotwin_config"])
    network = build_network(configuration, str(path))
    load_weights(network, checkpoint["model_state_dict"], path)
    network.requires_grad_(False).eval().to(resolve_device(device))
    size = checkpoint.get(VOXEL_SIZE)
    return LoadedNetwork(
        network, configuration, path, md5_of_file(path),
        voxel_size_in_angstrom=None if size is None else float(size),
    )  # fmt: skip


def load_checkpoint(path: str | Path, *, lazily: bool = False) -> dict[str, Any]:
    """Read a checkpoint into memory without executing what its pickle asks for.

    Parameters
    ----------
    path : a checkpoint, or the name of a network that ships.
    lazily : leave the tensors in the file until they are used, for a look at the other entries.

    Raises
    ------
    InputError
        If the file cannot be read, asks for something that is not on the allow-list, or lacks a key.
    """
    path = find_network_file(path)
    remedy = "Give a .pth file written by a training run"
    if not zipfile.is_zipfile(path):
        raise InputError(path, "the file is no PyTorch checkpoint, or a truncated one", remedy)
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(path, f"the checkpoint is not read: {_reason(error)}", remedy) from error
    missing = [key for key in _REQUIRED if not isinstance(checkpoint, Mapping) or key not in checkpoint]
    if missing:
        raise InputError(
            path, f"the checkpoint lacks {', '.join(missing)}", "Give a file written by a training run"
        )
    return dict(checkpoint)


def load_weights(network: nn.Module, state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Copy weights into a network, with or without the ``module.`` prefix of data-parallel training.

    Raises
    ------
    InputError
        If names or shapes do not fit the network.
    """
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    try:
        network.load_state_dict(plain)
    except RuntimeError as error:
        detail = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise InputError(
            path,
            f"the weights do not fit the network of its configuration ({detail})",
            "Use an intact checkpoint",
        ) from error


def save_checkpoint(
    path: str | Path,
    network: nn.Module,
    configuration: Mapping[str, Any],
    *,
    epoch: int,
    loss: float,
    best_loss: float,
    best_f1: float,
    voxel_size_in_angstrom: float | None = None,
    training_state: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint with TomoTwin's keys and plain types only, whole or not at all.

    Parameters
    ----------
    voxel_size_in_angstrom : of what the network was trained on, where known.
    training_state : more entries, such as those needed to go on training (``optimizer_state_dict``, …).
    """
    content = {
        "model_state_dict": network.state_dict(),
        "tomotwin_config": dict(configuration),
        "epoch": int(epoch),
        "loss": float(loss),
        "best_loss": float(best_loss),
        "best_f1": float(best_f1),
        **({} if voxel_size_in_angstrom is None else {VOXEL_SIZE: float(voxel_size_in_angstrom)}),
        **(training_state or {}),
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def save_made_of(
    path: str | Path,
    network: nn.Module,
    configuration: Mapping[str, Any],
    parts: Sequence[LoadedNetwork],
    entries: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint of a network that was made of trained ones, whole or not at all.

    It has no epoch and no scores of its own, since it was not trained as one, and a voxel size where that of
    all ``parts`` is the same.

    Parameters
    ----------
    entries : more entries of the checkpoint.
    """
    sizes = {part.voxel_size_in_angstrom for part in parts}
    save_checkpoint(
        path, network, configuration, epoch=0, loss=math.nan, best_loss=math.nan, best_f1=math.nan,
        voxel_size_in_angstrom=sizes.pop() if len(sizes) == 1 else None, training_state=entries,
    )  # fmt: skip


def _reason(error: Exception) -> str:
    """What a refused pickle asked for, or else the first line of the message, out of PyTorch's long ones."""
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    return (
        f"it asks for {asked[1]}, which is not on the list" if asked else str(error).strip().splitlines()[0]
    )
