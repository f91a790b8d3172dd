"""The losses and miners that a configuration can name, from pytorch-metric-learning."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_metric_learning import distances, losses, miners
from pytorch_metric_learning.utils import loss_and_miner_utils as pairs
from torch import nn

from tomotwin_lib.errors import InputError
from tomotwin_lib.training.settings import TrainSettings

_TRIPLET_MARGIN = 0.5
_MINER_MARGIN = 0.2


class MetricLoss(nn.Module):
    """A loss over a batch in which some samples serve as negatives only.

    Parameters
    ----------
    settings : names the loss and the miner.
    distance : COSINE, EUCLIDEAN, GEODESIC or SNR.
    class_count : number of classes; the classification losses keep a direction for each.
    embedding_size : length of the embedding.
    """

    def __init__(self, settings: TrainSettings, distance: str, class_count: int, embedding_size: int) -> None:
        super().__init__()
        self.loss = _build_loss(settings, distance, class_count, embedding_size)
        self.miner = _build_miner(settings, distance)

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, negatives: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The loss of a batch.

        Parameters
        ----------
        embeddings : (b, channel), of unit norm.
        labels : (b,)
        negatives : (n, channel), of unit norm: of no class, only to be kept away from.
        """
        if isinstance(self.loss, (losses.ArcFaceLoss, losses.SphereFaceLoss)):
            # These compare with a direction a class, not with other samples.
            return self.loss(embeddings, labels)
        count = len(embeddings)
        if negatives is not None and len(negatives):
            # A label of its own for each, so that no two of them are taken for the same thing.
            own = torch.arange(len(negatives), device=labels.device) + labels.max() + 1
            embeddings, labels = torch.cat([embeddings, negatives]), torch.cat([labels, own])
        found = self.miner(embeddings, labels) if self.miner else pairs.get_all_pairs_indices(labels)
        return self.loss(embeddings, labels, _with_anchor_below(found, count))


def _with_anchor_below(found: tuple[torch.Tensor, ...], count: int) -> tuple[torch.Tensor, ...]:
    """Leave out the pairs or triplets whose anchor is one of the samples from ``count`` on."""
    if len(found) == 3:
        keep = found[0] < count
        return tuple(part[keep] for part in found)
    anchor, positive, other_anchor, negative = found
    keep, other_keep = anchor < count, other_anchor < count
    return anchor[keep], positive[keep], other_anchor[other_keep], negative[other_keep]


def _build_distance(name: str) -> Any:
    builders = {
        "COSINE": distances.CosineSimilarity,
        "EUCLIDEAN": distances.LpDistance,
        "SNR": distances.SNRDistance,
        # On the unit sphere the geodesic distance falls as the cosine rises, so both rank alike.
        "GEODESIC": distances.CosineSimilarity,
    }
    return builders[name]()


def _build_loss(settings: TrainSettings, distance: str, class_count: int, embedding_size: int) -> Any:
    arguments = dict(settings.loss_kwargs)
    if settings.loss == "TripletLoss":
        arguments.setdefault(
            "margin", settings.tl_margin if settings.tl_margin is not None else _TRIPLET_MARGIN
        )
        arguments.setdefault("distance", _build_distance(distance))
        build: Any = losses.TripletMarginLoss
    elif settings.loss == "MultiSimilarityLoss":
        build = losses.MultiSimilarityLoss
    elif settings.loss == "SupConLoss":
        build = losses.SupConLoss
    else:
        build = losses.ArcFaceLoss if settings.loss == "ArcFaceLoss" else losses.SphereFaceLoss
        arguments |= {"num_classes": class_count, "embedding_size": embedding_size}
    try:
        return build(**arguments)
    except TypeError as error:
        raise InputError(
            "train_config.loss_kwargs", f"{settings.loss} does not take them ({error})", "Correct the keys"
        ) from error


def _build_miner(settings: TrainSettings, distance: str) -> Any:
    margin = settings.miner_margin if settings.miner_margin is not None else _MINER_MARGIN
    measure = _build_distance(distance)
    if settings.miner_name is None:
        return None
    if settings.miner_name == "TripletMarginMiner":
        return miners.TripletMarginMiner(margin=margin, type_of_triplets="semihard", distance=measure)
    if settings.miner_name == "MultiSimilarityMiner":
        return miners.MultiSimilarityMiner(epsilon=margin)
    if settings.miner_name == "DistanceWeightedMiner":
        return miners.DistanceWeightedMiner()
    return miners.UniformHistogramMiner()
