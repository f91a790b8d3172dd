"""How good a network in training is on subvolumes that it does not learn from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import f1_score

from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.training.losses import MetricLoss
from tomotwin_lib.training.subvolumes import LabelledSubvolumes

BATCH = 64
# A loss looks at all pairs of its batch, so large validation sets go through it in pieces of this size.
LOSS_BATCH = 512


@torch.no_grad()
def validate(
    network: EmbeddingNetwork, subvolumes: LabelledSubvolumes, loss: MetricLoss, device: torch.device
) -> tuple[float, float]:
    """The loss and the classification F1 of a network on a validation set.

    Returns
    -------
    The mean loss, and the macro F1 of giving each subvolume the class whose mean embedding is nearest, with
    its own embedding left out of the mean.
    """
    network.eval()
    batches = [
        torch.stack([subvolumes[i][0] for i in range(start, min(start + BATCH, len(subvolumes)))])
        for start in range(0, len(subvolumes), BATCH)
    ]
    embeddings = torch.cat([network(batch.to(device)).float() for batch in batches])
    labels = torch.from_numpy(subvolumes.labels).to(device)

    # In the order of the files a piece would hold few classes; a fixed shuffle mixes them.
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).to(device)
    pieces = [piece for piece in order.split(LOSS_BATCH) if len(piece) > 1]
    losses = [float(loss(embeddings[piece], labels[piece])) for piece in pieces]
    return float(np.mean(losses)), classification_f1(embeddings.cpu().numpy(), subvolumes.labels)


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
