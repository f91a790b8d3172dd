"""The platform's own network: evaluated over a whole volume it gives what it gives window by window."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tomotwin_lib.networks.arguments import require_integer, require_number
from tomotwin_lib.networks.base import DenseNetwork

STEM_KERNEL = 5
# Channels of the eight layers behind the stem, in multiples of the width. They grow as the window's map
# shrinks (15³, 13³, … 1³), so that in training no layer costs much more than the others.
CHANNEL_MULTIPLES = (1, 2, 2, 3, 4, 4, 6, 8)
LEAKY_SLOPE = 0.1
# Deviation in voxels of the Gaussian that the stem's first filters are smoothed with.
STEM_SMOOTHNESS = 1.0


class FullyConvolutional(DenseNetwork):
    """Convolutions without padding that reduce a window of 37³ voxels to exactly one position.

    A kernel of 5 with stride 2 and eight kernels of 3 take 37 to 17, 15, 13, 11, 9, 7, 5, 3, 1; two
    kernels of 1 are the head. Nothing in it depends on where the window ends: no padding, and batch
    normalisation, whose statistics are constants once it is trained. Neighbouring windows therefore share
    their arithmetic, and a volume costs about 100 times less than its windows one by one.

    Parameters
    ----------
    width : channels of the stem; the others are multiples of it. Cost and weights grow with its square
        (16: 0.8 million weights, 24: 1.8, 32: 3.1).
    output_channels : length of the embedding.
    dropout : share of the last features that training leaves out, in [0, 1).

    Raises
    ------
    InputError
        If an argument is out of its range.
    """

    def __init__(self, width: int = 24, output_channels: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        width = require_integer("width", width, 1)
        output_channels = require_integer("output_channels", output_channels, 1)
        dropout = require_number("dropout", dropout, 0, below=1)

        channels = (width, *(multiple * width for multiple in CHANNEL_MULTIPLES))
        layers: list[nn.Module] = [*_layer(1, width, STEM_KERNEL, stride=self.total_stride)]
        for incoming, outgoing in pairwise(channels):
            layers += _layer(incoming, outgoing, kernel=3)
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            *_layer(channels[-1], channels[-1], kernel=1),
            nn.Dropout3d(dropout),
            nn.Conv3d(channels[-1], output_channels, kernel_size=1),
        )
        _smooth(self.features[0])

    def forward_dense(self, volume: torch.Tensor) -> torch.Tensor:
        return functional.normalize(self.head(self.features(volume)), dim=1)

    def folded(self) -> nn.Sequential:
        """The trained layers with each normalisation folded into its convolution, for inference.

        Returns
        -------
        A module from (b, 1, d, h, w) to (b, channel, …) *before* the division by the norm.
        """
        folded: list[nn.Module] = []
        for module in (*self.features.eval(), *self.head.eval()):
            if isinstance(module, nn.BatchNorm3d):
                convolution = folded.pop()
                assert isinstance(convolution, nn.Conv3d)
                folded.append(fuse_conv_bn_eval(convolution, module))
            elif not isinstance(module, nn.Dropout3d):
                folded.append(module)
        return nn.Sequential(*folded)


def _smooth(stem: nn.Module) -> None:
    """Begin with smooth filters: where noise is ten times stronger than signal, rough ones see noise only."""
    assert isinstance(stem, nn.Conv3d)
    distance = torch.arange(STEM_KERNEL) - STEM_KERNEL // 2
    window = torch.exp(-0.5 * (distance[:, None] - distance[None, :]) ** 2 / STEM_SMOOTHNESS**2)
    with torch.no_grad():
        smooth = torch.einsum("ocxyz,xi,yj,zk->ocijk", stem.weight, window, window, window)
        stem.weight.copy_(smooth * (stem.weight.std() / smooth.std()))


def _layer(incoming: int, outgoing: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv3d(incoming, outgoing, kernel, stride=stride, bias=False),
        nn.BatchNorm3d(outgoing),
        nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
    )
