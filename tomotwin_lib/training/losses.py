"""The loss of a batch: which samples may be anchors, positives and negatives, and what the pairs cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_metric_learning import distances
from pytorch_metric_learning.utils import loss_and_miner_utils as pairs
from torch import nn

from tomotwin_lib.errors import InputError
from tomotwin_lib.training.metric_parts import LOSSES, MINERS, Part
from tomotwin_lib.training.settings import TrainSettings


class MetricLoss(nn.Module):
    """A loss over a batch in which some samples serve as negatives only.

    Parameters
    ----------
    settings : names the loss and the miner.
    distance : COSINE, EUCLIDEAN, GEODESIC or SNR.
    class_count : number of classes; the classification losses keep a direction for each.
    embedding_size : length of the embedding.
    may_anchor : (class,) bool: whether samples of the class are anchors and positives, or negatives only.
        All classes may where ``None``.
    max_negatives : negatives of an anchor, chosen at random; all where ``None``. A miner chooses by itself.

    Raises
    ------
    InputError
        If the loss or the miner does not take its arguments.
    """

    may_anchor: torch.Tensor

    def __init__(
        self,
        settings: TrainSettings,
        distance: str,
        class_count: int,
        embedding_size: int,
        may_anchor: torch.Tensor | None = None,
        max_negatives: int | None = None,
    ) -> None:
        super().__init__()
        part = LOSSES[settings.loss]
        more = {"num_classes": class_count, "embedding_size": embedding_size} if part.by_class else {}
        self.by_class = part.by_class
        self.loss = _build(part, settings, distance, settings.loss_kwargs | more, "train_config.loss_kwargs")
        self.miner = (
            _build(
                MINERS[settings.miner_name],
                settings,
                distance,
                settings.miner_arguments,
                "train_config.miner",
            )
            if settings.miner_name is not None
            else None
        )
        self.max_negatives = max_negatives
        if may_anchor is None:
            may_anchor = torch.ones(class_count, dtype=torch.bool)
        # It follows from the folders, so no checkpoint needs to hold it.
        self.register_buffer("may_anchor", may_anchor, persistent=False)

    def forward(
        self,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        negatives: torch.Tensor | None = None,
        *,
        densities: int | None = None,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """The loss of a batch.

        Parameters
        ----------
        embeddings : (b, channel), of unit norm.
        labels : (b,)
        negatives : (n, channel), of unit norm: of no class, only to be kept away from.
        densities : the first so many of ``embeddings`` are densities: they alone are anchors then, and
            only other samples are positives. ``None``: every sample is both.
        generator : of the CPU; chooses the negatives where ``max_negatives`` limits them.
        """
        if self.by_class:
            known = self.may_anchor[labels]
            if not known.any():
                return embeddings.sum() * 0
            return self.loss(embeddings[known], labels[known])
        count = len(embeddings)
        anchors = self.may_anchor[labels]
        if densities is not None:
            anchors[densities:] = False
        if negatives is not None and len(negatives):
            # A label of its own for each, so that no two of them are taken for the same thing.
            own = torch.arange(len(negatives), device=labels.device) + labels.max() + 1
            embeddings, labels = torch.cat([embeddings, negatives]), torch.cat([labels, own])
            anchors = torch.cat([anchors, anchors.new_zeros(len(labels) - count)])
        found = self.miner(embeddings, labels) if self.miner else pairs.get_all_pairs_indices(labels)
        found = _restrict(found, anchors, densities or 0)
        if self.miner is None and self.max_negatives is not None:
            anchor, negative = _limit(found[2], found[3], self.max_negatives, generator)
            found = (found[0], found[1], anchor, negative)
        return self.loss(embeddings, labels, found)


def _restrict(
    found: tuple[torch.Tensor, ...], may_anchor: torch.Tensor, first_positive: int
) -> tuple[torch.Tensor, ...]:
    """Leave out pairs or triplets with an anchor that may be none, or a positive before ``first_positive``.

    Parameters
    ----------
    found : indices into the batch: anchor, positive, negative; or anchor, positive, anchor, negative.
    may_anchor : (b,) bool.
    """
    keep = may_anchor[found[0]] & (found[1] >= first_positive)
    if len(found) == 3:
        return tuple(part[keep] for part in found)
    anchor, positive, other_anchor, negative = found
    other_keep = may_anchor[other_anchor]
    return anchor[keep], positive[keep], other_anchor[other_keep], negative[other_keep]


def _limit(
    anchor: torch.Tensor, negative: torch.Tensor, most: int, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """At most so many negatives of each anchor, chosen at random; anchors come back in rising order."""
    order = torch.randperm(len(anchor), generator=generator).to(anchor.device)
    order = order[torch.argsort(anchor[order], stable=True)]
    anchor, negative = anchor[order], negative[order]
    # In a sorted list, the place within its anchor is the place less that of the anchor's first.
    rank = torch.arange(len(anchor), device=anchor.device) - torch.searchsorted(anchor, anchor)
    return anchor[rank < most], negative[rank < most]


def _build_distance(name: str) -> Any:
    builders = {
        "COSINE": distances.CosineSimilarity,
        "EUCLIDEAN": distances.LpDistance,
        "SNR": distances.SNRDistance,
        # On the unit sphere the geodesic distance falls as the cosine rises, so both rank alike.
        "GEODESIC": distances.CosineSimilarity,
    }
    return builders[name]()


def _build(
    part: Part, settings: TrainSettings, distance: str, arguments: Mapping[str, Any], source: str
) -> Any:
    """A loss or miner with the arguments that the configuration gives it."""
    given = {argument: getattr(settings, key) for argument, key in part.takes.items()}
    combined = {
        **part.defaults,
        **{argument: value for argument, value in given.items() if value is not None},
        **({"distance": _build_distance(distance)} if part.compares else {}),
        **arguments,
    }
    try:
        return part.load()(**combined)
    except TypeError as error:
        name = part.path.split(".")[1]
        raise InputError(source, f"{name} does not take them ({error})", "Correct the keys") from error
