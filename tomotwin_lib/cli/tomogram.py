"""The tomogram that a map or picks came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tomotwin_lib.formats.volumes import Volume


def tomogram_name(attributes: Mapping[Any, Any]) -> str:
    """File name of the tomogram that a product's attributes name, ``tomogram.mrc`` where they name none."""
    return str(attributes.get("filepath", "tomogram.mrc")).replace("\\", "/").rsplit("/", 1)[-1]


def find_tomogram(attributes: Mapping[Any, Any], given: str | Path | None = None) -> Volume | None:
    """The tomogram that was ``given``, or the one a product's attributes name if it is still there.

    Raises
    ------
    InputError
        If the one that was given cannot be read. One that only the attributes name is optional.
    """
    from tomotwin_lib.errors import InputError
    from tomotwin_lib.formats.volumes import read_volume

    if given is not None:
        return read_volume(given)
    named = attributes.get("filepath")
    if not named or not Path(str(named)).is_file():
        return None
    try:
        return read_volume(str(named))
    except InputError:
        return None
