"""A user's picks of one tomogram, checked before they are trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import KDTree

from tomotwin_lib.boxes import box_size_of
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume

_COLUMNS = ["class", "X", "Y", "Z"]
_SAME = 1.0


@dataclass(frozen=True)
class OwnPicks:
    """Picks of some classes of particle.

    Attributes
    ----------
    table : columns class (lower case), X, Y, Z, in voxels of the tomogram.
    names : the classes, sorted.
    labels : (pick,) number of each one's class, an index into ``names``.
    centres : (pick, 3) z y x.
    radii : (pick,) half of the box of each one's class, in voxels.
    source : what they came from, for messages.
    """

    table: pd.DataFrame
    names: list[str]
    labels: npt.NDArray[np.int64]
    centres: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]
    source: str

    def __len__(self) -> int:
        return len(self.table)


def check_picks(
    picks: pd.DataFrame, volume: Volume, box_sizes: int | Mapping[str, int], source: str = "--picks"
) -> OwnPicks:
    """Check picks against the tomogram that they are of.

    Parameters
    ----------
    picks : columns class, X, Y, Z, in voxels of the tomogram; in a column ``file``, if there is one, the file
        that each was read from, for messages.
    volume : the tomogram.
    box_sizes : edge of each class's box in voxels: one for all, or by class.
    source : what the picks came from, for messages, where no column tells.

    Raises
    ------
    InputError
        If a column is missing, a coordinate is no number or lies outside, two picks of a class are less than
        a voxel apart (one of them would be compared with itself), or a class has no box size.
    """
    if missing := [name for name in _COLUMNS if name not in picks]:
        raise InputError(source, f"there is no column {', '.join(missing)}", "Give class, X, Y and Z")
    if not len(picks):
        raise InputError(source, "there is no pick", "Give a handful of each class")
    files = np.array(picks["file"].astype(str) if "file" in picks else [source] * len(picks))
    table = picks[_COLUMNS].reset_index(drop=True)
    table["class"] = table["class"].astype(str).str.lower()
    centres = table[["Z", "Y", "X"]].to_numpy(np.float64)
    # What is not a number is not inside either.
    outside = ~((centres >= 0) & (centres <= np.array(volume.data.shape) - 1)).all(axis=1)
    if outside.any():
        first = np.flatnonzero(outside)[0]
        beside = files == files[first]
        raise InputError(
            files[first],
            f"{(outside & beside).sum()} of {beside.sum()} picks lie outside {volume.path.name}, such as "
            f"{_told(table, first)}",
            "Give X Y Z in voxels of this tomogram, counted from 0",
        )
    names = sorted(table["class"].unique())
    labels = table["class"].map({name: number for number, name in enumerate(names)}).to_numpy(np.int64)
    for one, other in KDTree(centres).query_pairs(_SAME):
        if labels[one] == labels[other]:
            raise InputError(
                files[one],
                f"two picks of {names[labels[one]]} are one: {_told(table, one)} and {_told(table, other)}",
                "Leave one of them out",
            )
    sizes = np.array([box_size_of(name, box_sizes) for name in names])
    return OwnPicks(table, names, labels, centres, sizes[labels] / 2, ", ".join(dict.fromkeys(files)))


def _told(table: pd.DataFrame, row: int) -> str:
    x, y, z = table[["X", "Y", "Z"]].to_numpy(np.float64)[row]
    return f"X {x:g}, Y {y:g}, Z {z:g}"
