"""Which tomogram a product belongs to, told by shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume

Shape = tuple[int, int, int]


def possible_shapes(attributes: Mapping[Any, Any]) -> list[Shape]:
    """Shapes (z, y, x), in voxels, that the tomogram of a product may have, the likelier first.

    ``tomogram_input_shape`` is the shape *after* padding where the tomogram was padded, but not in every
    file. Empty where the attributes do not tell.
    """
    given = attributes.get("tomogram_input_shape")
    if given is None or len(given) != 3:
        return []
    z, y, x = (int(edge) for edge in given)
    if not attributes.get("padding", False):
        return [(z, y, x)]
    border = int(attributes.get("window_size", 37)) - 1
    return [(z - border, y - border, x - border), (z, y, x)]


def check_tomogram_of_picks(tomogram: Volume, picks: pd.DataFrame, remedy: str) -> None:
    """Check that a tomogram can be the one that was picked.

    Parameters
    ----------
    tomogram : the volume.
    picks : columns X, Y, Z, in voxels; attributes as in a ``.tloc``.
    remedy : what the user should do if it cannot.

    Raises
    ------
    InputError
        If its shape is not the one that the attributes tell, or a pick lies outside.
    """
    shape = tomogram.data.shape
    expected = possible_shapes(picks.attrs)
    if expected and shape not in expected:
        raise InputError(
            tomogram.path,
            f"it has {_text(shape)} voxels (z×y×x), and the tomogram that was picked had "
            f"{_text(expected[0])}",
            remedy,
        )
    positions = picks[["Z", "Y", "X"]].to_numpy()
    # A voxel reaches half its edge around its centre, which has the whole number.
    outside = ((positions < -0.5) | (positions >= [edge - 0.5 for edge in shape])).any(axis=1)
    if outside.any():
        z, y, x = positions[outside][0]
        raise InputError(
            tomogram.path,
            f"{outside.sum()} of {len(picks)} picks lie outside its {_text(shape)} voxels (z×y×x), the first "
            f"at z={z:g}, y={y:g}, x={x:g}",
            remedy,
        )


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(str(edge) for edge in shape)
