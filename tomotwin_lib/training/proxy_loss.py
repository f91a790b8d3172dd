"""A direction for each class, and none for what is no particle."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from tomotwin_lib.training.window_draws import NO_PARTICLE


class ProxyLoss(nn.Module):
    """Normalised softmax over learnt directions, one a class, with one more outcome: none of them.

    The logit of a class is ``scale`` times the cosine with its direction (Wang et al., NormFace, 2017), that
    of the own class reduced by ``margin`` (CosFace, 2018); the logit of "none" is ``scale`` times ``level``.
    So a particle has to come nearer to its own direction than ``level``, and what is no particle
    has to stay farther than that from all directions: one level of similarity parts both for every class,
    which is what picking with a threshold needs.

    Parameters
    ----------
    class_count, embedding_size : numbers of directions and of their components.
    scale : sharpness, the inverse temperature.
    margin, level : cosines.
    """

    def __init__(
        self,
        class_count: int,
        embedding_size: int,
        scale: float = 14.0,
        margin: float = 0.1,
        level: float = 0.4,
    ) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(class_count, embedding_size) / math.sqrt(embedding_size))
        self.scale, self.margin, self.level = scale, margin, level

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean over a batch.

        Parameters
        ----------
        embeddings : (b, channel), of unit norm.
        labels : (b,), ``NO_PARTICLE`` for what is of no class.
        """
        cosines = embeddings @ functional.normalize(self.directions, dim=1).T
        none = labels == NO_PARTICLE
        own = functional.one_hot(labels.clamp_min(0), len(self.directions)).bool() & ~none[:, None]
        cosines = cosines - self.margin * own
        logits = self.scale * torch.cat([cosines, torch.full_like(cosines[:, :1], self.level)], dim=1)
        target = torch.where(none, len(self.directions), labels)
        return functional.cross_entropy(logits, target)
