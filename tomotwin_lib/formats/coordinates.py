"""Coordinates as plain text, ``.coords``, as boxmanager and TomoTwin have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path
from tomotwin_lib.formats.text import number, read_lines


def write_coords(path: str | Path, picks: pd.DataFrame) -> None:
    """Write X, Y and Z, one pick a line, separated by blanks, without a header, whole or not at all.

    Parameters
    ----------
    path : the file.
    picks : columns X, Y, Z, in voxels, counted from 0 at the centre of the first one.
    """
    with atomic_path(path) as temporary:
        np.savetxt(temporary, picks[["X", "Y", "Z"]].to_numpy(dtype=np.float64), fmt="%.3f", delimiter=" ")


def read_coords(path: str | Path) -> pd.DataFrame:
    """Read a ``.coords`` file.

    Returns
    -------
    Frame with columns X, Y, Z, in voxels; without rows if the file has no lines.

    Raises
    ------
    InputError
        If it cannot be read, or a line has not three columns or holds something that is no number; it
        names the line.
    """
    path = Path(path)
    rows = []
    for line, text in read_lines(path):
        fields = text.split()
        if len(fields) != 3:
            raise InputError(path, f"line {line} has {len(fields)} columns: '{text}'", "Write 'X Y Z' there")
        rows.append([number(path, line, field) for field in fields])
    return pd.DataFrame(np.array(rows, dtype=np.float64).reshape(-1, 3), columns=["X", "Y", "Z"])
