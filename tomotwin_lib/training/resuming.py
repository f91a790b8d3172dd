"""What a checkpoint gives a run to go on from: one of this library's, or one that TomoTwin wrote."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.checkpoint import load_checkpoint
from tomotwin_lib.networks.registry import find_network
from tomotwin_lib.training.settings import TrainSettings


@dataclass(frozen=True)
class Resumption:
    """A checkpoint that a run can go on from.

    Attributes
    ----------
    path : the file.
    weights, optimizer : states of the network and of an optimizer over its parameters.
    epoch : the last one that is behind it.
    best_loss, best_f1 : the best so far.
    configuration : ``tomotwin_config``.
    state : what else this library keeps (``training_state``); ``None`` in a checkpoint of TomoTwin.
    """

    path: Path
    weights: Mapping[str, Any]
    optimizer: Any
    epoch: int
    best_loss: float
    best_f1: float
    configuration: Mapping[str, Any]
    state: Mapping[str, Any] | None

    @property
    def seed(self) -> int | None:
        """Of the run, where the checkpoint says it."""
        return None if self.state is None else int(self.state["seed"])


def read_resumption(
    path: str | Path, configuration: Mapping[str, Any], seed: int | None = None
) -> Resumption:
    """Read a checkpoint to go on from.

    Parameters
    ----------
    configuration : of the run that is to go on.
    seed : that the user gave, if any.

    Raises
    ------
    InputError
        If the file is no checkpoint of a training, or of one with another configuration or seed.
    """
    path = Path(path)
    checkpoint = load_checkpoint(path)
    if differing := differences(checkpoint["tomotwin_config"], configuration):
        raise InputError(
            path,
            f"it was trained with another configuration ({'; '.join(differing)})",
            "Resume with the configuration of that run",
        )
    if missing := [key for key in ("optimizer_state_dict", "epoch") if key not in checkpoint]:
        raise InputError(
            path,
            f"it holds no state to go on from (no {', '.join(missing)})",
            "Give the latest.pth of an interrupted run",
        )
    try:
        epoch = int(checkpoint["epoch"])
        best_loss, best_f1 = (
            float(checkpoint.get(key, worst))
            for key, worst in (("best_loss", math.inf), ("best_f1", -math.inf))
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            path, f"its epoch and best scores are no numbers ({error})", "Give an intact checkpoint"
        ) from error
    found = Resumption(
        path,
        checkpoint["model_state_dict"],
        checkpoint["optimizer_state_dict"],
        epoch,
        best_loss,
        best_f1,
        checkpoint["tomotwin_config"],
        checkpoint.get("training_state"),
    )
    if seed is not None and found.seed is not None and seed != found.seed:
        raise InputError(
            "--seed",
            f"it is {seed}, and {path} comes from a run with {found.seed}",
            "Leave it out to go on with the run's own",
        )
    return found


def differences(trained: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What two configurations train differently, one ``key is …, not …`` each.

    A key that is left out means its default, and whatever has no meaning is passed over: the window's size,
    which follows from the network, and the channels of a normalisation, which TomoTwin notes in its
    configuration when it builds the network.
    """
    before, after = _meaning(trained), _meaning(wanted)
    if before["identifier"] != after["identifier"]:  # nothing else can be compared then
        return [f"identifier is {before['identifier']!r}, not {after['identifier']!r}"]
    return [
        f"{key} is {before.get(key)!r}, not {after.get(key)!r}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]


def _meaning(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as flat keys with plain values, defaults filled in."""
    network_class = find_network(configuration.get("identifier"))
    arguments = dict(configuration.get("network_config") or {})
    if network_class is not None:
        parameters = inspect.signature(network_class).parameters.values()
        arguments = {p.name: p.default for p in parameters if p.default is not p.empty} | arguments
    if arguments.get("groups") is not None:  # how older configurations ask for a GroupNorm
        groups = arguments.pop("groups")
        arguments |= {"norm_name": "GroupNorm", "norm_kwargs": {"num_groups": groups}}
    arguments.pop("groups", None)
    if isinstance(arguments.get("norm_kwargs"), Mapping):
        arguments["norm_kwargs"] = {
            key: value
            for key, value in arguments["norm_kwargs"].items()
            if key not in ("num_channels", "num_features")
        }
    try:
        settings = asdict(TrainSettings.from_configuration(configuration, "checkpoint"))
    except InputError:  # what this library does not know cannot be what it is asked to train
        settings = dict(configuration.get("train_config") or {})
    meaning = {
        "identifier": network_class.__name__ if network_class else configuration.get("identifier"),
        "distance": configuration.get("distance", "COSINE"),
        **{f"network_config.{key}": value for key, value in arguments.items()},
        **{f"train_config.{key}": value for key, value in settings.items()},
    }
    # JSON's lists are tuples in a checkpoint.
    return {key: json.loads(json.dumps(value, default=str)) for key, value in meaning.items()}
