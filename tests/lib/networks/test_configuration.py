"""Configurations: what is accepted, and how what is wrong is named."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.configuration import SHIPPED, read_configuration
from tomotwin_lib.networks.registry import NETWORKS, build_network
from tomotwin_lib.networks.siamese import SiameseNet
from tomotwin_lib.training.settings import TrainSettings

GOOD: dict[str, Any] = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 4, "output_channels": 8},
    "train_config": {"loss": "SupConLoss", "learning_rate": 0.001, "batchsize": 8},
    "distance": "COSINE",
}


def write(folder: Path, configuration: Any) -> Path:
    path = folder / "network.json"
    path.write_text(json.dumps(configuration), encoding="utf-8")
    return path


def test_a_good_configuration_comes_back_as_it_stands(tmp_path: Path) -> None:
    assert read_configuration(write(tmp_path, GOOD)) == GOOD


def test_distance_is_cosine_where_none_is_given(tmp_path: Path) -> None:
    configuration = {key: value for key, value in GOOD.items() if key != "distance"}
    assert read_configuration(write(tmp_path, configuration))["distance"] == "COSINE"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"identifier": "Siamese"}, "'Siamese'"),
        ({"network_config": {"widht": 4}}, "widht"),
        ({"train_config": {"los": "TripletLoss"}}, "los"),
        ({"train_config": {"loss": "Triplet"}}, "'Triplet'"),
        ({"train_config": {"batchsize": 0}}, "batchsize"),
        ({"train_config": {"miner": "Miner"}}, "'Miner'"),
        ({"train_config": {"off_centre_distance": [9, 3]}}, "off_centre_distance"),
        ({"train_config": {"aug_dropout": 0.2}}, "aug_dropout"),
        ({"train_config": {"scaled_classes": [0.8, 1]}}, "scaled_classes"),
        ({"train_config": {"scaled_classes": 1.25}}, "scaled_classes"),
        ({"distance": "cosine"}, "'cosine'"),
        ({"learning_rate": 1}, "learning_rate"),
    ],
)
def test_a_wrong_entry_is_refused_by_file_and_name(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    path = write(tmp_path, {**GOOD, **change})
    with pytest.raises(InputError, match=named) as caught:
        read_configuration(path)
    assert str(path) in str(caught.value)


def test_broken_and_missing_files_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    for path in (broken, tmp_path / "absent.json", write(tmp_path, [1])):
        with pytest.raises(InputError, match=path.name):
            read_configuration(path)


def test_building_does_not_change_the_configuration() -> None:
    configuration = deepcopy(GOOD)
    build_network(configuration)
    assert configuration == GOOD


@pytest.mark.parametrize("identifier", ["siamesenet", "SIAMESENET"])
def test_capitals_and_keys_left_out_are_as_in_tomotwin(identifier: str) -> None:
    norm = {"norm_name": "GroupNorm", "norm_kwargs": {"num_groups": 64}}
    with torch.device("meta"):
        network = build_network({"identifier": identifier, "network_config": norm})
    assert isinstance(network, SiameseNet)
    assert list(network.state_dict().values())[-1].shape == (128,)  # the last layer's bias
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.5]
    assert TrainSettings.from_configuration({"train_config": {}}, "test").optimizer == "Adam"


def test_a_required_argument_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Demanding(NETWORKS["FullyConvolutional"]):  # type: ignore[misc]
        def __init__(self, depth: int) -> None:
            super().__init__()

    monkeypatch.setitem(NETWORKS, "Demanding", Demanding)
    with pytest.raises(InputError, match="lacks depth"):
        build_network({"identifier": "Demanding", "network_config": {}})


def test_old_configurations_say_only_that_there_is_a_miner() -> None:
    def miner(value: Any) -> str | None:
        return TrainSettings.from_configuration({"train_config": {"miner": value}}, "test").miner_name

    assert miner(True) == "TripletMarginMiner"
    assert miner(False) is None
    assert miner("MultiSimilarityMiner") == "MultiSimilarityMiner"


@pytest.mark.parametrize("name", ["config_siamese.json", "config_resnet.json"])
def test_tomotwins_own_configurations_are_read(shared: Path, name: str) -> None:
    configuration = read_configuration(shared / "reference" / name)
    assert configuration["distance"] == "COSINE"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_shipped_configurations_are_found_by_name_unless_a_file_has_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_configuration(path.stem) == json.loads(path.read_text(encoding="utf-8"))
    (tmp_path / path.stem).write_text(json.dumps(GOOD), encoding="utf-8")
    assert read_configuration(path.stem) == GOOD
