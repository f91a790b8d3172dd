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
from tomotwin_lib.networks.base import DenseNetwork, EmbeddingNetwork

#: Of a member's configuration, what building it needs; the rest is kept to tell how it was trained.
_NEEDED = ("identifier", "network_config")


class Ensemble(DenseNetwork):
    """Networks whose unit vectors are put side by side, so that a cosine is the weighted mean of theirs.

    Networks trained apart, from other beginnings or with other objectives, err in different places: what one
    takes for alike and another does not is not alike (Lakshminarayanan et al., NeurIPS 2017). An ensemble
    costs as much as its members together.

    Parameters
    ----------
    members : a configuration for each network, with ``identifier`` and ``network_config``. All must be able
        to embed a volume densely, with the same stride.
    weights : how much each one counts, above 0; only their ratios matter. All the same where not given.

    Raises
    ------
    InputError
        If there are fewer than two members, one cannot be built or not evaluated densely, strides differ, or
        the weights are not as many positive numbers.
    """

    def __init__(self, members: Sequence[Mapping[str, Any]], weights: Sequence[float] | None = None) -> None:
        # Here because the registry lists this class too.
        from tomotwin_lib.networks.registry import build_network

        super().__init__()
        source = "network_config.members"
        if not isinstance(members, Sequence) or not all(isinstance(member, Mapping) for member in members):
            raise InputError(source, f"{members!r} is no list of networks", "Give their configurations")
        sources = [f"{source}[{number}]" for number in range(len(members))]
        needed = [{key: member[key] for key in _NEEDED if key in member} for member in members]
        built = [build_network(*member) for member in zip(needed, sources, strict=True)]
        self._take(built, sources, weights)

    @classmethod
    def of(
        cls,
        networks: Sequence[EmbeddingNetwork],
        sources: Sequence[str | Path],
        weights: Sequence[float] | None = None,
    ) -> Ensemble:
        """An ensemble of networks that exist, with their weights; ``sources`` name them in messages."""
        ensemble = cls.__new__(cls)
        DenseNetwork.__init__(ensemble)
        ensemble._take(networks, sources, weights)
        return ensemble

    def _take(
        self,
        networks: Sequence[EmbeddingNetwork],
        sources: Sequence[str | Path],
        weights: Sequence[float] | None,
    ) -> None:
        if len(networks) < 2:
            raise InputError(
                sources[0] if sources else "network_config.members",
                "one network is no ensemble" if networks else "there is no network",
                "Give two or more",
            )
        for network, source in zip(networks, sources, strict=True):
            if not isinstance(network, DenseNetwork):
                raise InputError(
                    source,
                    f"{type(network).__name__} cannot be evaluated densely",
                    "Combine fully convolutional networks",
                )
        self.members = nn.ModuleList(networks)
        strides = {network.total_stride for network in self.members}  # type: ignore[union-attr]
        if len(strides) > 1:
            raise InputError(sources[0], f"the strides differ: {strides}", "Combine networks of one stride")
        self.total_stride = strides.pop()  # type: ignore[misc, assignment]
        self.weights = _checked_weights(weights, len(networks))
        self.half_turn_invariant = all(network.half_turn_invariant for network in self.members)

    def forward_dense(self, volume: torch.Tensor) -> torch.Tensor:
        vectors = (network.forward_dense(volume) for network in self.members)  # type: ignore[operator]
        return _side_by_side(vectors, self.weights)

    def folded(self) -> nn.Module:
        return _SideBySide((network.folded() for network in self.members), self.weights)  # type: ignore[operator]


class _SideBySide(nn.Module):
    def __init__(self, parts: Iterable[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.weights = weights

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return _side_by_side((functional.normalize(part(volume), dim=1) for part in self.parts), self.weights)


def _side_by_side(vectors: Iterable[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    # A weight counts once in each of the two vectors that a cosine compares.
    scaled = [vector * math.sqrt(weight) for vector, weight in zip(vectors, weights, strict=True)]
    return torch.cat(scaled, dim=1)


def _checked_weights(weights: Sequence[float] | None, members: int) -> tuple[float, ...]:
    """The weights, which sum up to 1 then."""
    given = [1.0] * members if weights is None else [float(weight) for weight in weights]
    if len(given) != members or not all(0 < weight < math.inf for weight in given):
        raise InputError(
            "weights",
            f"{weights} for {members} networks",
            "Give each network one number above 0, or none at all",
        )
    return tuple(weight / sum(given) for weight in given)


def combine_checkpoints(
    paths: Sequence[str | Path], output: str | Path, weights: Sequence[float] | None = None
) -> int:
    """Write a checkpoint that holds several trained networks as one.

    Parameters
    ----------
    paths : checkpoints of networks that can be evaluated densely, trained with the same distance.
    output : the checkpoint, written whole or not at all.
    weights : how much each network counts in a similarity, above 0; all the same where not given.

    Returns
    -------
    The length of the combined embedding.

    Raises
    ------
    InputError
        If a checkpoint cannot be read, there are fewer than two, they do not fit together, or the weights are
        not as many positive numbers.
    """
    from tomotwin_lib.networks.checkpoint import load_network, save_made_of

    loaded = [load_network(path, "cpu") for path in paths]
    distances = {network.distance for network in loaded}
    if len(distances) > 1:
        raise InputError(
            paths[0],
            f"the networks were trained with {' and '.join(sorted(distances))}",
            "Combine equal ones",
        )
    ensemble = Ensemble.of([network.network for network in loaded], paths, weights)
    configuration = {
        "identifier": "Ensemble",
        "network_config": {
            "members": [{**network.configuration, "checkpoint_md5": network.md5} for network in loaded],
            "weights": list(ensemble.weights),
        },
        "distance": distances.pop(),
        "window_size": (loaded[0].window_size,) * 3,
    }
    save_made_of(output, ensemble, configuration, loaded)
    edge = ensemble.window_size
    with torch.no_grad():
        return int(ensemble.eval()(torch.zeros(1, 1, edge, edge, edge)).shape[1])
