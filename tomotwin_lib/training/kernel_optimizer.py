"""Muon for the kernels of convolutions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import nn


class KernelMuon(torch.optim.Muon):
    """Muon over kernels of any number of dimensions, each taken as a matrix (outgoing channels, the rest).

    Every step changes all directions of a kernel's matrix alike (Jordan et al., 2024). Its length is that of
    AdamW at the same rate (Liu et al., 2025, "Muon is scalable for LLM training").

    Parameters
    ----------
    kernels : on their device and in their memory format already.
    rate : learning rate.
    weight_decay : a step, in units of the learning rate.
    """

    def __init__(self, kernels: Iterable[torch.Tensor], rate: float, weight_decay: float) -> None:
        self.kernels = list(kernels)
        # They share the kernels' memory, so that what changes one changes the other.
        matrices = [nn.Parameter(_matrix(kernel.detach())) for kernel in self.kernels]
        super().__init__(matrices, lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        for matrix, kernel in zip(matrices, self.kernels, strict=True):
            kernel.register_post_accumulate_grad_hook(partial(_hand_on, matrix))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of kernels and matrices."""
        super().zero_grad(set_to_none)
        for kernel in self.kernels:
            kernel.grad = None


def _hand_on(matrix: nn.Parameter, kernel: torch.Tensor) -> None:
    """Let a matrix have its kernel's gradient."""
    assert kernel.grad is not None
    matrix.grad = _matrix(kernel.grad)


def _matrix(kernel: torch.Tensor) -> torch.Tensor:
    """(outgoing, …) as (outgoing, all others), in the same memory.

    The order of columns does not matter, as long as a kernel and its gradient have the same: autograd lays
    out a gradient as its parameter lies.
    """
    if not kernel.is_contiguous() and kernel.dim() == 5:  # channels last
        kernel = kernel.movedim(1, -1)
    return kernel.view(len(kernel), -1)
