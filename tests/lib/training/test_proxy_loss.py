"""The loss by directions against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tomotwin_lib.training.proxy_loss import ProxyLoss
from tomotwin_lib.training.window_draws import NO_PARTICLE


def loss() -> ProxyLoss:
    made = ProxyLoss(2, 2, scale=10.0, margin=0.1, level=0.4)
    made.directions.data = torch.tensor([[3.0, 0.0], [0.0, 0.5]])  # any length
    return made


def test_a_particle_and_none_by_hand() -> None:
    embedding = torch.tensor([[0.6, 0.8]])
    particle = loss()(embedding, torch.tensor([0]))
    # Logits 10 × (0.6 − 0.1), 10 × 0.8, 10 × 0.4.
    assert particle.item() == pytest.approx(-5 + math.log(math.exp(5) + math.exp(8) + math.exp(4)), abs=1e-5)
    none = loss()(embedding, torch.tensor([NO_PARTICLE]))
    assert none.item() == pytest.approx(-4 + math.log(math.exp(6) + math.exp(8) + math.exp(4)), abs=1e-5)
    both = loss()(embedding.repeat(2, 1), torch.tensor([0, NO_PARTICLE]))
    assert both.item() == pytest.approx((particle.item() + none.item()) / 2, abs=1e-5)


def test_none_pushes_off_every_direction_and_particles_draw_to_their_own() -> None:
    angle = torch.tensor(0.7, requires_grad=True)
    embedding = torch.stack([torch.cos(angle), torch.sin(angle)])[None]
    loss()(embedding, torch.tensor([0])).backward()
    assert angle.grad is not None and angle.grad > 0  # falls as the embedding turns to the first direction
    far = loss()(torch.tensor([[-1.0, 0.0]]), torch.tensor([NO_PARTICLE]))
    near = loss()(torch.tensor([[1.0, 0.0]]), torch.tensor([NO_PARTICLE]))
    assert far < near
