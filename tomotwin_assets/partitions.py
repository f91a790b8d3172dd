"""The two dimensions of the graph: networks and tomograms, both growing while the platform runs."""

from __future__ import annotations

import re

import dagster as dg

from tomotwin_lib.errors import InputError

MODEL = "model"
TOMOGRAM = "tomogram"

models = dg.DynamicPartitionsDefinition(name="models")
tomograms = dg.DynamicPartitionsDefinition(name="tomograms")
pairs = dg.MultiPartitionsDefinition({MODEL: models, TOMOGRAM: tomograms})

# A key becomes a file name and, in Dagster, a part of "model|tomogram": no slash, no bar, no leading dot.
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_LONGEST = 128


def check_key(key: str, source: str) -> str:
    """Return ``key`` if it can name a partition and its files.

    Dagster itself takes any string, ``..`` and ``x/y`` included.

    Raises
    ------
    InputError
        If it holds anything but letters, digits, ``.``, ``_`` and ``-``, starts with a dot or a dash, or is
        longer than 128 characters.
    """
    if not _KEY.fullmatch(key) or len(key) > _LONGEST:
        raise InputError(
            source,
            f"{key!r} cannot name a partition",
            f"Rename it: up to {_LONGEST} letters, digits, '.', '_' and '-', a letter or digit first",
        )
    return key


def split_key(key: str) -> tuple[str, ...]:
    """The parts of a partition key in the order of the folders: (model, tomogram), or the one there is."""
    if isinstance(key, dg.MultiPartitionKey):
        return key.keys_by_dimension[MODEL], key.keys_by_dimension[TOMOGRAM]
    return (key,)


def pair_key(model: str, tomogram: str) -> dg.MultiPartitionKey:
    """The partition of one network on one tomogram."""
    return dg.MultiPartitionKey({MODEL: model, TOMOGRAM: tomogram})
