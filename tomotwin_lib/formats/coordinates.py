"""Coordinates for other programs: ``.coords`` (boxmanager, TomoTwin) and STAR (RELION 3, Warp)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import starfile

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path
from tomotwin_lib.formats.text import number, read_lines

_STAR_COLUMNS = {"rlnCoordinateX": "X", "rlnCoordinateY": "Y", "rlnCoordinateZ": "Z"}

# With this magnification the detector's pixel in micrometres is, as a number, the voxel in angstrom.
_MAGNIFICATION = 10000.0


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


def write_relion3_star(
    path: str | Path,
    picks: pd.DataFrame,
    tomogram_name: str,
    voxel_size_in_angstrom: float | None = None,
) -> None:
    """Write picks as a STAR file in the way of RELION 3, which Warp reads too, whole or not at all.

    Coordinates are voxels of the tomogram, counted from 0 at the centre of the first one, as in ``.coords``.

    Parameters
    ----------
    path : the file.
    picks : columns X, Y, Z, in voxels; ``metric_best``, if there, becomes the figure of merit.
    tomogram_name : what the particles' tomogram is called there (rlnMicrographName).
    voxel_size_in_angstrom : edge of a voxel of the tomogram; where ``None``, the columns that tell it are
        left out.
    """
    # Plain float64 columns and object text: what every version of pandas and starfile writes alike.
    table = pd.DataFrame({"rlnMicrographName": pd.Series([tomogram_name] * len(picks), dtype=object)})
    for star, column in _STAR_COLUMNS.items():
        table[star] = picks[column].to_numpy(dtype=np.float64)
    if voxel_size_in_angstrom is not None:
        table["rlnMagnification"] = _MAGNIFICATION
        table["rlnDetectorPixelSize"] = float(voxel_size_in_angstrom)
    if "metric_best" in picks.columns:
        table["rlnAutopickFigureOfMerit"] = picks["metric_best"].to_numpy(dtype=np.float64)
    with atomic_path(path) as temporary:
        starfile.write(table, temporary)


def read_star(path: str | Path) -> pd.DataFrame:
    """Read the coordinates of a STAR file, from the first table that has them.

    Returns
    -------
    Frame with columns X, Y, Z, in voxels.

    Raises
    ------
    InputError
        If it cannot be read, has no table with rlnCoordinateX, rlnCoordinateY and rlnCoordinateZ, or one of
        them is no number; it names the particle.
    """
    path = Path(path)
    for _ in read_lines(path):  # missing, a folder, not text
        break
    try:
        blocks: dict[str, Any] = starfile.read(path, always_dict=True)
    except Exception as error:  # the parser fails in many ways on what is not STAR
        raise InputError(path, f"it is no STAR file ({error})", "Give a STAR file") from error
    for table in _tables(blocks):
        if all(column in table.columns for column in _STAR_COLUMNS):
            return _coordinates(path, table)
    raise InputError(
        path,
        f"no table in it has the columns {', '.join(_STAR_COLUMNS)}",
        "Give a STAR file of particles with coordinates in voxels, as RELION 3 and Warp write them",
    )


def _tables(blocks: dict[str, Any]) -> Iterator[pd.DataFrame]:
    for block in blocks.values():
        # A block without a loop holds one value a name: a single particle may be written so.
        yield block if isinstance(block, pd.DataFrame) else pd.DataFrame([block])


def _coordinates(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    values = {}
    for star, column in _STAR_COLUMNS.items():
        numbers = pd.to_numeric(table[star], errors="coerce").to_numpy(dtype=np.float64)
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            raise InputError(
                path,
                f"{star} of particle {wrong[0] + 1} is '{table[star].iloc[wrong[0]]}', not a number",
                "Correct the line",
            )
        values[column] = numbers
    return pd.DataFrame(values)
