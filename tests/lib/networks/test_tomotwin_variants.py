"""SiameseNet and ResNet against TomoTwin, in the variants that the shared fixtures leave out.

TomoTwin's own classes computed ``tomotwin_variants.json``, from the weights and windows made here. Neither is
stored: both come from NumPy's ``RandomState``, whose numbers stay the same in every version.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tomotwin_lib.networks.resnet import ResNet
from tomotwin_lib.networks.siamese import SiameseNet

CLASSES = {"SiameseNet": SiameseNet, "ResNet": ResNet}

#: What the weights are cut from. Their count is prime: no two rows of a layer begin at the same one.
NUMBERS = np.random.RandomState(5).uniform(-1, 1, 1_000_003).astype(np.float32)

EXPECTED = json.loads(Path(__file__).with_name("tomotwin_variants.json").read_text())


def digest(network: torch.nn.Module) -> dict[str, Any]:
    """Names and shapes of a network's state, in their order, and how many of the tensors are parameters.

    Fewer parameters than names with weights tell that layers share them; optimiser states count them so.
    """
    state = network.state_dict()
    lines = "\n".join(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items())
    return {
        "sha256": hashlib.sha256(lines.encode()).hexdigest(),
        "entries": len(state),
        "parameters": len(list(network.parameters())),
    }


def fill(network: torch.nn.Module) -> None:
    """Set every weight and running statistic by its name; what layers share, by the first of its names."""
    for name, tensor in itertools.chain(network.named_parameters(), network.named_buffers()):
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") % NUMBERS.size
        values = np.resize(np.concatenate([NUMBERS[start:], NUMBERS[:start]]), tuple(tensor.shape))
        if name.endswith("num_batches_tracked"):
            values = np.full_like(values, 7)
        elif name.endswith("running_var"):
            values = 1 + values / 2
        elif tensor.ndim > 1:
            values *= (6 / np.prod(tensor.shape[1:])) ** 0.5  # the variance is 2 / fan-in
        elif name.endswith("weight"):
            values = 1 + values / 4
        else:
            values *= 0.2
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(values))


def make_windows(shape: Sequence[int]) -> torch.Tensor:
    """Two windows (channel, d, h, w), of opposite contrast, that differ along each axis: waves under noise.

    SiameseNet's generalised mean has something to average only in windows larger than its own 37.
    """
    z, y, x = np.ogrid[tuple(slice(edge) for edge in shape[1:])]
    waves = np.stack([np.sin(0.9 * z + 0.5 * y + 0.2 * x), -2 - np.cos(0.2 * z) - np.sin(0.3 * y * x)])
    noise = np.random.RandomState(11).uniform(-1, 1, (2, *shape))
    return torch.from_numpy((waves[:, None] + noise).astype(np.float32))


@pytest.mark.parametrize("name", EXPECTED["variants"])
def test_variants_have_the_names_shapes_and_embeddings_of_tomotwin(name: str) -> None:
    expected = EXPECTED["variants"][name]
    with torch.device("meta"):  # no time for weights that are overwritten
        network = CLASSES[expected["identifier"]](**expected["network_config"]).eval()
    assert digest(network) == expected["state"]

    network.to_empty(device="cpu")
    fill(network)
    with torch.inference_mode():
        vectors = network(make_windows(expected["windows"])).numpy()
    np.testing.assert_allclose(vectors, expected["embedding"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("depth", [10, 18, 34, 50, 101, 152, 200])
@pytest.mark.parametrize("shortcut_type", ["A", "B"])
@pytest.mark.parametrize("norm_name", ["GroupNorm", "BatchNorm"])
def test_full_width_resnets_have_the_names_and_shapes_of_tomotwin(
    depth: int, shortcut_type: str, norm_name: str
) -> None:
    norm_kwargs = {"num_groups": 32} if norm_name == "GroupNorm" else {}
    with torch.device("meta"):
        network = ResNet(depth, norm_name, norm_kwargs, shortcut_type=shortcut_type)  # type: ignore[arg-type]
    assert digest(network) == EXPECTED["full_width_resnets"][f"{depth} {shortcut_type} {norm_name}"]
