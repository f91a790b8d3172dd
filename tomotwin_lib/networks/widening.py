"""Begin a wide network with what a narrower one has learnt."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

SPREAD = 0.5
"""Deviation of the parts that a kernel is divided into: without it the copies would stay copies."""


def widened_weights(narrow: Mapping[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """Weights with which a network computes exactly what one with fewer channels in between computes.

    Each channel is repeated, and the kernels from it are divided among its copies in random parts that add up
    to one (Net2WiderNet; Chen, Goodfellow & Shlens, ICLR 2016). The parts differ from kernel to kernel, so
    that the copies learn different things from the first step on; PyTorch's global generator draws them.

    Parameters
    ----------
    narrow : state of the other network, of the same class.
    network : has as many channels everywhere, or a multiple of them.

    Returns
    -------
    A state for ``network``; where both have the same shapes, what ``narrow`` holds. What has no counterpart,
    or cannot be repeated, is left as it is: loading the state will refuse it.
    """
    wide = network.state_dict()
    return {name: _widened(one, wide[name].shape) if name in wide else one for name, one in narrow.items()}


def _widened(narrow: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    same_order = narrow.dim() == len(shape) and narrow.shape[2:] == shape[2:]
    if not same_order or any(wide % own for wide, own in zip(shape, narrow.shape, strict=True)):
        return narrow
    copies = [wide // own for wide, own in zip(shape[:2], narrow.shape[:2], strict=True)]
    for dimension, count in enumerate(copies):
        narrow = torch.cat([narrow] * count, dim=dimension)
    if len(copies) < 2 or copies[1] == 1:
        return narrow
    parts = SPREAD * torch.randn(shape[0], copies[1], shape[1] // copies[1])
    parts += 1 / copies[1] - parts.mean(dim=1, keepdim=True)
    return narrow * parts.flatten(1).reshape(*shape[:2], *[1] * (len(shape) - 2)).to(narrow)
