"""A network widened from a narrower one computes the same, and its copies do not stay copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.checkpoint import load_weights, save_checkpoint
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.networks.widening import widened_weights
from tomotwin_lib.training.tomogram_training import network_to_train


def configuration(width: int, **network: Any) -> dict[str, Any]:
    network_config = {"width": width, "output_channels": 8, **network}
    return {"identifier": "FullyConvolutional", "network_config": network_config, "distance": "COSINE"}


def trained(width: int, **network: Any) -> torch.nn.Module:
    """Its normalisation has seen something, as in a network that was trained."""
    torch.manual_seed(0)
    narrow = build_network(configuration(width, **network))
    narrow.train()
    with torch.no_grad():
        narrow(3 * torch.randn(8, 1, 37, 37, 37) + 1)
    return narrow.eval()


@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize(
    "network", [{}, {"half_turns": True, "second_stride": True}], ids=["plain", "half turns"]
)
def test_it_computes_what_the_narrow_one_does(network: dict[str, Any], times: int) -> None:
    narrow = trained(4, **network)
    wide = build_network(configuration(4 * times, **network))
    load_weights(wide, widened_weights(narrow.state_dict(), wide), "narrow")
    windows = torch.randn(3, 1, 37, 37, 37)
    with torch.no_grad():
        assert torch.allclose(wide.eval()(windows), narrow.eval()(windows), atol=1e-5)
        # The statistics of three windows make rounding worse.
        assert torch.allclose(wide.train()(windows), narrow.train()(windows), atol=5e-4)


def test_the_copies_are_told_apart_by_the_first_gradient() -> None:
    narrow = trained(4, half_turns=True)
    wide = build_network(configuration(8, half_turns=True))
    load_weights(wide, widened_weights(narrow.state_dict(), wide), "narrow")
    vectors = wide.train()(torch.randn(4, 1, 37, 37, 37))
    (vectors[0] @ vectors[1]).backward()
    for layer in wide.features:
        if getattr(layer, "weight", None) is not None and layer.weight.dim() > 1:
            one, other = layer.weight.grad.chunk(2)
            assert not torch.allclose(one, other, rtol=0.05, atol=0)


def test_a_training_begins_with_a_narrower_network(tmp_path: Path) -> None:
    narrow = trained(4)
    path = tmp_path / "narrow.pth"
    save_checkpoint(path, narrow, configuration(4), epoch=0, loss=0, best_loss=0, best_f1=0)
    windows = torch.randn(2, 1, 37, 37, 37)
    wide = network_to_train(configuration(8), path).eval()
    with torch.no_grad():
        assert torch.allclose(wide(windows), narrow(windows), atol=1e-5)
    same = network_to_train(configuration(4), path)
    assert all(torch.equal(one, narrow.state_dict()[name]) for name, one in same.state_dict().items())


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (configuration(6), "network_config.width is 4, not 6"),
        (configuration(2), "network_config.width is 4, not 2"),
        (
            configuration(8, second_stride=True),
            "network_config.width is 4, not 8; network_config.second_stride is False, not True",
        ),
    ],
)
def test_what_cannot_be_widened_is_refused_with_what_differs(
    tmp_path: Path, other: dict[str, Any], told: str
) -> None:
    path = tmp_path / "narrow.pth"
    save_checkpoint(path, trained(4), configuration(4), epoch=0, loss=0, best_loss=0, best_f1=0)
    with pytest.raises(InputError) as caught:
        network_to_train(other, path)
    assert caught.value.source == str(path) and "whole multiple" in caught.value.remedy
    assert caught.value.problem == f"it is another network than the configuration's ({told})"


def test_another_kind_of_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "siamese.pth"
    siamese = {"identifier": "SiameseNet", "network_config": {"norm_name": "BatchNorm"}}
    save_checkpoint(path, build_network(siamese), siamese, epoch=0, loss=0, best_loss=0, best_f1=0)
    with pytest.raises(InputError, match="identifier is 'SiameseNet', not 'FullyConvolutional'"):
        network_to_train(configuration(4), path)


@pytest.mark.parametrize("width", [4, 6])
def test_weights_that_do_not_fit_their_own_configuration_are_called_damaged(
    tmp_path: Path, width: int
) -> None:
    path = tmp_path / "damaged.pth"
    network = trained(4)
    network.head[-1] = torch.nn.Identity()
    save_checkpoint(path, network, configuration(4), epoch=0, loss=0, best_loss=0, best_f1=0)
    with pytest.raises(InputError, match=r"damaged\.pth: the weights do not fit .* Use an intact checkpoint"):
        network_to_train(configuration(width), path)
