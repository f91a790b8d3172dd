"""The fully convolutional network: its geometry, and that a volume equals its windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tomotwin_lib.embedding.dense import embed_densely
from tomotwin_lib.embedding.preparation import Statistics
from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.fully_convolutional import FullyConvolutional
from tomotwin_lib.products import Grid

WINDOW = 37


@pytest.fixture(
    scope="module",
    params=[(False, False), (True, False), (False, True), (True, True)],
    ids=["plain", "half_turns", "second_stride", "both"],
)
def network(request: pytest.FixtureRequest) -> FullyConvolutional:
    """Random weights, and normalisations whose constants differ from those of a fresh network."""
    torch.manual_seed(1)
    half_turns, second_stride = request.param
    network = FullyConvolutional(
        width=4, output_channels=8, half_turns=half_turns, second_stride=second_stride
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return network.requires_grad_(False).eval()


def test_a_window_becomes_exactly_one_vector_of_unit_norm(network: FullyConvolutional) -> None:
    vectors = network(torch.randn(3, 1, WINDOW, WINDOW, WINDOW))
    assert vectors.shape == (3, 8)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_a_vector_depends_on_its_window_and_on_nothing_else(network: FullyConvolutional) -> None:
    volume = torch.randn(1, 1, WINDOW + 2, WINDOW + 2, WINDOW + 2, requires_grad=True)
    network.forward_dense(volume)[0, 0, 1, 0, 1].backward()  # its window begins at (2, 0, 2)
    assert volume.grad is not None
    reached = torch.nonzero(volume.grad[0, 0])
    assert reached.amin(dim=0).tolist() == [2, 0, 2]
    assert reached.amax(dim=0).tolist() == [WINDOW + 1, WINDOW - 1, WINDOW + 1]


@pytest.mark.parametrize("second_stride", [False, True])
def test_a_smaller_field_of_view_lies_in_the_middle_of_the_same_windows(second_stride: bool) -> None:
    torch.manual_seed(2)
    network = FullyConvolutional(
        width=4, output_channels=8, half_turns=True, field_of_view=29, second_stride=second_stride
    ).eval()
    volume = torch.randn(1, 1, WINDOW + 2, WINDOW + 2, WINDOW + 2, requires_grad=True)
    vectors = network.forward_dense(volume)
    assert vectors.shape == (1, 8, 2, 2, 2)
    torch.testing.assert_close(nn.functional.normalize(network.folded()(volume), dim=1), vectors)
    vectors[0, 0, 1, 0, 1].backward()  # its window begins at (2, 0, 2)
    assert volume.grad is not None
    reached = torch.nonzero(volume.grad[0, 0])
    assert reached.amin(dim=0).tolist() == [6, 4, 6]
    assert reached.amax(dim=0).tolist() == [6 + 28, 4 + 28, 6 + 28]


def test_with_a_second_stride_a_volume_has_what_its_windows_have() -> None:
    """Windows are strided twice, volumes once; both must see the same at every second voxel."""
    torch.manual_seed(3)
    network = FullyConvolutional(width=4, output_channels=8, second_stride=True).eval()
    volume = torch.randn(1, 1, WINDOW + 6, WINDOW + 2, WINDOW + 4)
    with torch.inference_mode():
        vectors = network.forward_dense(volume)
        assert vectors.shape == (1, 8, 4, 2, 3)
        for place in ((0, 0, 0), (1, 0, 2), (2, 1, 1), (3, 1, 0)):
            z, y, x = (2 * edge for edge in place)
            window = volume[:, :, z : z + WINDOW, y : y + WINDOW, x : x + WINDOW]
            torch.testing.assert_close(network(window)[0], vectors[0, :, *place])


def test_a_fresh_stem_is_smooth() -> None:
    torch.manual_seed(0)
    network = FullyConvolutional(width=32)
    weight = network.features[0].weight.detach()[:, 0]
    neighbours = torch.corrcoef(torch.stack([weight[:, :, :, :-1].flatten(), weight[:, :, :, 1:].flatten()]))[
        0, 1
    ]
    assert neighbours > 0.6  # 0 for independent weights
    assert float(weight.std()) == pytest.approx(3**-0.5 * 125**-0.5, rel=0.1)  # as PyTorch begins


def test_folding_changes_nothing(network: FullyConvolutional) -> None:
    volume = torch.randn(1, 1, 43, 39, 41)
    folded = nn.functional.normalize(network.folded()(volume), dim=1)
    torch.testing.assert_close(folded, network.forward_dense(volume), atol=1e-5, rtol=0)
    assert all(isinstance(module, nn.Conv3d | nn.LeakyReLU) for module in network.folded())


@pytest.mark.parametrize(
    ("stride", "tile"), [((2, 2, 2), 48), ((2, 2, 2), 3), ((4, 2, 6), 2), ((1, 3, 2), 5), ((5, 7, 3), 48)]
)
@pytest.mark.parametrize("padding", [True, False])
def test_dense_equals_window_by_window(
    network: FullyConvolutional,
    stride: tuple[int, int, int],
    tile: int,
    padding: bool,
) -> None:
    shape = (41, 38, 47)
    volume = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    half = WINDOW // 2
    usable = shape if padding else tuple(edge - WINDOW + 1 for edge in shape)
    counts = tuple(-(-edge // step) for edge, step in zip(usable, stride, strict=True))
    origin = (0, 0, 0) if padding else (half, half, half)
    grid = Grid(origin, stride, counts)  # type: ignore[arg-type]
    dense = embed_densely(
        network,
        -volume,  # dark, as tomograms are
        grid,
        statistics=Statistics(0.0, 1.0),
        padding=padding,
        device=torch.device("cpu"),
        progress=False,
        tile_sites=tile,
    )
    assert dense.shape == (grid.size, 8)

    chosen = np.random.default_rng(4).choice(grid.size, min(grid.size, 25), replace=False)
    padded = np.pad(volume, half, mode="reflect")
    windows = [
        padded[z : z + WINDOW, y : y + WINDOW, x : x + WINDOW]
        for z, y, x in grid.positions(chosen).astype(int)
    ]
    expected = network(torch.from_numpy(np.stack(windows))[:, None]).numpy()
    np.testing.assert_allclose(dense[chosen], expected, atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"width": 0},
        {"width": 2.5},
        {"width": 6, "half_turns": True},
        {"output_channels": -1},
        {"dropout": 1.0},
        {"half_turns": 1},
        {"field_of_view": 35},
        {"field_of_view": 36},
        {"field_of_view": 41},
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, float]) -> None:
    name = next(iter(arguments))
    with pytest.raises(InputError, match=name):
        FullyConvolutional(**arguments)  # type: ignore[arg-type]


def test_default_network_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(FullyConvolutional().state_dict(), path)
    assert path.stat().st_size < 20e6
