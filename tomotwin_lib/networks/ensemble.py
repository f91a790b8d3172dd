"""Several trained networks as one: their embeddings side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.base import DenseNetwork

#: Of a member's configuration, what building it needs; the rest is kept to tell how it was trained.
_NEEDED = ("identifier", "network_config")


class Ensemble(DenseNetwork):
    """Networks whose unit vectors are put one behind the other, so that a cosine is the mean of theirs.

    Networks trained apart, from other beginnings or with other objectives, err in different places: what one
    takes for alike and another does not is not alike (Lakshminarayanan et al., NeurIPS 2017). An ensemble
    costs as much as its members together.

    Parameters
    ----------
    members : a configuration for each network, with ``identifier`` and ``network_config``. All must be able
        to embed a volume densely, with the same stride.

    Raises
    ------
    InputError
        If there are fewer than two members, one cannot be built or not evaluated densely, or strides differ.
    """

    def __init__(self, members: Sequence[Mapping[str, Any]]) -> None:
        # Here because the registry lists this class too.
        from tomotwin_lib.networks.registry import build_network

        super().__init__()
        source = "network_config.members"
        if not isinstance(members, Sequence) or not all(isinstance(member, Mapping) for member in members):
            raise InputError(source, f"{members!r} is no list of networks", "Give their configurations")
        built = []
        for number, member in enumerate(members):
            needed = {key: member[key] for key in _NEEDED if key in member}
            built.append(build_network(needed, f"{source}[{number}]"))
        self.members = nn.ModuleList(built)
        self._check(source)

    @classmethod
    def of(cls, networks: Iterable[DenseNetwork]) -> Ensemble:
        """An ensemble of networks that exist already, with their weights."""
        ensemble = cls.__new__(cls)
        DenseNetwork.__init__(ensemble)
        ensemble.members = nn.ModuleList(networks)
        ensemble._check("ensemble")
        return ensemble

    def _check(self, source: str) -> None:
        if len(self.members) < 2:
            raise InputError(
                source,
                "one network is no ensemble" if len(self.members) else "there is no network",
                "Give two or more",
            )
        for network in self.members:
            if not isinstance(network, DenseNetwork):
                raise InputError(
                    source,
                    f"{type(network).__name__} cannot be evaluated densely",
                    "Combine fully convolutional networks",
                )
        strides = {network.total_stride for network in self.members}  # type: ignore[union-attr]
        if len(strides) > 1:
            raise InputError(source, f"their strides differ: {strides}", "Combine networks of one stride")
        self.total_stride = strides.pop()  # type: ignore[misc, assignment]
        self.half_turn_invariant = all(network.half_turn_invariant for network in self.members)

    def forward_dense(self, volume: torch.Tensor) -> torch.Tensor:
        return _side_by_side(network.forward_dense(volume) for network in self.members)  # type: ignore[operator]

    def folded(self) -> nn.Module:
        return _SideBySide(network.folded() for network in self.members)  # type: ignore[operator]


class _SideBySide(nn.Module):
    def __init__(self, parts: Iterable[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return _side_by_side(functional.normalize(part(volume), dim=1) for part in self.parts)


def _side_by_side(vectors: Iterable[torch.Tensor]) -> torch.Tensor:
    parts = list(vectors)
    return torch.cat(parts, dim=1) / math.sqrt(len(parts))


def combine_checkpoints(paths: Sequence[str | Path], output: str | Path) -> int:
    """Write a checkpoint that holds several trained networks as one.

    Parameters
    ----------
    paths : checkpoints of networks that can be evaluated densely, trained with the same distance.
    output : the checkpoint, written whole or not at all.

    Returns
    -------
    The length of the combined embedding.

    Raises
    ------
    InputError
        If a checkpoint cannot be read, there are fewer than two, or they do not fit together.
    """
    from tomotwin_lib.networks.checkpoint import load_network, save_checkpoint

    loaded = [load_network(path, "cpu") for path in paths]
    distances = {network.distance for network in loaded}
    if len(distances) > 1:
        raise InputError(
            paths[0],
            f"the networks were trained with {' and '.join(sorted(distances))}",
            "Combine equal ones",
        )
    for network in loaded:
        if not isinstance(network.network, DenseNetwork):
            raise InputError(
                network.path,
                f"{type(network.network).__name__} cannot be evaluated densely",
                "Combine fully convolutional networks",
            )
    configuration = {
        "identifier": "Ensemble",
        "network_config": {
            "members": [{**network.configuration, "checkpoint_md5": network.md5} for network in loaded]
        },
        "distance": distances.pop(),
        "window_size": (loaded[0].window_size,) * 3,
    }
    ensemble = Ensemble.of(network.network for network in loaded)  # type: ignore[misc]
    # No epoch and no scores of its own: it was not trained as one.
    save_checkpoint(
        output, ensemble, configuration, epoch=0, loss=math.nan, best_loss=math.nan, best_f1=math.nan
    )
    edge = ensemble.window_size
    with torch.no_grad():
        return int(ensemble.eval()(torch.zeros(1, 1, edge, edge, edge)).shape[1])
