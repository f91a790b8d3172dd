"""What is said to be invariant is."""

from __future__ import annotations

import pytest
import torch

from benchmarks.invariant_network import GainInvariant
from tomotwin_lib.networks.registry import build_network


@pytest.mark.parametrize("half_turns", [False, True])
def test_gain_and_offset_change_nothing_and_content_does(half_turns: bool) -> None:
    torch.manual_seed(0)
    configuration = {"identifier": "GainInvariant", "network_config": {"width": 4, "half_turns": half_turns}}
    network = build_network(configuration)
    assert isinstance(network, GainInvariant)
    windows = torch.randn(6, 1, 37, 37, 37)
    network.train()(windows)  # the running squares are no longer 1
    with torch.inference_mode():
        network.eval()
        vectors = network(windows)
        torch.testing.assert_close(network(3 * windows + 7), vectors, atol=1e-4, rtol=0)
        assert (network(windows.flip(0)) - vectors).abs().max() > 1e-2
