"""Particles as STAR files of RELION 3 to 5 and Warp, written and read with starfile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import starfile

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path
from tomotwin_lib.formats.text import read_lines

_COLUMNS = {"rlnCoordinateX": "X", "rlnCoordinateY": "Y", "rlnCoordinateZ": "Z"}
_CENTRED = {f"rlnCenteredCoordinate{axis}Angst": axis for axis in "XYZ"}
_SIZES = [f"rlnTomoSize{axis}" for axis in "XYZ"]
_PIXEL_SIZE = "rlnTomoTiltSeriesPixelSize"
# What tells the size of the voxels that coordinates count in. RELION 4's optics also have rlnImagePixelSize,
# of the boxes that were cut; there as in micrographs, coordinates keep the size that comes first here.
_PIXEL_SIZES = (_PIXEL_SIZE, "rlnMicrographPixelSize", "rlnImagePixelSize")
_OPTICS_GROUP = "rlnOpticsGroup"

VOXEL_SIZES_KEY = "voxel_sizes_in_angstrom"
"""Key of ``DataFrame.attrs`` under which :func:`read_star` tells the voxel sizes."""

# With this magnification the detector's pixel in micrometres is, as a number, the voxel in angstrom.
_MAGNIFICATION = 10000.0


def write_relion3_star(
    path: str | Path, picks: pd.DataFrame, tomogram_name: str, voxel_size_in_angstrom: float | None = None
) -> None:
    """Write picks in the way of RELION 3.0: one table, the voxel size as magnification and detector pixel.

    Coordinates are voxels of the tomogram, counted from 0 at the centre of the first one, as in ``.coords``.

    Parameters
    ----------
    path : the file; written whole or not at all.
    picks : columns X, Y, Z, in voxels; ``metric_best``, if there, becomes the figure of merit.
    tomogram_name : what the particles' tomogram is called there (rlnMicrographName).
    voxel_size_in_angstrom : edge of a voxel of the tomogram; where ``None``, the columns that tell it are
        left out.
    """
    table = _table(picks, "rlnMicrographName", tomogram_name)
    if voxel_size_in_angstrom is not None:
        table.insert(4, "rlnMagnification", _MAGNIFICATION)
        table.insert(5, "rlnDetectorPixelSize", float(voxel_size_in_angstrom))
    _write(path, table)


def write_relion31_star(
    path: str | Path, picks: pd.DataFrame, tomogram_name: str, voxel_size_in_angstrom: float
) -> None:
    """Write picks in the way of RELION 3.1: an optics table with the voxel size, and the particles.

    Parameters are those of :func:`write_relion3_star`; the voxel size is required.
    """
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["opticsGroup1"],
            "rlnImagePixelSize": [float(voxel_size_in_angstrom)],
            "rlnImageDimensionality": [3],
        }
    )
    particles = _table(picks, "rlnMicrographName", tomogram_name)
    particles.insert(4, "rlnOpticsGroup", 1)
    _write(path, {"optics": optics, "particles": particles})


def write_relion4_star(path: str | Path, picks: pd.DataFrame, tomogram_name: str) -> None:
    """Write picks for RELION 4's import of particles.

    Parameters
    ----------
    path : the file; written whole or not at all.
    picks : columns X, Y, Z, in voxels *of the tilt series* (unbinned): RELION 4 takes no others.
    tomogram_name : the tomogram's rlnTomoName.
    """
    _write(path, {"particles": _table(picks, "rlnTomoName", tomogram_name)})


def write_relion5_star(
    path: str | Path,
    picks: pd.DataFrame,
    tomogram_name: str,
    voxel_size_in_angstrom: float,
    tomogram_size: Sequence[int],
    centre: Sequence[float] | None = None,
) -> None:
    """Write picks for RELION 5: distances from the tomogram's centre, in Å.

    Parameters
    ----------
    path : the file; written whole or not at all.
    picks : columns X, Y, Z, in voxels *of the tilt series* (unbinned).
    tomogram_name : the tomogram's rlnTomoName.
    voxel_size_in_angstrom : of the tilt series.
    tomogram_size : x, y, z, in unbinned voxels, as RELION's tomograms.star has it in rlnTomoSizeX, Y and Z.
    centre : x, y, z of the point that RELION counts from, in unbinned voxels; by default half the size, also
        for an odd one, which is what RELION 5 does.
    """
    middle = [edge / 2 for edge in tomogram_size] if centre is None else [float(value) for value in centre]
    table = _table(picks, "rlnTomoName", tomogram_name)
    for column, zero in zip(_COLUMNS, middle, strict=True):
        table[column] = (table[column] - zero) * voxel_size_in_angstrom
    table = table.rename(columns=dict(zip(_COLUMNS, _CENTRED, strict=True)))
    table[_PIXEL_SIZE] = float(voxel_size_in_angstrom)
    for name, edge in zip(_SIZES, tomogram_size, strict=True):
        table[name] = int(edge)
    centred_on = ", ".join(f"{value:g}" for value in middle)
    _write(
        path,
        {"particles": table},
        f"coordinates count from (x, y, z) = ({centred_on}) voxels of {voxel_size_in_angstrom:g} Å",
    )


def write_warp_star(
    path: str | Path, picks: pd.DataFrame, series: str, voxel_size_in_angstrom: float | None = None
) -> None:
    """Write picks for Warp and M: as for RELION 3.0, with the tilt series' ``.tomostar`` as the name.

    Parameters
    ----------
    path, picks, voxel_size_in_angstrom : as in :func:`write_relion3_star`.
    series : name of the tilt series, without ``.tomostar``.
    """
    write_relion3_star(path, picks, f"{series}.tomostar", voxel_size_in_angstrom)


def read_star(path: str | Path, centre: Sequence[float] | None = None) -> pd.DataFrame:
    """Read the coordinates of a STAR file, from the first table that has them.

    Parameters
    ----------
    path : the file.
    centre : x, y, z in voxels from which the centred coordinates of RELION 5 count; by default half the
        tomogram's size, where the file tells it.

    Returns
    -------
    Frame with columns X, Y, Z, in voxels: of the tomogram or, from RELION 4 and 5, of the tilt series.
    ``attrs["voxel_sizes_in_angstrom"]`` is a list of the sizes that these voxels have by the file: empty
    where it does not tell, several where its particles differ.

    Raises
    ------
    InputError
        If it cannot be read, has no table with coordinates, one of them is no number (it names the particle),
        or centred ones come without pixel size or tomogram size.
    """
    path = Path(path)
    for _ in read_lines(path):  # missing, a folder, not text
        break
    try:
        blocks: dict[str, Any] = starfile.read(path, always_dict=True)
    except Exception as error:  # the parser fails in many ways on what is not STAR
        raise InputError(path, f"it is no STAR file ({error})", "Give a STAR file") from error
    tables = list(_tables(blocks))
    for table in tables:
        if not any(set(columns) <= set(table.columns) for columns in (_COLUMNS, _CENTRED)):
            continue
        table = _with_optics(table, tables)
        sizes = _voxel_sizes(table)
        if set(_COLUMNS) <= set(table.columns):
            read = pd.DataFrame({axis: _numbers(path, table, name) for name, axis in _COLUMNS.items()})
        else:
            read = _from_centre(path, table, centre)
        read.attrs[VOXEL_SIZES_KEY] = sizes
        return read
    raise InputError(
        path,
        f"no table in it has the columns {', '.join(_COLUMNS)} or {', '.join(_CENTRED)}",
        "Give a STAR file of particles, as RELION and Warp write them",
    )


def _table(picks: pd.DataFrame, name_column: str, tomogram_name: str) -> pd.DataFrame:
    """Name, coordinates and figure of merit.

    Plain float64 columns and object text: what every version of pandas and starfile writes alike.
    """
    table = pd.DataFrame({name_column: pd.Series([tomogram_name] * len(picks), dtype=object)})
    for star, column in _COLUMNS.items():
        table[star] = picks[column].to_numpy(dtype=np.float64)
    if "metric_best" in picks.columns:
        table["rlnAutopickFigureOfMerit"] = picks["metric_best"].to_numpy(dtype=np.float64)
    return table


def _write(path: str | Path, blocks: pd.DataFrame | dict[str, pd.DataFrame], comment: str = "") -> None:
    with atomic_path(path) as temporary:
        starfile.write(blocks, temporary)
        if comment:
            temporary.write_text(f"# {comment}\n\n{temporary.read_text(encoding='utf-8')}", encoding="utf-8")


def _tables(blocks: dict[str, Any]) -> Iterator[pd.DataFrame]:
    for block in blocks.values():
        # A block without a loop holds one value a name: a single particle may be written so.
        yield block if isinstance(block, pd.DataFrame) else pd.DataFrame([block])


def _with_optics(table: pd.DataFrame, tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The particles, with the pixel sizes of their groups where these stand in a table of optics."""
    for optics in tables:
        wanted = [name for name in _PIXEL_SIZES if name in optics.columns and name not in table.columns]
        if optics is table or _OPTICS_GROUP not in optics.columns or not wanted:
            continue
        if _OPTICS_GROUP in table.columns:
            groups = optics.drop_duplicates(_OPTICS_GROUP).set_index(_OPTICS_GROUP)
            return table.assign(**{name: table[_OPTICS_GROUP].map(groups[name]) for name in wanted})
        if len(optics) == 1:
            return table.assign(**{name: optics[name].iloc[0] for name in wanted})
    return table


def _voxel_sizes(table: pd.DataFrame) -> list[float]:
    """The sizes of the voxels that coordinates count in, in Å, each once and rising; none if nobody tells."""
    for name in _PIXEL_SIZES:
        if name in table.columns:
            sizes = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
            break
    else:
        if not {"rlnMagnification", "rlnDetectorPixelSize"} <= set(table.columns):
            return []
        magnification, detector = (
            pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
            for name in ("rlnMagnification", "rlnDetectorPixelSize")
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            sizes = detector * _MAGNIFICATION / magnification
    # Files have six digits behind the point; programs leave 0 where they do not know.
    return np.unique(sizes[np.isfinite(sizes) & (sizes > 0)].round(6)).tolist()


def _from_centre(path: Path, table: pd.DataFrame, centre: Sequence[float] | None) -> pd.DataFrame:
    if _PIXEL_SIZE not in table.columns or (centre is None and not set(_SIZES) <= set(table.columns)):
        raise InputError(
            path,
            f"its coordinates are in Å from the tomogram's centre, without {_PIXEL_SIZE} and {_SIZES[0]}, …",
            "Add these columns, which RELION keeps in its table of tomograms",
        )
    pixel = _numbers(path, table, _PIXEL_SIZE)
    if (pixel <= 0).any():
        raise InputError(path, f"a {_PIXEL_SIZE} is {pixel.min():g} Å", "Correct it")
    columns = {}
    for number, (name, axis) in enumerate(_CENTRED.items()):
        zero = _numbers(path, table, _SIZES[number]) / 2 if centre is None else float(centre[number])
        columns[axis] = _numbers(path, table, name) / pixel + zero
    return pd.DataFrame(columns)


def _numbers(path: Path, table: pd.DataFrame, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise InputError(
            path,
            f"{column} of particle {wrong[0] + 1} is '{table[column].iloc[wrong[0]]}', not a number",
            "Correct the line",
        )
    return numbers
