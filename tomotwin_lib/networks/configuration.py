"""The JSON file that names a network and says how to train it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tomotwin_lib.distances import DISTANCES
from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.training.settings import TrainSettings

SHIPPED = Path(__file__).parent / "configurations"
CheckTraining = Callable[[Mapping[str, Any], str], object]
"""Reads ``train_config`` of a configuration and refuses what cannot be used, naming the source."""

KEYS = ("identifier", "network_config", "train_config", "distance", "window_size")


def read_configuration(
    path: str | Path, check_training: CheckTraining = TrainSettings.from_configuration
) -> dict[str, Any]:
    """Read and check a configuration such as TomoTwin's ``config_siamese.json``.

    Parameters
    ----------
    path : a JSON file, or where there is none of that name, the name of one that ships with the library
        (``fully_convolutional``).
    check_training : for another kind of training than that on subvolumes, what its ``train_config`` may hold.

    Returns
    -------
    The content as it stands in the file, with ``distance`` added (COSINE) where the file has none.

    Raises
    ------
    InputError
        If the file is not there, is no JSON object, or fails :func:`check_configuration`.
    """
    path = Path(path)
    shipped = SHIPPED / f"{path}.json"
    if not path.exists() and shipped.is_file():
        path = shipped
    try:
        configuration = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.json")))
        raise InputError(
            path,
            f"the configuration cannot be read ({error.strerror})",
            f"Check the path, or give the name of one that ships: {names}",
        ) from error
    except ValueError as error:
        raise InputError(path, f"not valid JSON ({error})", "Correct the file") from error
    if not isinstance(configuration, dict):
        raise InputError(
            path, "the file holds no JSON object", "Start from one of the examples in the README"
        )
    configuration.setdefault("distance", "COSINE")
    check_configuration(configuration, str(path), check_training)
    return configuration


def check_configuration(
    configuration: Mapping[str, Any],
    source: str,
    check_training: CheckTraining = TrainSettings.from_configuration,
) -> None:
    """Check every key of a configuration, so that a misspelt one is found before any long work.

    Raises
    ------
    InputError
        If a key is unknown or missing, a value is out of range, or the network cannot be built.
    """
    unknown = [key for key in configuration if key not in KEYS]
    if unknown:
        raise InputError(source, f"unknown keys: {', '.join(unknown)}", f"The keys are {', '.join(KEYS)}")
    if configuration.get("distance", "COSINE") not in DISTANCES:
        raise InputError(
            source, f"unknown distance {configuration['distance']!r}", f"Choose one of {', '.join(DISTANCES)}"
        )
    check_training(configuration, source)
    # Only the arguments matter here: on the meta device no weight is allocated or drawn.
    with torch.device("meta"):
        build_network(configuration, source)
