"""Losses and miners, recomputed by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn import functional

from tomotwin_lib.errors import InputError
from tomotwin_lib.training.losses import MetricLoss
from tomotwin_lib.training.settings import LOSSES, MINERS, TrainSettings

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def unit(count: int, seed: int) -> torch.Tensor:
    return functional.normalize(torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)), dim=1)


def loss(name: str, **more: object) -> MetricLoss:
    torch.manual_seed(0)
    return MetricLoss(TrainSettings(loss=name, **more), "COSINE", class_count=3, embedding_size=5)  # type: ignore[arg-type]


def test_supervised_contrastive_loss_with_negatives_that_are_no_anchors() -> None:
    embeddings, negatives, temperature = unit(6, 1), unit(4, 2), 0.2
    terms = []
    for i in range(6):
        everything = [embeddings[j] for j in range(6) if j != i] + list(negatives)
        total = sum(math.exp(float(embeddings[i] @ other) / temperature) for other in everything)
        positives = [j for j in range(6) if j != i and LABELS[j] == LABELS[i]]
        terms.append(
            -sum(float(embeddings[i] @ embeddings[j]) / temperature - math.log(total) for j in positives)
            / len(positives)
        )
    value = loss("SupConLoss", loss_kwargs={"temperature": temperature})(embeddings, LABELS, negatives)
    assert float(value) == pytest.approx(sum(terms) / 6, rel=1e-4)


def test_triplet_loss_over_all_triplets_whose_anchor_has_a_class() -> None:
    embeddings, negatives, margin = unit(6, 3), unit(3, 4), 0.4
    everything = torch.cat([embeddings, negatives])
    labels = [*LABELS.tolist(), -1, -2, -3]
    terms = []
    for a, p, n in itertools.product(range(6), range(6), range(9)):
        if a != p and labels[a] == labels[p] and labels[n] != labels[a]:
            # On a similarity the margin is wanted between the positive's and the negative's.
            term = float(everything[a] @ everything[n] - everything[a] @ everything[p]) + margin
            terms.append(max(term, 0.0))
    positive = [term for term in terms if term > 0]  # the library averages over triplets that still violate
    value = loss("TripletLoss", tl_margin=margin)(embeddings, LABELS, negatives)
    assert float(value) == pytest.approx(sum(positive) / len(positive), rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_lower_for_classes_that_lie_apart(name: str) -> None:
    apart = functional.one_hot(LABELS, 5).float()
    measure = loss(name)
    if hasattr(measure.loss, "W"):
        with torch.no_grad():
            measure.loss.W.copy_(torch.eye(5)[:, :3])
    together = functional.normalize(apart + 0.9 * torch.ones(6, 5), dim=1)
    assert float(measure(apart, LABELS)) < float(measure(together, LABELS))


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("name", ["TripletLoss", "MultiSimilarityLoss"])
def test_every_miner_feeds_a_loss_that_can_be_descended(miner: str, name: str) -> None:
    embeddings = unit(12, 5).requires_grad_()
    value = loss(name, miner=miner)(embeddings, torch.arange(12) // 4, unit(4, 6))
    value.backward()
    assert torch.isfinite(value) and embeddings.grad is not None and torch.isfinite(embeddings.grad).all()


def test_arguments_that_a_loss_does_not_take_are_named() -> None:
    with pytest.raises(InputError, match="temprature"):
        loss("SupConLoss", loss_kwargs={"temprature": 1})
