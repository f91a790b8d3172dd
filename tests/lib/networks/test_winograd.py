"""Convolutions by minimal filtering against the plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tomotwin_lib.networks import winograd
from tomotwin_lib.networks.winograd import WinogradConv3d, suits, with_winograd


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(1, 16, 3, 5, 4), (2, 16, 6, 3, 7), (3, 16, 9, 8, 5), (1, 16, 20, 6, 6), (2, 16, 21, 4, 9)]
)
def test_it_is_the_plain_convolution(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv3d(16, 24, 3, bias=bias).requires_grad_(False)
    maps = torch.randn(shape)
    expected = plain.double()(maps.double()).float()
    torch.testing.assert_close(WinogradConv3d(plain.float())(maps), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(2, 16, 5, 6, 9), (1, 16, 23, 7, 8)])
@pytest.mark.parametrize("dilation", [2, 3])
def test_a_dilated_one_too(shape: tuple[int, ...], dilation: int) -> None:
    torch.manual_seed(1)
    plain = nn.Conv3d(16, 24, 3, dilation=dilation).requires_grad_(False)
    maps = torch.randn(shape[:2] + tuple(edge + 2 * (dilation - 2) for edge in shape[2:]))
    layer = WinogradConv3d(plain)
    torch.testing.assert_close(layer(maps), plain(maps), atol=1e-5, rtol=0)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = WinogradConv3d(nn.Conv3d(16, 16, 3).requires_grad_(False))
    maps = torch.randn(3, 16, 19, 6, 5)
    expected = layer(maps)
    for size in (1, 6 * 6 * 5 * 16 * 4 * 2, 6 * 6 * 5 * 16 * 4 * 9):  # a group, two, two volumes
        monkeypatch.setattr(winograd, "_CHUNK_BYTES", size)
        torch.testing.assert_close(layer(maps), expected, atol=1e-6, rtol=0)


def test_a_constant_comes_out_with_its_bias() -> None:
    plain = nn.Conv3d(16, 16, 3).requires_grad_(False)
    maps = torch.zeros(1, 16, 9, 4, 4)
    torch.testing.assert_close(WinogradConv3d(plain)(maps), plain(maps), atol=1e-6, rtol=0)


def test_only_what_suits_is_exchanged() -> None:
    network = nn.Sequential(
        nn.Conv3d(1, 16, 5, stride=2),
        nn.Sequential(nn.Conv3d(16, 32, 3), nn.LeakyReLU()),
        nn.Conv3d(32, 32, 3, padding=1),
        nn.Conv3d(32, 32, 3, groups=2),
        nn.Conv3d(32, 8, 3),
        nn.Conv3d(8, 8, 1),
    )
    assert [suits(layer) for layer in network] == [False] * 6
    maps = torch.randn(1, 1, 19, 19, 19)
    expected = network(maps)
    exchanged = with_winograd(network.requires_grad_(False))
    assert [type(layer) for layer in exchanged.modules()].count(WinogradConv3d) == 1
    assert isinstance(exchanged[1][0], WinogradConv3d)  # type: ignore[index]
    torch.testing.assert_close(exchanged(maps), expected, atol=1e-5, rtol=0)
