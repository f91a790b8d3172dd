"""Limits that were found on one tomogram, for the picks of another.

What ``tomotwin evaluate positions --optim`` reports was chosen on the very picks that it scores. Applied to
another tomogram the same limits give what can be expected where the truth is not known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tomotwin_lib.boxes import names_of_class
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.opening import open_to_read
from tomotwin_lib.picking import Thresholds

_KEYS = ("O_METRIC", "O_MIN_SIZE", "O_MAX_SIZE")
_REMEDY = "Give the evaluation_optim_dict.json that `tomotwin evaluate positions --optim` writes"


@dataclass(frozen=True)
class FoundLimits:
    """The limits for a reference.

    Attributes
    ----------
    thresholds : the limits.
    origin : whose they are, in words.
    """

    thresholds: Thresholds
    origin: str


def read_limits(path: str | Path) -> dict[str, Thresholds]:
    """Read the limits of an ``evaluation_optim_dict.json``, TomoTwin's or ours.

    Returns
    -------
    By the name that the file has: a reference's file name, or a class where somebody wrote that.

    Raises
    ------
    InputError
        If the file cannot be read, is no JSON, names nothing, or lacks a limit or holds one that is no number
        (sizes of 0 or more); it names the entry.
    """
    path = Path(path)
    with open_to_read(path) as stream:
        raw = stream.read()
    try:
        content = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"it is no JSON ({error})", _REMEDY) from error
    if not isinstance(content, dict) or not content:
        raise InputError(path, "it holds no references with limits", _REMEDY)
    return {name: _thresholds(path, name, entry) for name, entry in content.items()}


def _thresholds(path: Path, name: str, entry: Any) -> Thresholds:
    if not isinstance(entry, dict):
        raise InputError(path, f"{name!r} is {entry!r}, not scores with limits", _REMEDY)
    for key in _KEYS:
        if key not in entry:
            raise InputError(path, f"{name!r} has no {key}", _REMEDY)
        value = entry[key]
        # JSON's true is a number to Python, and its reader admits NaN, Infinity and any number of digits.
        number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**31
        if not number or (value < 0 and key != "O_METRIC"):
            kind = "a number" if key == "O_METRIC" else "a size of 0 or more, in voxels of the map"
            raise InputError(path, f"{key} of {name!r} is {value!r}", f"Write {kind} there")
    metric, smallest, largest = (entry[key] for key in _KEYS)
    # Sizes are whole, so strictly between 3.5 and 9.5 is strictly between 3 and 10.
    return Thresholds(float(metric), math.floor(smallest), math.ceil(largest))


def limits_of_references(
    references: Iterable[str], limits: Mapping[str, Thresholds], source: str | Path
) -> dict[str, FoundLimits]:
    """The limits for each reference: its own, else those of its class.

    A reference is known by its file name, whatever its capitals and ending. Where the limits do not name it,
    those of the references of its class (:func:`~tomotwin_lib.boxes.names_of_class`) are taken, and where
    these are several the median of each limit, in which no maximal size counts as the largest of all.

    Parameters
    ----------
    references : names of the references whose picks are to be limited.
    limits : what :func:`read_limits` returned.
    source : the file that they come from, for complaints.

    Raises
    ------
    InputError
        If there are none for a reference.
    """
    return {reference: _limits_of(reference, limits, source) for reference in references}


def _limits_of(reference: str, limits: Mapping[str, Thresholds], source: str | Path) -> FoundLimits:
    own = next((name for name in limits if _stem(name) == _stem(reference)), None)
    if own is not None:
        return FoundLimits(limits[own], f"{own}, the same reference")
    label = _class(reference)
    names = [name for name in limits if _class(name) == label]
    if not names:
        raise InputError(
            source,
            f"it has no limits for {reference}, nor for its class {label}; there are some for "
            f"{', '.join(limits)}",
            f"Give a file from a tomogram that was scored with {label}, or leave that reference out",
        )
    if len(names) == 1:
        return FoundLimits(limits[names[0]], f"{names[0]}, of the same class")
    found = [limits[name] for name in names]
    largest = median([limit.maximum_size or math.inf for limit in found])
    middle = Thresholds(
        median([limit.minimum_metric for limit in found]),
        math.floor(median([limit.minimum_size for limit in found])),
        0 if math.isinf(largest) else math.ceil(largest),
    )
    return FoundLimits(middle, f"the median of {', '.join(names)}, of the same class")


def _stem(name: str) -> str:
    return name.lower().rsplit(".", 1)[0]


def _class(name: str) -> str:
    return names_of_class(name)[-1]
