"""SiameseNet: what its arguments do."""

from __future__ import annotations

import copy

import pytest
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.siamese import GeneralisedMeanPool3d, SiameseNet

GROUPS = {"norm_name": "GroupNorm", "norm_kwargs": {"num_groups": 32, "num_channels": 7}}


def shapes(**arguments: object) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = SiameseNet(**{"output_channels": 8, **GROUPS, **arguments})  # type: ignore[arg-type]
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_embeds_the_ecosystems_window_with_unit_norm() -> None:
    torch.manual_seed(0)
    network = SiameseNet(output_channels=4, **GROUPS).eval()  # type: ignore[arg-type]
    with torch.inference_mode():
        vectors = network(torch.randn(2, 1, 37, 37, 37))
    assert vectors.shape == (2, 4)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))


def test_normalisation_follows_the_layers_and_leaves_the_arguments() -> None:
    arguments = copy.deepcopy(GROUPS)
    assert shapes(**arguments)["conv_layer4.1.weight"] == (1024,)
    assert arguments == GROUPS


def test_one_normalisation_serves_a_layer_and_its_residual_blocks() -> None:
    with torch.device("meta"):
        network = SiameseNet(norm_name="GroupNorm", norm_kwargs={"num_groups": 32}, repeat_layers=2)
    for index in range(5):
        blocks = network.get_submodule(f"rep_layers{index}")
        first, second = (network.get_submodule(f"conv_layer{index}.{place}") for place in (1, 4))
        assert first is second
        assert all(block.norm is first for block in blocks.children())


def test_groups_is_the_older_way_to_ask_for_group_normalisation() -> None:
    assert shapes(norm_name=None, norm_kwargs=None, groups=32) == shapes()


def test_batch_normalisation_has_running_statistics() -> None:
    assert shapes(norm_name="BatchNorm", norm_kwargs=None)["conv_layer0.4.running_var"] == (64,)


def test_each_layer_has_the_residual_blocks_that_were_asked_for() -> None:
    names = shapes(repeat_layers=2)
    assert names["rep_layers3.1.conv2.weight"] == (512, 512, 3, 3, 3)
    assert set(shapes()) < set(names)


def test_generalised_mean_is_the_average_at_power_one_and_the_maximum_at_large_powers() -> None:
    torch.manual_seed(1)
    features = torch.rand(1, 3, 4, 4, 4) + 0.5
    torch.testing.assert_close(GeneralisedMeanPool3d(1)(features), torch.nn.AdaptiveAvgPool3d(2)(features))
    torch.testing.assert_close(
        GeneralisedMeanPool3d(200)(features / 2),
        torch.nn.AdaptiveMaxPool3d(2)(features / 2),
        rtol=0.02,
        atol=0,
    )


def test_generalised_mean_by_hand() -> None:
    features = torch.tensor([1.0, 7.0] * 4).reshape(1, 1, 2, 2, 2).repeat_interleave(2, 2)
    # Along z, two voxels of one value; along y and x each voxel is a cell of its own.
    torch.testing.assert_close(GeneralisedMeanPool3d(2)(features), features[:, :, ::2])
    negative = GeneralisedMeanPool3d(3)(-features)
    torch.testing.assert_close(negative, torch.full_like(negative, 1e-6), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"norm_name": "LayerNorm"}, "LayerNorm"),
        ({"norm_name": None, "norm_kwargs": None}, "norm_name"),
        ({"norm_kwargs": {"num_groups": 7}}, "7"),
        ({"norm_kwargs": {"num_groups": 0}}, "0"),
        ({"norm_kwargs": {"groups": 8}}, "groups"),
        ({"norm_kwargs": 8}, "norm_kwargs"),
        ({"groups": 8}, "groups"),
        ({"dropout": 1.0}, "dropout"),
        ({"repeat_layers": -1}, "repeat_layers"),
        ({"gem_pooling_p": -2}, "gem_pooling_p"),
        ({"output_channels": 0}, "output_channels"),
        ({"output_channels": "32"}, "output_channels"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        shapes(**arguments)
