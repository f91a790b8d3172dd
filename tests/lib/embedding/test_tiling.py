"""Tiles: that they cover, that they fit, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tomotwin_lib.embedding import tiling
from tomotwin_lib.embedding.dense import dense_units, embed_densely
from tomotwin_lib.embedding.preparation import Statistics
from tomotwin_lib.embedding.tiling import Tiling, choose_tiling, network_cost, tile_budget, tile_memory
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.networks.fully_convolutional import FullyConvolutional
from tomotwin_lib.products import Grid

# Edges of the maps of FullyConvolutional for one site, and the channels of its layers in widths.
EDGES = (17, 15, 13, 11, 9, 7, 5, 3, 1)
CHANNELS = (1, 1, 2, 2, 3, 4, 4, 6, 8)


@pytest.fixture(scope="module")
def network() -> FullyConvolutional:
    torch.manual_seed(0)
    return FullyConvolutional(width=4, output_channels=8).requires_grad_(False).eval()


@pytest.mark.parametrize("counts", [(7, 8, 9), (1, 20, 3)])
@pytest.mark.parametrize("edges", [(3, 8, 4), (1, 5, 2), (7, 8, 9)])
def test_tiles_give_every_site_once_and_compute_boxes_of_one_shape(
    counts: tuple[int, int, int], edges: tuple[int, int, int]
) -> None:
    z, y, x = (min(edge, count) for edge, count in zip(edges, counts, strict=True))
    first = (2, 0, 5)
    times = np.zeros([low + count for low, count in zip(first, counts, strict=True)], dtype=int)
    for tile in Tiling(first, counts, (z, y, x)).tiles():
        times[tile.sites] += 1
        for part, whole, low, count, edge in zip(
            tile.sites, tile.computed, first, counts, (z, y, x), strict=True
        ):
            assert low <= whole.start <= part.start and part.stop <= whole.stop <= low + count
            assert whole.stop - whole.start == edge
    inside = times[first[0] :, first[1] :, first[2] :]
    assert (inside == 1).all() and times.sum() == inside.sum()


@pytest.mark.parametrize("sites", [1, 5])
def test_operations_are_those_of_the_layers(network: FullyConvolutional, sites: int) -> None:
    edges = [edge + sites - 1 for edge in EDGES]
    incoming = (1, *(4 * multiple for multiple in CHANNELS[1:]))
    kernels = (5, *[3] * 8)
    expected = sum(
        kernel**3 * before * 4 * after * edge**3
        for kernel, before, after, edge in zip(
            kernels,
            (incoming[0], *(4 * c for c in (1, *CHANNELS[1:-1]))),
            (1, *CHANNELS[1:]),
            edges,
            strict=True,
        )
    )
    expected += (32 * 32 + 32 * 8) * sites**3
    cost = network_cost(network)
    convolutions = [layer for layer in cost.layers if layer.outgoing]
    assert sum(layer.operations([sites] * 3) for layer in convolutions) == expected


def test_memory_holds_the_largest_pair_of_maps(network: FullyConvolutional) -> None:
    def pair(sites: int) -> int:  # the last layer's: 24 channels to 32
        return 4 * (24 * (sites + 2) ** 3 + 32 * sites**3)

    assert pair(64) < tile_memory(network, (64, 64, 64)) < 3 * pair(64) + 2**28
    half = tile_memory(network, (64, 64, 64), torch.float16)
    assert half < tile_memory(network, (64, 64, 64)) - pair(64) // 3


@pytest.mark.parametrize("budget", [2**28, 2**29, 2**30])
def test_the_choice_fits_and_wastes_little_of_what_fits(network: FullyConvolutional, budget: int) -> None:
    cost, counts = network_cost(network), (100, 250, 300)
    chosen = choose_tiling(cost, counts, (1, 1, 1), budget)
    assert cost.memory(chosen.edges) <= budget

    def total(edges: tuple[int, int, int]) -> float:
        return len(list(Tiling((0, 0, 0), counts, edges).tiles())) * float(cost.operations(edges))

    for edges in [(20, 50, 50), (50, 50, 50), (100, 50, 50), (50, 125, 100), (100, 250, 300)]:
        if cost.memory(edges) <= budget:
            assert total(chosen.edges) <= 1.03 * total(edges)


def test_no_budget_gives_small_tiles_and_plenty_no_larger_ones_than_pay(network: FullyConvolutional) -> None:
    cost, counts = network_cost(network), (200, 200, 200)
    small, large = (choose_tiling(cost, counts, (1, 1, 1), budget).edges for budget in (0, 2**60))
    assert max(small) <= 16
    assert max(small) < max(large) and np.prod(large) < 200**3


def test_sites_between_are_counted(network: FullyConvolutional) -> None:
    cost = network_cost(network)
    budget = int(cost.memory((30, 30, 30)))
    edges = choose_tiling(cost, (60, 60, 60), (3, 3, 3), budget).edges
    assert cost.memory([(edge - 1) * 3 + 1 for edge in edges]) <= budget


def test_the_budget_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(tiling, "available_memory", lambda device: 4 * 2**30)
    assert tile_budget(cpu) == 2 * 2**30
    assert tile_budget(cpu, reserved=2 * 2**30) == 2**30
    assert tile_budget(cpu, reserved=2 * 2**30, processes=2) == 2**29
    assert tile_budget(cpu, reserved=9 * 2**30) == tiling.LEAST
    monkeypatch.setattr(tiling, "available_memory", lambda device: 2**40)
    assert tile_budget(cpu) == tiling.MOST_ON_HOST


@pytest.mark.parametrize("stride", [2, 3])
def test_a_mask_leaves_out_tiles_and_keeps_its_sites(network: FullyConvolutional, stride: int) -> None:
    grid = Grid((0, 0, 0), (stride,) * 3, (30, 40, 40))
    wanted = np.zeros(grid.shape, dtype=bool)
    wanted[3:6, 30:36, 2:5] = wanted[3:6, 4:9, 2:5] = True
    sites = np.flatnonzero(wanted)
    units = dense_units(grid, sites, network, budget=2**28)
    assert sum(unit.count for unit in units) == len(sites)
    computed = sum(np.prod([span.stop - span.start for span in unit.tile.computed]) for unit in units)
    assert computed < grid.size / 20


def test_the_budget_changes_no_result(network: FullyConvolutional, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).normal(size=(24, 36, 40)).astype(np.float32)
    grid = Grid((0, 0, 0), (2, 2, 2), (12, 18, 20))
    shapes, vectors = [], []
    for budget in (2**40, 0):
        monkeypatch.setattr("tomotwin_lib.embedding.dense.tile_budget", lambda *_, budget=budget: budget)
        shapes.append(dense_units(grid, None, network, budget)[0].tile)
        vectors.append(
            embed_densely(
                network,
                data,
                grid,
                statistics=Statistics(0.0, 1.0),
                padding=True,
                device=torch.device("cpu"),
                progress=False,
            )
        )
    assert shapes[0] != shapes[1]
    np.testing.assert_allclose(*vectors, atol=2e-6)


def test_a_network_of_unknown_layers_has_a_cost_too() -> None:
    class Unknown(DenseNetwork):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3, 1, 37, 37, 37))

        def forward_dense(self, volume: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.conv3d(volume, self.weight, stride=2)

    cost = network_cost(Unknown())
    assert 0 < cost.memory((4, 4, 4)) < cost.memory((40, 40, 40))
    assert max(choose_tiling(cost, (99, 99, 99), (1, 1, 1), 2**30).edges) < 99
