"""Muon for kernels: what a step changes, in whatever order of memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tomotwin_lib.networks.half_turn_layers import HalfTurnConv3d
from tomotwin_lib.training.kernel_optimizer import KernelMuon


@pytest.mark.parametrize("kind", ["plain", "channels_last", "half_turns"])
def test_a_step_turns_every_direction_of_a_kernel_alike(kind: str) -> None:
    """Singular values of the gradient differ a thousandfold, the step's by little; it goes downhill."""
    torch.manual_seed(0)
    layer: nn.Module = HalfTurnConv3d(2, 6, 3) if kind == "half_turns" else nn.Conv3d(8, 6, 3, bias=False)
    if kind == "channels_last":
        layer = layer.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    kernel = layer.weight
    assert isinstance(kernel, nn.Parameter)
    before = kernel.detach().clone()
    optimizer = KernelMuon([kernel], 0.1, weight_decay=0.0)
    left, _, right = torch.linalg.svd(torch.randn(6, kernel[0].numel()), full_matrices=False)
    gradient = left @ torch.diag(torch.logspace(0, -3, 6)) @ right
    (kernel * gradient.view(kernel.shape)).sum().backward()
    optimizer.step()
    step = (kernel.detach() - before).reshape(6, -1)
    values = torch.linalg.svdvals(step)
    # Five iterations bring them near one, the smallest by less; AdamW's length is 0.2 √(longer edge).
    assert values[0] / values[3] < 2
    assert float(values[:4].mean()) == pytest.approx(0.1 * 0.2 * kernel[0].numel() ** 0.5, rel=0.3)
    assert float((step * gradient).sum()) < 0
    optimizer.zero_grad()
    assert kernel.grad is None
