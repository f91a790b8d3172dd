"""The losses and miners that a configuration can name, one line each.

All are of pytorch-metric-learning, whose import takes seconds. Here they are only named, so that a
configuration is checked without it; :mod:`tomotwin_lib.training.losses` builds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Part:
    """A loss or a miner, and where its arguments come from.

    Attributes
    ----------
    path : module of pytorch-metric-learning and class in it.
    takes : from the name of an argument to the key of ``train_config`` that gives it.
    defaults : arguments where the configuration gives none.
    compares : whether it measures by the configuration's distance. The others have a measure of their own.
    by_class : whether it compares samples with a direction that it keeps for each class, and not with
        each other.
    """

    path: str
    takes: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    compares: bool = False
    by_class: bool = False

    def load(self) -> Any:
        """The class itself."""
        module, name = self.path.split(".")
        return getattr(import_module(f"pytorch_metric_learning.{module}"), name)


_TRIPLETS = {"margin": 0.2, "type_of_triplets": "semihard"}

LOSSES: dict[str, Part] = {
    "TripletLoss": Part("losses.TripletMarginLoss", {"margin": "tl_margin"}, {"margin": 0.5}, compares=True),
    "MultiSimilarityLoss": Part("losses.MultiSimilarityLoss", compares=True),
    "ArcFaceLoss": Part("losses.ArcFaceLoss", {"margin": "af_margin", "scale": "af_scale"}, by_class=True),
    "SphereFaceLoss": Part(
        "losses.SphereFaceLoss", {"margin": "sf_margin", "scale": "sf_scale"}, by_class=True
    ),
    "SupConLoss": Part("losses.SupConLoss", compares=True),
}
# The last two weigh pairs by the Euclidean distance of unit vectors, which ranks as the cosine does.
MINERS: dict[str, Part] = {
    "TripletMarginMiner": Part(
        "miners.TripletMarginMiner", {"margin": "miner_margin"}, _TRIPLETS, compares=True
    ),
    "MultiSimilarityMiner": Part(
        "miners.MultiSimilarityMiner", {"epsilon": "miner_margin"}, {"epsilon": 0.2}, compares=True
    ),
    "DistanceWeightedMiner": Part("miners.DistanceWeightedMiner"),
    "UniformHistogramMiner": Part("miners.UniformHistogramMiner"),
}
