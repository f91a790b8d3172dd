"""The networks that a configuration can name. Adding one is a new file beside this one and a line here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.networks.ensemble import Ensemble
from tomotwin_lib.networks.fully_convolutional import FullyConvolutional
from tomotwin_lib.networks.resnet import ResNet
from tomotwin_lib.networks.siamese import SiameseNet

NETWORKS: dict[str, type[EmbeddingNetwork]] = {
    "FullyConvolutional": FullyConvolutional,
    "SiameseNet": SiameseNet,
    "Resnet": ResNet,
    "Ensemble": Ensemble,
}


def find_network(identifier: object) -> type[EmbeddingNetwork] | None:
    """The network of that name, in capitals or not: TomoTwin's own files write both ResNet and Resnet."""
    known = {name.casefold(): network_class for name, network_class in NETWORKS.items()}
    return known.get(str(identifier).casefold())


def build_network(
    configuration: Mapping[str, Any], source: str = "network configuration"
) -> EmbeddingNetwork:
    """Build the network that a configuration describes, with fresh weights.

    Parameters
    ----------
    configuration : holds ``identifier`` and ``network_config``; it is not modified.
    source : where it comes from, for the message of an error.

    Raises
    ------
    InputError
        If the identifier is unknown, or a key of ``network_config`` is no argument of the network's
        ``__init__``, a required one is missing, or the network refuses a value.
    """
    identifier = configuration.get("identifier")
    network_class = find_network(identifier)
    if network_class is None:
        raise InputError(
            source, f"unknown network {identifier!r}", f"Set identifier to one of {', '.join(NETWORKS)}"
        )
    arguments = dict(configuration.get("network_config") or {})
    _check_arguments(network_class, arguments, source)
    try:
        return network_class(**arguments)
    except InputError as error:
        raise InputError(source, f"{error.source}: {error.problem}", error.remedy) from error


def _check_arguments(
    network_class: type[EmbeddingNetwork], arguments: Mapping[str, Any], source: str
) -> None:
    parameters = inspect.signature(network_class).parameters
    unknown = [name for name in arguments if name not in parameters]
    if unknown:
        raise InputError(
            source,
            f"network_config has keys that {network_class.__name__} does not know: {', '.join(unknown)}",
            f"Its keys are {', '.join(parameters)}",
        )
    missing = [name for name, p in parameters.items() if p.default is p.empty and name not in arguments]
    if missing:
        raise InputError(source, f"network_config lacks {', '.join(missing)}", "Add the missing keys")
