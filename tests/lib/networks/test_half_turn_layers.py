"""Layers that share kernels among half turns: what they do to a turned volume, what training keeps equal."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tomotwin_lib.networks.fully_convolutional import FullyConvolutional
from tomotwin_lib.networks.half_turn_layers import (
    HALF_TURNS,
    TURNS,
    HalfTurnConv3d,
    HalfTurnMean,
    HalfTurnNorm,
)
from tomotwin_lib.networks.one_channel import OneChannelConv3d


def turned(volumes: torch.Tensor, turn: int) -> torch.Tensor:
    return volumes.flip([2 + axis for axis in HALF_TURNS[turn]])


def turned_fields(maps: torch.Tensor, turn: int) -> torch.Tensor:
    """What fields become when what they show is turned: (b, 4 · fields, d, h, w)."""
    fields = turned(maps, turn).unflatten(1, (-1, TURNS))
    return fields[:, :, [turn ^ other for other in range(TURNS)]].flatten(1, 2)


def test_half_turns_multiply_as_their_numbers_do_by_exclusive_or() -> None:
    volume = torch.randn(1, 1, 3, 4, 5)
    for first in range(TURNS):
        for second in range(TURNS):
            assert torch.equal(turned(turned(volume, first), second), turned(volume, first ^ second))


@pytest.mark.parametrize("turn", range(TURNS))
@torch.no_grad()
def test_turning_the_input_turns_the_output(turn: int) -> None:
    torch.manual_seed(2)
    lifting = HalfTurnConv3d(2, 3, kernel=5, stride=2, lifts=True)
    between = HalfTurnConv3d(3, 4, kernel=3)
    volumes = torch.randn(2, 2, 13, 17, 15)
    fields = lifting(volumes)
    torch.testing.assert_close(lifting(turned(volumes, turn)), turned_fields(fields, turn))
    torch.testing.assert_close(
        between(turned_fields(fields, turn)), turned_fields(between(fields), turn), atol=1e-5, rtol=1e-5
    )
    mean = HalfTurnMean(4, 6)
    maps = torch.randn(2, 16, 3, 5, 7)
    torch.testing.assert_close(mean(turned_fields(maps, turn)), turned(mean(maps), turn))


@torch.no_grad()
def test_a_particle_and_its_half_turns_have_one_embedding_and_a_quarter_turn_another() -> None:
    torch.manual_seed(3)
    network = FullyConvolutional(width=8, output_channels=8, half_turns=True)
    windows = torch.randn(6, 1, 37, 37, 37)
    for module in network.modules():
        if isinstance(module, HalfTurnNorm):
            module.momentum = 1.0
    network.train()(windows)  # so that every layer passes on what differs, not what is common
    embeddings = network.eval()(windows)
    for turn in range(TURNS):
        torch.testing.assert_close(network(turned(windows, turn)), embeddings, atol=1e-5, rtol=0)
    quarter = network(windows.transpose(2, 3).flip(2))
    assert (quarter - embeddings).abs().max() > 0.01


def test_training_keeps_invariance() -> None:
    torch.manual_seed(4)
    network = FullyConvolutional(width=4, output_channels=4, half_turns=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    windows = torch.randn(4, 1, 37, 37, 37)
    before = network.features[0].weight.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        network.train()(windows)[:, 0].sum().backward()
        optimizer.step()
    assert not torch.equal(network.features[0].weight, before)
    with torch.no_grad():
        embeddings = network.eval()(windows)
        torch.testing.assert_close(network(turned(windows, 3)), embeddings, atol=1e-5, rtol=0)


def test_normalisation_learns_the_mean_over_a_field() -> None:
    norm = HalfTurnNorm(2)
    maps = torch.randn(5, 2 * TURNS, 3, 3, 3) * 2 + torch.arange(8.0)[:, None, None, None]
    out = norm.train()(maps)
    torch.testing.assert_close(out.mean(dim=(0, 2, 3, 4)), torch.zeros(8), atol=1e-5, rtol=0)
    # PyTorch's momentum of 0.1 takes a tenth of the batch's mean, from zero.
    means = maps.mean(dim=(0, 2, 3, 4)).view(2, TURNS).mean(dim=1)
    torch.testing.assert_close(norm.running_mean, 0.1 * means, atol=1e-5, rtol=1e-5)
    norm.eval()
    torch.testing.assert_close(norm.plain()(maps), norm(maps))


def test_a_quarter_of_the_weights() -> None:
    def weights(network: nn.Module) -> int:
        return sum(module.weight.numel() for module in network.modules() if hasattr(module, "weight"))

    plain, shared = (FullyConvolutional(width=16, half_turns=half_turns) for half_turns in (False, True))
    assert weights(shared) == pytest.approx(weights(plain) / 4, rel=0.01)


def test_one_position_is_a_product_of_matrices() -> None:
    layer = HalfTurnConv3d(2, 3, kernel=3)
    maps = torch.randn(4, 8, 3, 3, 3).to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(layer(maps), functional.conv3d(maps, layer.turned_kernels()))


def test_the_first_layer_is_right_in_16_bits_too() -> None:
    torch.manual_seed(4)
    layer = HalfTurnConv3d(1, 2, kernel=5, stride=2, lifts=True)
    windows = torch.randn(2, 1, 13, 13, 13)
    exact = layer(windows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = layer(windows)
        low.square().sum().backward()
    assert low.dtype == torch.bfloat16 and layer.weight.grad is not None
    torch.testing.assert_close(low.float(), exact, atol=1e-2, rtol=1e-2)


def test_a_plain_first_layer_is_computed_in_float32_too() -> None:
    torch.manual_seed(5)
    layer = OneChannelConv3d(1, 4, 5, stride=2)
    windows = torch.randn(2, 1, 13, 13, 13)
    exact = functional.conv3d(windows, layer.weight, layer.bias, stride=2)
    torch.testing.assert_close(layer(windows), exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(layer(windows), exact.bfloat16())
