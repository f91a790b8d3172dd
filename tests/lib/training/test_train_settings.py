"""``train_config``: what TomoTwin's configurations say, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.training.settings import TrainSettings


def settings(**given: Any) -> TrainSettings:
    return TrainSettings.from_configuration({"train_config": given}, "net.json")


def test_a_miner_can_be_an_object() -> None:
    given = settings(miner={"name": "MultiSimilarityMiner", "miner_margin": 0.3, "cutoff": None})
    assert given.miner_name == "MultiSimilarityMiner"
    assert given.miner_arguments == {"epsilon": 0.3}
    assert settings(miner=True).miner_arguments == {}


def test_whole_numbers_may_be_written_as_fractions() -> None:
    given = settings(batchsize=10.0, only_negative_labels=["1ABC"])
    assert given.batchsize == 10 and isinstance(given.batchsize, int)
    assert given.only_negative_labels == ("1ABC",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("only_negative_labels", "1abc"),
        ("only_negative_labels", [1]),
        ("only_negative_labels", None),
        ("miner", {}),
        ("miner", {"name": "NoMiner"}),
        ("miner", {"margin": 0.2}),
        ("miner", ["TripletMarginMiner"]),
        ("loss", ["TripletLoss"]),
        ("loss_kwargs", [1]),
        ("tl_margin", "0.5"),
        ("miner_margin", True),
        ("num_classes", "three"),
        ("batchsize", 10.5),
        ("samples_per_class", 1),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("patience", None),
    ],
)
def test_a_wrong_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"net\.json: train_config\.{name} is "):
        settings(**{name: value})


def test_a_wrong_argument_of_a_miner_is_named() -> None:
    with pytest.raises(InputError, match=r"miner\.cutoff is 'half'"):
        settings(miner={"name": "DistanceWeightedMiner", "cutoff": "half"})


def test_train_config_is_an_object() -> None:
    with pytest.raises(InputError, match="train_config is 'Adam'"):
        TrainSettings.from_configuration({"train_config": "Adam"}, "net.json")
