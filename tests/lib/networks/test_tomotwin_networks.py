"""SiameseNet and ResNet against TomoTwin: names, shapes and embeddings."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tomotwin_lib.networks.resnet import ResNet
from tomotwin_lib.networks.siamese import SiameseNet

CLASSES = {"SiameseNet": SiameseNet, "Resnet": ResNet}


@pytest.fixture(scope="module")
def fixtures(shared: Path) -> Path:
    return shared / "interop" / "networks"


@pytest.fixture(scope="module")
def boxes(fixtures: Path) -> torch.Tensor:
    return torch.from_numpy(np.load(fixtures / "boxes.npz")["boxes"])[:, None]


def build(config: dict) -> torch.nn.Module:
    return CLASSES[config["identifier"]](**config["network_config"]).eval()


@pytest.mark.parametrize("name", ["siamese_groupnorm", "resnet10_groupnorm"])
def test_embeddings_are_those_of_tomotwin(name: str, fixtures: Path, boxes: torch.Tensor) -> None:
    expected = json.loads((fixtures / "expected.json").read_text())[name]
    specification = importlib.util.spec_from_file_location("interop_weights", fixtures / "weights.py")
    assert specification is not None and specification.loader is not None
    weights = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(weights)

    network = build(expected["config"])
    state = network.state_dict()
    assert {key: list(tensor.shape) for key, tensor in state.items()} == expected["state_dict"]
    assert list(state) == list(expected["state_dict"])  # optimiser states go by this order

    network.load_state_dict(weights.deterministic_state_dict(state))
    with torch.inference_mode():
        vectors = network(boxes).numpy()
    np.testing.assert_allclose(vectors, expected["embedding"], atol=1e-4)


def test_checkpoint_of_data_parallel_training(fixtures: Path, boxes: torch.Tensor) -> None:
    checkpoint_module = pytest.importorskip("tomotwin_lib.networks.checkpoint")
    loaded = checkpoint_module.load_network(fixtures / "model_dataparallel.pth", "cpu")
    expected = json.loads((fixtures / "model_dataparallel.json").read_text())["embedding"]
    with torch.inference_mode():
        vectors = loaded.network(boxes).numpy()
    np.testing.assert_allclose(vectors, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["config_siamese.json", "config_resnet.json"])
def test_configurations_of_the_document_build_and_stay_as_they_are(name: str, shared: Path) -> None:
    config = json.loads((shared / "reference" / name).read_text())
    before = copy.deepcopy(config)
    with torch.device("meta"):  # shapes only: no memory for the weights
        build(config)
    assert config == before
