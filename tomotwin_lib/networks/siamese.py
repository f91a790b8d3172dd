"""TomoTwin's convolutional network, for its published weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tomotwin_lib.networks.arguments import require_integer, require_number
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.networks.normalisation import normalisation_factory

#: Channels of the five convolutional layers.
LAYER_CHANNELS = (64, 128, 256, 512, 1024)

#: Zeros before and after each axis: 37 + 1 + 2 = 40 is what the layers bring down to 2 (40→36→18→14→10→6→2).
ZERO_PADDING = (1, 2)

#: Edge of the map that the last pooling leaves.
POOLED_EDGE = 2

#: Width of the two hidden linear layers.
HEAD_CHANNELS = 2048

#: The generalised mean takes powers: what is smaller, negative values too, counts as this.
SMALLEST_POOLED_VALUE = 1e-6


class SiameseNet(EmbeddingNetwork):
    """Five double convolutions, one pooling, a linear head.

    Geometry and parameter names are those of TomoTwin (Rice et al., Nature Methods 20, 871, 2023), so that
    its checkpoints load; the defaults are TomoTwin's too.

    Parameters
    ----------
    output_channels : length of the embedding.
    norm_name, norm_kwargs, groups : see :func:`~tomotwin_lib.networks.normalisation.normalisation_factory`.
    dropout : share of the features that are dropped before the head, in training.
    repeat_layers : residual blocks after each convolutional layer, in the first after its max-pooling.
    gem_pooling_p : power of the generalised mean that pools the last layer; 0 for the plain average.

    Raises
    ------
    InputError
        If an argument is not possible.
    """

    def __init__(
        self,
        output_channels: int = 128,
        norm_name: str | None = None,
        norm_kwargs: Mapping[str, Any] | None = None,
        groups: int | None = None,
        dropout: float = 0.5,
        repeat_layers: int = 0,
        gem_pooling_p: float = 0,
    ) -> None:
        super().__init__()
        output_channels = require_integer("output_channels", output_channels, 1)
        dropout = require_number("dropout", dropout, 0, below=1)
        repeat_layers = require_integer("repeat_layers", repeat_layers, 0)
        gem_pooling_p = require_number("gem_pooling_p", gem_pooling_p, 0)
        normalise = normalisation_factory(norm_name, norm_kwargs, groups)

        inputs = 1
        for index, channels in enumerate(LAYER_CHANNELS):
            # As in TomoTwin, *one* normalisation and its weights serve the whole layer.
            normalisation = normalise(channels)
            self.add_module(f"conv_layer{index}", _double_convolution(inputs, channels, normalisation))
            blocks = (_ResidualBlock(channels, normalisation) for _ in range(repeat_layers))
            self.add_module(f"rep_layers{index}", nn.Sequential(*blocks))
            inputs = channels
        self.max_pooling = nn.MaxPool3d(2)
        self.pooling: nn.Module = (
            GeneralisedMeanPool3d(gem_pooling_p) if gem_pooling_p > 0 else nn.AdaptiveAvgPool3d(POOLED_EDGE)
        )
        self.headnet = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(LAYER_CHANNELS[-1] * POOLED_EDGE**3, HEAD_CHANNELS),
            nn.LeakyReLU(inplace=True),
            nn.Linear(HEAD_CHANNELS, HEAD_CHANNELS),
            nn.LeakyReLU(inplace=True),
            nn.Linear(HEAD_CHANNELS, output_channels),
        )

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        features = functional.pad(windows, ZERO_PADDING * 3)
        for index in range(len(LAYER_CHANNELS)):
            features = self.get_submodule(f"conv_layer{index}")(features)
            if index == 0:
                features = self.max_pooling(features)
            features = self.get_submodule(f"rep_layers{index}")(features)
        embedding = self.headnet(self.pooling(features).flatten(1))
        return functional.normalize(embedding.float(), dim=1)


class GeneralisedMeanPool3d(nn.Module):
    """Adaptive pooling by the generalised mean, (mean of xᵖ) to the power 1/p (Radenović et al., 2018).

    Parameters
    ----------
    power : p, above 0; 1 is the average, and the larger it is, the closer to the maximum.
    """

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        # Powers of 1e-6 underflow in half precision, hence float32.
        powers = features.float().clamp(min=SMALLEST_POOLED_VALUE).pow(self.power)
        pooled = functional.adaptive_avg_pool3d(powers, POOLED_EDGE).pow(1 / self.power)
        return pooled.to(features.dtype)


class _ResidualBlock(nn.Module):
    """Two convolutions that keep size and channels, added to what went in."""

    def __init__(self, channels: int, normalisation: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.norm = normalisation
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        change = functional.leaky_relu(self.norm(self.conv1(features)))
        change = self.norm(self.conv2(change))
        return functional.leaky_relu(features + change)


def _double_convolution(inputs: int, outputs: int, normalisation: nn.Module) -> nn.Sequential:
    """Two convolutions without padding, each followed by the normalisation."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3),
        normalisation,
        nn.LeakyReLU(inplace=True),
        nn.Conv3d(outputs, outputs, 3),
        normalisation,
        nn.LeakyReLU(inplace=True),
    )
