"""ResNet: its depths, shortcuts and widths."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.resnet import ResNet

GROUPS = {"norm_name": "GroupNorm", "norm_kwargs": {"num_groups": 4, "num_channels": 1}}


def build(**arguments: object) -> ResNet:
    return ResNet(**{"model_depth": 10, **GROUPS, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", [10, 18, 34, 50, 101, 152, 200])
def test_depth_counts_the_layers_with_weights(depth: int) -> None:
    with torch.device("meta"):
        network = build(model_depth=depth)
    weighted = [m for m in network.modules() if isinstance(m, nn.Conv3d | nn.Linear)]
    shortcuts = [
        name for name, m in network.named_modules() if "downsample" in name and isinstance(m, nn.Conv3d)
    ]
    assert len(weighted) - len(shortcuts) == depth


@pytest.mark.parametrize("depth", [10, 50])
@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("norm", [GROUPS, {"norm_name": "BatchNorm", "norm_kwargs": {"eps": 1e-4}}])
def test_embeddings_have_unit_norm(depth: int, shortcut: str, norm: dict) -> None:
    torch.manual_seed(0)
    network = build(model_depth=depth, shortcut_type=shortcut, widen_factor=0.0625, out_head=6, **norm).eval()
    with torch.inference_mode():
        vectors = network(torch.randn(2, 1, 37, 37, 37))
    assert vectors.shape == (2, 6)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))


def test_shortcut_without_weights_samples_and_fills_with_zeros() -> None:
    network = build(shortcut_type="A", widen_factor=0.0625)
    assert not any("downsample" in name for name in network.state_dict())
    features = torch.randn(1, 4, 5, 5, 5)
    shortcut = network.get_submodule("layer2.0.downsample")(features)
    assert shortcut.shape == (1, 8, 3, 3, 3)
    torch.testing.assert_close(shortcut[:, :4], features[:, :, ::2, ::2, ::2])
    assert not shortcut[:, 4:].any()


def test_blocks_that_keep_their_size_add_their_input_as_it_is() -> None:
    with torch.device("meta"):
        network = build(model_depth=18)
    with_shortcut = {name.split(".downsample")[0] for name in network.state_dict() if ".downsample" in name}
    assert with_shortcut == {"layer2.0", "layer3.0", "layer4.0"}


def test_width_and_first_kernel() -> None:
    with torch.device("meta"):
        state = build(widen_factor=0.5, conv1_t_size=3, n_input_channels=2).state_dict()
    assert state["conv1.weight"].shape == (32, 2, 3, 7, 7)
    assert state["layer4.0.conv2.weight"].shape == (256, 256, 3, 3, 3)


def test_gradients_reach_every_weight() -> None:
    torch.manual_seed(0)
    network = build(widen_factor=0.0625, out_head=6)
    network(torch.randn(2, 1, 37, 37, 37))[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_arguments_are_left_as_they_are() -> None:
    arguments = copy.deepcopy(GROUPS)
    with torch.device("meta"):
        ResNet(model_depth=10, **arguments)  # type: ignore[arg-type]
    assert arguments == GROUPS


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"model_depth": 11}, "11"),
        ({"model_depth": [10]}, "10"),
        ({"shortcut_type": "C"}, "'C'"),
        ({"widen_factor": 0.001}, "0.001"),
        ({"norm_name": "InstanceNorm"}, "InstanceNorm"),
        ({"norm_kwargs": {"num_groups": 48}}, "48"),
        ({"conv1_t_size": 4}, "even"),
        ({"out_head": 0}, "out_head"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict, named: str) -> None:
    with torch.device("meta"), pytest.raises(InputError, match=named):
        build(**arguments)
