"""A network averaged over the half turns about the three axes, which leave a missing wedge where it is."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.base import DenseNetwork, EmbeddingNetwork
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.networks.ensemble import Ensemble
from tomotwin_lib.networks.half_turn_layers import HALF_TURNS

_TOLERANCE = 1e-4


def average_half_turns(loaded: LoadedNetwork) -> LoadedNetwork:
    """The network whose embedding is the mean over the four half turns of what it sees.

    An embedding should not depend on how a particle is turned; the mean depends less. It costs four times the
    work, and references and tomogram must both be embedded so. A network that does not depend on half turns
    is its own mean.

    Raises
    ------
    InputError
        If a dense network has layers for which turned kernels do not give the turned result.
    """
    return replace(loaded, network=_averaged(loaded.network, loaded).eval(), half_turns=True)


def _averaged(network: EmbeddingNetwork, loaded: LoadedNetwork) -> EmbeddingNetwork:
    if network.half_turn_invariant:
        return network
    if isinstance(network, Ensemble):
        # Each member by itself: an average of the whole would give less weight to what differs more.
        members = [_averaged(member, loaded) for member in network.members]  # type: ignore[arg-type]
        return Ensemble.of(members, [loaded.path] * len(members), network.weights)
    if not isinstance(network, DenseNetwork):
        return _WindowMean(network)
    averaged = _DenseMean(network)
    _require_exact(averaged, network, loaded)
    return averaged


class _WindowMean(EmbeddingNetwork):
    """Turns the windows."""

    def __init__(self, network: EmbeddingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return _mean_direction(self.network(_turned(windows, axes)) for axes in HALF_TURNS)


class _DenseMean(DenseNetwork):
    """Turns the kernels instead: the volume stays as it is, and so do its tiles."""

    def __init__(self, network: DenseNetwork) -> None:
        super().__init__()
        self.total_stride = network.total_stride  # type: ignore[misc]
        self.networks = nn.ModuleList(_with_turned_kernels(network, axes) for axes in HALF_TURNS)

    def forward_dense(self, volume: torch.Tensor) -> torch.Tensor:
        return _mean_direction(network.forward_dense(volume) for network in self.networks)  # type: ignore[operator]

    def folded(self) -> nn.Module:
        return _Mean([network.folded() for network in self.networks])  # type: ignore[operator]


class _Mean(nn.Module):
    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return _mean_direction(functional.normalize(part(volume), dim=1) for part in self.parts)


def _mean_direction(vectors: Iterable[torch.Tensor]) -> torch.Tensor:
    return functional.normalize(torch.stack(list(vectors)).sum(dim=0), dim=1)


def _turned(volumes: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    return volumes.flip([axis + 2 for axis in axes]) if axes else volumes


def _with_turned_kernels(network: DenseNetwork, axes: tuple[int, ...]) -> DenseNetwork:
    turned = deepcopy(network).eval()
    for module in turned.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = _turned(module.weight.data, axes).contiguous()
    return turned


@torch.no_grad()
def _require_exact(averaged: _DenseMean, network: DenseNetwork, loaded: LoadedNetwork) -> None:
    """Turned kernels are enough for convolutions and what works voxel by voxel; other layers may differ."""
    edge = network.window_size
    window = torch.randn(1, 1, edge, edge, edge, generator=torch.Generator().manual_seed(0))
    window = window.to(loaded.device)
    for axes, turned in zip(HALF_TURNS, averaged.networks, strict=True):
        difference = (turned(window) - network.eval()(_turned(window, axes))).abs().max()
        if difference > _TOLERANCE:
            raise InputError(
                loaded.path,
                f"{type(network).__name__} has layers that cannot be turned by their kernels",
                "Embed without --half_turns",
            )
