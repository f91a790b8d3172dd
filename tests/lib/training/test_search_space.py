"""Configurations with open values: what they mean, and what is refused before anything is trained."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.configuration import check_configuration
from tomotwin_lib.training.search_space import SearchSpace, read_search_space

# With all keys that TomoTwin's file for its script has.
TOMOTWIN: dict[str, Any] = {
    "identifier": "SiameseNet",
    "network_config": {
        "output_channels": {"suggest_categorical": {"choices": [32, 64]}},
        "dropout": 0.2,
        "repeat_layers": 0,
        "norm_name": "GroupNorm",
        "norm_kwargs": {"num_groups": 64},
        "gem_pooling_p": 0,
    },
    "train_config": {
        "loss": "MultiSimilarityLoss",
        "miner": {"name": "MultiSimilarityMiner", "epsilon": {"suggest_float": {"low": 0.1, "high": 0.8}}},
        "learning_rate": {"suggest_float": {"low": 1e-06, "high": 1e-04, "log": True}},
        "optimizer": "Adam",
        "weight_decay": 0,
        "epoch": 100,
        "batchsize": {"suggest_int": {"low": 32, "high": 128}},
        "patience": 10,
        "aug_train_shift_distance": 2,
    },
    "optuna": {
        "target": "VAL_LOSS",
        "minmax": "minimize",
        "retry": True,
        "max_retry": 8,
        "prune": True,
        "n_warmup": 100,
        "heartbeat": 60,
        "RDB": True,
        "STORAGE": "sqlite:///study.db",
    },
}
SMALL: dict[str, Any] = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 2, "output_channels": {"suggest_int": {"low": 4, "high": 8}}},
    "train_config": {"aug_dropout": {"suggest_categorical": {"choices": [[0, 0.1], [0.05, 0.2]]}}},
    "optuna": {"target": "F1", "minmax": "maximize"},
}


class Fake:
    """A trial that takes the first choice or the upper end, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def _take(self, name: str, value: Any, **arguments: Any) -> Any:
        assert name not in self.asked
        self.asked[name] = arguments
        return value

    def suggest_float(self, name: str, **arguments: Any) -> float:
        return float(self._take(name, arguments["high"], **arguments))

    def suggest_int(self, name: str, **arguments: Any) -> int:
        return int(self._take(name, arguments["high"], **arguments))

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        assert all(isinstance(choice, str | int | float | bool | None) for choice in choices)
        return self._take(name, choices[-1], choices=choices)


def read(folder: Path, content: Any) -> SearchSpace:
    path = folder / "space.json"
    path.write_text(json.dumps(content))
    return read_search_space(path)


def changed(path: str, value: Any) -> dict[str, Any]:
    """SMALL with one value replaced, or taken out where ``value`` is ``...``."""
    content = deepcopy(SMALL)
    *where, last = path.split(".")
    inner = content
    for key in where:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return content


def test_tomotwins_file_is_understood_as_it_is(tmp_path: Path) -> None:
    space = read(tmp_path, TOMOTWIN)
    assert space.epochs == 100
    assert (space.study.target, space.study.prune, space.study.n_warmup) == ("VAL_LOSS", True, 100)
    trial = Fake()
    drawn = space.draw(trial)
    check_configuration(drawn, "drawn")
    assert trial.asked == {
        "network_config.output_channels": {"choices": [32, 64]},
        "train_config.miner.epsilon": {"low": 0.1, "high": 0.8},
        "train_config.learning_rate": {"low": 1e-06, "high": 1e-04, "log": True},
        "train_config.batchsize": {"low": 32, "high": 128},
    }
    assert drawn["network_config"] == {**TOMOTWIN["network_config"], "output_channels": 64}
    assert drawn["train_config"]["miner"] == {"name": "MultiSimilarityMiner", "epsilon": 0.8}
    assert drawn["distance"] == "COSINE" and "optuna" not in drawn


def test_lists_can_be_chosen_from(tmp_path: Path) -> None:
    assert read(tmp_path, SMALL).draw(Fake())["train_config"] == {"aug_dropout": [0.05, 0.2]}


def test_examples_show_every_choice_and_both_ends(tmp_path: Path) -> None:
    shown = {
        (example["network_config"]["output_channels"], *example["train_config"]["aug_dropout"])
        for _, example in read(tmp_path, SMALL).examples()
    }
    assert shown == {(4, 0, 0.1), (8, 0, 0.1), (4, 0.05, 0.2)}


RATE = "train_config.learning_rate"


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("optuna", ..., "no section optuna"),
        ("optuna.target", ..., "missing keys: target"),
        ("optuna.minmax", ..., "missing keys: minmax"),
        ("optuna.pruner", True, "pruner"),
        ("optuna.target", "LOSS", "optuna.target is 'LOSS'"),
        ("optuna.minmax", "minimize", "minmax is 'minimize' with the target F1.*maximize"),
        ("optuna.prune", "yes", "optuna.prune is 'yes'"),
        ("optuna.n_warmup", -1, "n_warmup is -1"),
        ("optuna.epochs", 0, "epochs is 0"),
        ("optuna.STORAGE", 5, "STORAGE is 5"),
        ("train_config.epochs", "many", "epochs is 'many'"),
        (RATE, {"suggest_normal": {"low": 1, "high": 2}}, "learning_rate.*suggest_normal"),
        (RATE, {"sugest_float": {"low": 1, "high": 2}}, "learning_rate"),
        (RATE, {"suggest_float": {"low": 1, "high": 2}, "log": True}, "suggest_float, log"),
        (RATE, {"suggest_float": [1, 2]}, r"learning_rate.*\[1, 2\]"),
        (RATE, {"suggest_float": {"low": 1}}, "missing arguments: high"),
        (RATE, {"suggest_float": {"low": 1, "high": 2, "base": 2}}, "base"),
        (RATE, {"suggest_float": {"low": 2, "high": 1}}, "low is 2 and high is 1"),
        (RATE, {"suggest_float": {"low": "1", "high": 2}}, "low of suggest_float is '1'"),
        (RATE, {"suggest_float": {"low": 0, "high": 1, "log": True}}, "low is 0 on a logarithmic"),
        (RATE, {"suggest_float": {"low": 1, "high": 2, "log": "yes"}}, "log is 'yes'"),
        (RATE, {"suggest_float": {"low": 1, "high": 2, "step": 0}}, "step is 0"),
        (RATE, {"suggest_float": {"low": 1, "high": 2, "step": 1, "log": True}}, "step is 1 with log"),
        (RATE, {"suggest_float": {"low": -1, "high": 1}}, "at its first: train_config.learning_rate is -1"),
        ("train_config.batchsize", {"suggest_int": {"low": 4.5, "high": 8}}, "low of suggest_int is 4.5"),
        ("train_config.batchsize", {"suggest_float": {"low": 4, "high": 8.5}}, "batchsize = 8.5: .* is 8.5"),
        ("train_config.loss", {"suggest_categorical": {"choices": []}}, r"choices is \[\]"),
        ("train_config.loss", {"suggest_categorical": {"choices": "SupConLoss"}}, "choices is 'SupCon"),
        ("train_config.loss", {"suggest_categorical": {"choices": ["SupConLoss"] * 2}}, "twice"),
        ("train_config.loss", {"suggest_categorical": {"choices": ["SupConLoss", "Loss"]}}, "'Loss'"),
        ("train_config.loss_kwargs", {"temprature": 1}, "temprature"),
        ("train_config.rate", {"suggest_float": {"low": 1, "high": 2}}, "unknown keys: rate"),
        ("network_config.width", {"suggest_int": {"low": 0, "high": 8}}, "width"),
        ("widht", 2, "unknown keys: widht"),
    ],
)
def test_what_cannot_be_searched_is_named(tmp_path: Path, path: str, value: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        read(tmp_path, changed(path, value))


def test_a_file_without_anything_open_or_without_sense_is_refused(tmp_path: Path) -> None:
    closed = {"identifier": "FullyConvolutional", "network_config": {}, "optuna": SMALL["optuna"]}
    with pytest.raises(InputError, match="leaves nothing open"):
        read(tmp_path, closed)
    with pytest.raises(InputError, match="no JSON object"):
        read(tmp_path, [closed])
    (tmp_path / "space.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        read_search_space(tmp_path / "space.json")
    with pytest.raises(InputError, match=r"absent\.json"):
        read_search_space(tmp_path / "absent.json")
