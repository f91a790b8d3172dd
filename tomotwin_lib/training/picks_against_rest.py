"""The loss of fine-tuning: each pick against all that is no particle of its class."""

from __future__ import annotations

import torch
from torch.nn import functional

TEMPERATURE = 0.1
NEGATIVES = 512
"""Negatives of a batch that count for a pick, by chance. With the most similar ones chosen, classes with
little signal ended up with one embedding for themselves and the background (as in Schroff et al., CVPR 2015):
their hardest negatives are nearer than the reference, and to be all alike costs less then."""


def picks_against_rest(
    particles: torch.Tensor,
    references: torch.Tensor,
    labels: torch.Tensor,
    others: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """How badly picks are told from all else: the cross-entropy of a softmax over similarities.

    For each pick, its similarity to the reference of its class stands against those of negatives to the
    reference, as picks will be compared, and to the pick itself, or it would only be drawn to the reference
    and all else with it. Negatives are positions without a particle and the picks of other classes.

    Parameters
    ----------
    particles : (pick, channel) of unit norm.
    references : (pick, channel) of unit norm: the reference of each pick's class, without gradient.
    labels : (pick,) number of the class.
    others : (position, channel) of unit norm: embeddings where there is no particle; none will do.
    generator : draws those that count, with replacement.

    Returns
    -------
    The mean over the picks, a scalar.
    """
    losses = []
    for particle, reference, label in zip(particles, references, labels, strict=True):
        drawn = others[:0]
        if len(others):
            drawn = others[torch.randint(len(others), (NEGATIVES,), generator=generator).to(others.device)]
        wrong = torch.cat([drawn, particles[labels != label]])
        right = (particle @ reference)[None]
        logits = torch.cat([right, wrong @ reference, wrong @ particle]) / TEMPERATURE
        losses.append(-functional.log_softmax(logits, dim=0)[0])
    return torch.stack(losses).mean()
