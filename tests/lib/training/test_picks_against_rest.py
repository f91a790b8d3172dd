"""The loss of fine-tuning against a case worked by hand, and what it must prefer."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from tomotwin_lib.training.picks_against_rest import NEGATIVES, TEMPERATURE, picks_against_rest


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_case_worked_by_hand() -> None:
    """Two picks of different classes on their references, at right angles to each other and to the rest."""
    particles = torch.eye(4)[:2]
    others = torch.eye(4)[2:3]
    loss = picks_against_rest(particles, particles.clone(), torch.tensor([0, 1]), others, generator())
    # Of each pick: one right similarity of 1, and 0 for all negatives, twice over.
    wrong = 2 * (NEGATIVES + 1)
    expected = math.log(1 + wrong * math.exp(-1 / TEMPERATURE))
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_picks_of_the_same_class_are_no_negatives() -> None:
    particles = torch.eye(3)[[0, 0]]
    loss = picks_against_rest(particles, particles, torch.tensor([0, 0]), torch.empty(0, 3), generator())
    assert loss == 0


def test_its_gradient_draws_a_pick_to_its_reference_and_off_the_background() -> None:
    raw = torch.tensor([[1.0, 1.0, 1.0]], requires_grad=True)
    reference, others = torch.eye(3)[:1], torch.eye(3)[1:2]
    particle = functional.normalize(raw, dim=1)
    picks_against_rest(particle, reference, torch.tensor([0]), others, generator()).backward()
    moved = functional.normalize((raw - 0.1 * raw.grad).detach(), dim=1)[0]
    assert moved[0] > particle[0, 0] and moved[1] < particle[0, 1]


def test_all_alike_costs_more_than_little_signal() -> None:
    """A class that is hardly told from the background must not gain by becoming it."""
    channels = 32
    noise = functional.normalize(torch.randn(2000, channels, generator=generator()), dim=1)
    reference = torch.eye(channels)[:1]
    particle = functional.normalize(reference * 0.4 + torch.eye(channels)[1:2] * 0.9, dim=1)
    told = picks_against_rest(particle, reference, torch.tensor([0]), noise, generator())
    alike = picks_against_rest(reference, reference, torch.tensor([0]), reference.expand(50, -1), generator())
    assert told < alike - 1
