"""How good a network in training is on subvolumes that it does not learn from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import f1_score

from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.training.densities import Densities
from tomotwin_lib.training.losses import MetricLoss
from tomotwin_lib.training.subvolumes import LabelledSubvolumes

BATCH = 64
# A loss looks at all pairs of its batch, so large validation sets go through it in pieces of this size.
LOSS_BATCH = 512


@torch.no_grad()
def validate(
    network: EmbeddingNetwork,
    subvolumes: LabelledSubvolumes,
    loss: MetricLoss,
    device: torch.device,
    densities: Densities | None = None,
) -> tuple[float, float]:
    """The loss and the classification F1 of a network on a validation set.

    Parameters
    ----------
    densities : the anchors, where the subvolumes are not.

    Returns
    -------
    The mean loss, and the macro F1 of giving each subvolume the class whose mean embedding is nearest: the
    mean of the densities if there are any, else that of the subvolumes, with the own embedding left out.
    """
    network.eval()
    embeddings = _embed(
        network,
        [
            torch.stack([subvolumes[i][0] for i in range(start, min(start + BATCH, len(subvolumes)))])
            for start in range(0, len(subvolumes), BATCH)
        ],
        device,
    )
    labels = torch.from_numpy(subvolumes.labels).to(device)
    anchors, anchor_labels = embeddings[:0], labels[:0]
    if densities is not None:
        anchors = _embed(network, densities.volumes.split(BATCH), device)
        anchor_labels = densities.labels.to(device)

    # In the order of the files a piece would hold few classes; a fixed shuffle mixes them. Negatives that
    # are chosen at random are the same in every epoch too.
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(labels), generator=generator).to(device)
    pieces = [piece for piece in order.split(LOSS_BATCH) if len(piece) > 1]
    losses = [
        float(
            loss(
                torch.cat([anchors, embeddings[piece]]),
                torch.cat([anchor_labels, labels[piece]]),
                densities=None if densities is None else len(anchors),
                generator=generator,
            )
        )
        for piece in pieces
    ]
    vectors = embeddings.cpu().numpy()
    f1 = (
        classification_f1(vectors, subvolumes.labels)
        if densities is None
        else density_f1(vectors, subvolumes.labels, anchors.cpu().numpy(), densities.labels.numpy())
    )
    return float(np.mean(losses)), f1


def _embed(network: EmbeddingNetwork, batches: Iterable[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Embeddings, (b, channel), of batches (b, 1, d, h, w)."""
    return torch.cat([network(batch.to(device)).float() for batch in batches])


def classification_f1(embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.integer]) -> float:
    """Macro F1 of nearest-mean classification, each sample left out of its own class's mean.

    Parameters
    ----------
    embeddings : (sample, channel), of unit norm.
    labels : (sample,)
    """
    classes = np.unique(labels)
    sums = np.stack([embeddings[labels == label].sum(axis=0) for label in classes])
    own = np.searchsorted(classes, labels)
    similarity = embeddings @ (sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-12)).T
    without = sums[own] - embeddings
    without /= np.linalg.norm(without, axis=1, keepdims=True).clip(1e-12)
    similarity[np.arange(len(labels)), own] = np.sum(embeddings * without, axis=1)
    return float(f1_score(labels, classes[similarity.argmax(axis=1)], average="macro"))


def density_f1(
    embeddings: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer],
    densities: npt.NDArray[np.float32],
    density_labels: npt.NDArray[np.integer],
) -> float:
    """Macro F1 of giving each sample the class whose densities' mean embedding is nearest.

    Classes without a density or without a sample are left out.

    Parameters
    ----------
    embeddings, densities : (sample, channel) and (density, channel), of unit norm.
    labels, density_labels : (sample,) and (density,)
    """
    classes = np.intersect1d(labels, density_labels)
    sums = np.stack([densities[density_labels == label].sum(axis=0) for label in classes])
    chosen = np.isin(labels, classes)
    similarity = embeddings[chosen] @ (sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-12)).T
    return float(f1_score(labels[chosen], classes[similarity.argmax(axis=1)], average="macro"))
