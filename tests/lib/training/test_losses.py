"""Losses and miners, recomputed by hand."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
from torch.nn import functional

from tomotwin_lib.distances import DISTANCES
from tomotwin_lib.errors import InputError
from tomotwin_lib.training import metric_parts
from tomotwin_lib.training.losses import MetricLoss
from tomotwin_lib.training.metric_parts import LOSSES, MINERS, Part
from tomotwin_lib.training.settings import TrainSettings

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def unit(count: int, seed: int, channels: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(count, channels, generator=generator), dim=1)


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


def triplet_loss(
    everything: torch.Tensor,
    labels: list[int],
    anchors: Sequence[int],
    positives: Sequence[int],
    margin: float,
) -> float:
    """The mean over triplets that violate the margin, with the cosine as similarity."""
    terms = [
        float(everything[a] @ everything[n] - everything[a] @ everything[p]) + margin
        for a, p, n in itertools.product(anchors, positives, range(len(everything)))
        if a != p and labels[a] == labels[p] and labels[n] != labels[a]
    ]
    violated = [term for term in terms if term > 0]
    return sum(violated) / len(violated)


def test_densities_are_the_only_anchors_and_no_positives() -> None:
    # Two densities of class 0, as in validation, and one of class 1; then the subvolumes of three classes.
    labels = [0, 0, 1, 0, 0, 1, 1, 2, 2]
    embeddings, negatives = unit(9, 7), unit(2, 8)
    everything = torch.cat([embeddings, negatives])
    expected = triplet_loss(everything, [*labels, -1, -2], range(3), range(3, 9), 0.6)
    value = loss("TripletLoss", tl_margin=0.6)(embeddings, torch.tensor(labels), negatives, densities=3)
    assert float(value) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("miner", [False, "UniformHistogramMiner", "MultiSimilarityMiner"])
def test_pairs_are_those_of_densities_whatever_the_miner(miner: str | bool) -> None:
    labels = torch.tensor([0, 1, 0, 0, 1, 1, 2, 2])
    measure = loss("TripletLoss", miner=miner)
    seen = []
    measure.loss.forward = lambda embeddings, labels, found: seen.append(found) or embeddings.sum()
    measure(unit(8, 9), labels, densities=2)
    anchor, positive, other, negative = (part.tolist() for part in seen[0])
    assert set(anchor) | set(other) <= {0, 1} and min(positive) >= 2
    assert all(labels[a] == labels[p] for a, p in zip(anchor, positive, strict=True))
    assert all(labels[a] != labels[n] for a, n in zip(other, negative, strict=True))


def test_a_class_can_be_only_something_to_keep_away_from() -> None:
    embeddings, labels = unit(6, 10), LABELS.tolist()
    settings = TrainSettings(loss="TripletLoss", tl_margin=0.6)
    measure = MetricLoss(settings, "COSINE", 3, 5, may_anchor=torch.tensor([True, False, True]))
    expected = triplet_loss(embeddings, labels, [0, 1, 4, 5], range(6), 0.6)
    assert float(measure(embeddings, LABELS)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["ArcFaceLoss", "SphereFaceLoss"])
def test_losses_with_a_direction_a_class_leave_such_a_class_out(name: str) -> None:
    embeddings = unit(6, 11)
    torch.manual_seed(0)
    settings = TrainSettings(loss=name)
    measure = MetricLoss(settings, "COSINE", 3, 5, may_anchor=torch.tensor([True, False, True]))
    rest = [0, 1, 4, 5]
    assert float(measure(embeddings, LABELS)) == float(loss(name)(embeddings[rest], LABELS[rest]))
    alone = measure(embeddings[2:4].requires_grad_(), LABELS[2:4])
    alone.backward()
    assert float(alone) == 0


def test_negatives_are_limited_to_so_many_an_anchor_by_chance() -> None:
    # One density, one positive, four negatives: with one of them the loss is that of one triplet.
    embeddings, labels = unit(6, 12), torch.tensor([0, 0, 1, 1, 2, 3])
    similarity = embeddings[0] @ embeddings.T
    single = [max(float(similarity[n] - similarity[1]) + 2.0, 0.0) for n in range(2, 6)]
    settings = TrainSettings(loss="TripletLoss", tl_margin=2.0)

    def value(most: int | None, seed: int) -> float:
        measure = MetricLoss(settings, "COSINE", 4, 5, max_negatives=most)
        generator = torch.Generator().manual_seed(seed)
        return float(measure(embeddings, labels, densities=1, generator=generator))

    seen = {min(range(4), key=lambda n: abs(single[n] - value(1, seed))) for seed in range(40)}
    assert seen == set(range(4))
    assert min(abs(term - value(1, 0)) for term in single) < 1e-5
    pairs = [(a + b) / 2 for a, b in itertools.combinations(single, 2)]
    assert min(abs(term - value(2, 0)) for term in pairs) < 1e-5
    for most in (4, 9, None):
        assert value(most, 0) == pytest.approx(sum(single) / 4, rel=1e-5)
    assert value(1, 5) == value(1, 5)


def test_every_anchor_keeps_its_own_negatives() -> None:
    measure = MetricLoss(TrainSettings(loss="TripletLoss"), "COSINE", 3, 5, max_negatives=2)
    seen = []
    measure.loss.forward = lambda embeddings, labels, found: seen.append(found) or embeddings.sum()
    measure(unit(6, 13), LABELS, unit(3, 14), generator=torch.Generator().manual_seed(1))
    _, _, anchor, negative = seen[0]
    assert anchor.tolist() == [a for a in range(6) for _ in range(2)]
    assert len(set(zip(anchor.tolist(), negative.tolist(), strict=True))) == 12
    labels = [*LABELS.tolist(), 7, 8, 9]
    assert all(labels[a] != labels[n] for a, n in zip(anchor, negative, strict=True))


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("miner", [False, *MINERS])
@pytest.mark.parametrize("name", LOSSES)
def test_every_combination_can_be_descended(name: str, miner: str | bool, distance: str) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(16, 6, generator=torch.Generator().manual_seed(3), requires_grad=True)
    measure = MetricLoss(TrainSettings(loss=name, miner=miner), distance, 4, 6)
    value = measure(functional.normalize(vectors, dim=1), torch.arange(16) // 4, unit(5, 4, channels=6))
    value.backward()
    assert torch.isfinite(value) and float(value) > 0
    assert vectors.grad is not None and torch.isfinite(vectors.grad).all() and vectors.grad.abs().max() > 0
    with torch.no_grad():
        stepped = functional.normalize(vectors - 1e-3 * vectors.grad / vectors.grad.norm(), dim=1)
    if not miner:  # a miner may choose otherwise after the step
        after = measure(stepped, torch.arange(16) // 4, unit(5, 4, channels=6))
        assert float(after) < float(value)


def test_pair_losses_measure_by_the_distance_asked_for() -> None:
    # Two samples a class: d(0, 1) and the distances to the others, by hand, in the triplet loss.
    embeddings = unit(4, 15)
    labels = torch.tensor([0, 0, 1, 1])

    def euclidean(a: int, b: int) -> float:
        return float((embeddings[a] - embeddings[b]).norm())

    def signal_to_noise(a: int, b: int) -> float:
        noise = embeddings[a] - embeddings[b]
        return float(noise.var() / embeddings[a].var())

    for distance, measure in (("EUCLIDEAN", euclidean), ("SNR", signal_to_noise)):
        terms = [
            measure(a, p) - measure(a, n) + 3.0
            for a, p in ((0, 1), (1, 0), (2, 3), (3, 2))
            for n in ((2, 3) if a < 2 else (0, 1))
        ]
        settings = TrainSettings(loss="TripletLoss", tl_margin=3.0)
        violated = [term for term in terms if term > 0]
        value = MetricLoss(settings, distance, 2, 5)(embeddings, labels)
        assert float(value) == pytest.approx(sum(violated) / len(violated), rel=1e-4)


def test_arguments_come_from_where_tomotwin_writes_them() -> None:
    assert loss("TripletLoss", tl_margin=0.3).loss.margin == 0.3
    assert loss("TripletLoss").loss.margin == 0.5
    arc = loss("ArcFaceLoss", af_margin=20.0, af_scale=32.0).loss
    assert (math.degrees(arc.margin), arc.scale) == (pytest.approx(20), 32)
    assert loss("SphereFaceLoss", sf_margin=3.0, sf_scale=2.0).loss.scale == 2
    miner = {"name": "TripletMarginMiner", "miner_margin": 0.31}
    assert loss("TripletLoss", miner=miner).miner.margin == 0.31
    assert loss("TripletLoss", miner=True, miner_margin=0.32).miner.margin == 0.32
    weighted = loss("TripletLoss", miner={"name": "DistanceWeightedMiner", "cutoff": 0.6}).miner
    assert weighted.cutoff == 0.6
    similar = loss("MultiSimilarityLoss", miner={"name": "MultiSimilarityMiner", "epsilon": 0.4}).miner
    assert similar.epsilon == 0.4
    with pytest.raises(InputError, match="cutof"):
        loss("TripletLoss", miner={"name": "DistanceWeightedMiner", "cutof": 0.6})


def test_a_new_loss_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metric_parts.LOSSES, "CircleLoss", Part("losses.CircleLoss"))
    configuration = {"train_config": {"loss": "CircleLoss", "loss_kwargs": {"gamma": 10}}}
    settings = TrainSettings.from_configuration(configuration, "test")
    assert MetricLoss(settings, "COSINE", 3, 5).loss.gamma == 10


def test_naming_losses_and_miners_imports_no_library() -> None:
    code = (
        "import sys, tomotwin_lib.training.settings\n"
        "assert not {'torch', 'pytorch_metric_learning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
