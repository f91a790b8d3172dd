"""The tomogram that a map or picks came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotwin_lib.cli.output import warn

if TYPE_CHECKING:
    from tomotwin_lib.formats.volumes import Volume


def tomogram_name(attributes: Mapping[Any, Any]) -> str:
    """File name of the tomogram that a product's attributes name, ``tomogram.mrc`` where they name none."""
    return str(attributes.get("filepath", "tomogram.mrc")).replace("\\", "/").rsplit("/", 1)[-1]


def say_if_named_otherwise(tomogram: Volume, attributes: Mapping[Any, Any]) -> None:
    """Say that picks go under another tomogram's name than the one they were made in.

    Shapes cannot tell two tomograms of one series apart, and files may be renamed or reconstructed again: it
    is for whoever gave the file to know.

    Parameters
    ----------
    tomogram : the one that was given, by whose name the picks are written.
    attributes : the picks', which name the one that was picked, or do not.
    """
    named = tomogram_name(attributes)
    if attributes.get("filepath") and named != tomogram.path.name:
        warn(
            f"these picks are of {named} and are written as of {tomogram.path.name}, the tomogram that was "
            "given; --tomogram-name gives them any other name"
        )


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
