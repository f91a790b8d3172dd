"""Picks as files of the programs that come next, each in its own convention."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats import star
from tomotwin_lib.formats.cbox import write_cbox
from tomotwin_lib.formats.coordinates import write_coords

DEFAULT_FORMATS = ("coords", "relion3")

# How Warp ends the name of a reconstruction: `TS_01_10.00Apx.mrc` is made of `TS_01.tomostar`.
_WARP_ENDING = re.compile(r"_\d+(\.\d+)?Apx$")


@dataclass(frozen=True)
class Destination:
    """The tomogram, or the tilt series that it was made from, as the next program knows it.

    Attributes
    ----------
    micrograph_name : what RELION 3 calls it: rlnMicrographName.
    tomogram_name : what RELION 4, RELION 5 and copick call it: rlnTomoName.
    warp_name : what Warp calls it, without ``.tomostar``.
    voxel_size_in_angstrom : that coordinates are written in; ``None`` where nobody knows.
    tomogram_size : x, y, z, in voxels of that size; ``None`` where nobody knows.
    centre : x, y, z from which RELION 5 counts, in voxels of that size; ``None`` for half the size.
    scale : voxels of the picked tomogram × ``scale`` = voxels of that size.
    voxel_size_was_chosen : whether that size was asked for, rather than being the tomogram's own.
    """

    micrograph_name: str
    tomogram_name: str
    warp_name: str
    voxel_size_in_angstrom: float | None = None
    tomogram_size: tuple[int, int, int] | None = None
    centre: tuple[float, float, float] | None = None
    scale: float = 1.0
    voxel_size_was_chosen: bool = False


def destination_of(
    file_name: str,
    shape: Sequence[int] | None,
    voxel_size_in_angstrom: float | None,
    *,
    output_voxel_size_in_angstrom: float | None = None,
    tomogram_size: Sequence[int] | None = None,
    centre: Sequence[float] | None = None,
    name: str | None = None,
) -> Destination:
    """The destination for picks of a tomogram.

    Parameters
    ----------
    file_name : the tomogram's.
    shape : its (z, y, x), in voxels; ``None`` where nobody knows.
    voxel_size_in_angstrom : its voxel size; ``None`` where nobody knows.
    output_voxel_size_in_angstrom : to write coordinates in; ``None`` for the tomogram's own.
    tomogram_size : x, y, z, in voxels of the output; by default the tomogram's, scaled and rounded.
    centre : as in :class:`Destination`.
    name : what the next program calls the tomogram or its tilt series, such as ``TS_01``; taken as it stands.
        By default the file's name: for RELION 3 as it is, for RELION 4, RELION 5 and copick without its
        ending, for Warp also without Warp's own (``_10.00Apx``).

    Raises
    ------
    InputError
        If a voxel size or a size is not positive, another voxel size is asked for and the tomogram's is
        not known, or the name is empty or of several lines.
    """
    if name is not None and (not name.strip() or len(name.splitlines()) > 1):
        raise InputError("tomogram name", f"{name!r} is none", "Give one such as TS_01")
    for value in (voxel_size_in_angstrom, output_voxel_size_in_angstrom):
        if value is not None and not 0 < value < math.inf:
            raise InputError("voxel size", f"{value:g} Å is none", "Give a number above 0")
    if tomogram_size is not None and min(tomogram_size) < 1:
        raise InputError("tomogram size", f"{list(tomogram_size)} is none", "Give three numbers above 0")
    scale = 1.0
    if output_voxel_size_in_angstrom is not None:
        if voxel_size_in_angstrom is None:
            raise InputError(
                file_name,
                "its voxel size is not known, so that coordinates cannot be scaled to "
                f"{output_voxel_size_in_angstrom:g} Å",
                "Give it (--voxel-size), or a tomogram whose header has it (--tomogram)",
            )
        scale = voxel_size_in_angstrom / output_voxel_size_in_angstrom
    x_y_z = tomogram_size
    if x_y_z is None and shape is not None:
        x_y_z = [round(edge * scale) for edge in reversed(shape)]
    stem = Path(file_name).stem
    return Destination(
        name or file_name,
        name or stem,
        (name or _WARP_ENDING.sub("", stem)).removesuffix(".tomostar"),
        output_voxel_size_in_angstrom or voxel_size_in_angstrom,
        (int(x_y_z[0]), int(x_y_z[1]), int(x_y_z[2])) if x_y_z is not None else None,
        (float(centre[0]), float(centre[1]), float(centre[2])) if centre is not None else None,
        scale,
        output_voxel_size_in_angstrom is not None,
    )


@dataclass(frozen=True)
class _Format:
    suffix: str
    write: Callable[[Path, pd.DataFrame, Destination], None]
    needs_voxel_size: bool = False
    needs_tomogram_size: bool = False
    wants_tilt_series: bool = False  # voxels of the tilt series and no others


def _relion5(path: Path, picks: pd.DataFrame, to: Destination) -> None:
    assert to.voxel_size_in_angstrom is not None and to.tomogram_size is not None
    star.write_relion5_star(
        path, picks, to.tomogram_name, to.voxel_size_in_angstrom, to.tomogram_size, to.centre
    )


def _relion31(path: Path, picks: pd.DataFrame, to: Destination) -> None:
    assert to.voxel_size_in_angstrom is not None
    star.write_relion31_star(path, picks, to.micrograph_name, to.voxel_size_in_angstrom)


# Name → ending of the file and how to write it.
FORMATS: dict[str, _Format] = {
    "coords": _Format(".coords", lambda path, picks, to: write_coords(path, picks)),
    "cbox": _Format(".cbox", lambda path, picks, to: write_cbox(path, picks)),
    "relion3": _Format(
        "_relion3.star",
        lambda path, picks, to: star.write_relion3_star(
            path, picks, to.micrograph_name, to.voxel_size_in_angstrom
        ),
    ),
    "relion31": _Format("_relion31.star", _relion31, needs_voxel_size=True),
    "relion4": _Format(
        "_relion4.star",
        lambda path, picks, to: star.write_relion4_star(path, picks, to.tomogram_name),
        wants_tilt_series=True,
    ),
    "relion5": _Format(
        "_relion5.star", _relion5, needs_voxel_size=True, needs_tomogram_size=True, wants_tilt_series=True
    ),
    "warp": _Format(
        "_warp.star",
        lambda path, picks, to: star.write_warp_star(path, picks, to.warp_name, to.voxel_size_in_angstrom),
    ),
}


def check_formats(
    formats: Sequence[str], destination: Destination, source: str, voxel_size_source: str
) -> None:
    """Check that the formats are known and that all is known that they hold.

    RELION 4 and 5 take voxels of the tilt series only. Whether the tomogram was binned cannot be seen, so
    that for them the voxel size must have been chosen, be it the tomogram's own.

    Parameters
    ----------
    formats, destination : what is to be written, and for what.
    source : where the formats were asked for.
    voxel_size_source : where the voxel size of the output can be asked for.

    Raises
    ------
    InputError
        If not.
    """
    for name in formats:
        if name not in FORMATS:
            raise InputError(source, f"{name!r} is no format", f"Choose of {', '.join(FORMATS)}")
        if FORMATS[name].wants_tilt_series and not destination.voxel_size_was_chosen:
            own = destination.voxel_size_in_angstrom
            picked, unbinned = ("unknown", "") if own is None else (f"{own:g} Å", f": {own:g}")
            raise InputError(
                source,
                f"{name} wants voxels of the tilt series, and those of the tomogram ({picked}) may be binned",
                f"Give the voxel size of the tilt series with {voxel_size_source}, such as 1.35, or that of "
                f"the tomogram if it is not binned{unbinned}",
            )
        if FORMATS[name].needs_voxel_size and destination.voxel_size_in_angstrom is None:
            raise InputError(
                source,
                f"{name} needs the voxel size, and the tomogram's header does not tell it",
                "Give it (--voxel-size), or a tomogram whose header has it (--tomogram)",
            )
        if FORMATS[name].needs_tomogram_size and destination.tomogram_size is None:
            raise InputError(
                source,
                f"{name} counts from the centre of the tomogram, whose size is not known",
                "Give the tomogram (--tomogram), or its size in voxels of the output (--tomogram-size)",
            )


def scale_picks(picks: pd.DataFrame, factor: float) -> pd.DataFrame:
    """Picks in voxels of another size.

    The centre of the first voxel stays at 0, as in RELION's and TomoTwin's own scaling: a coordinate is its
    distance from there, not from the corner of the volume.

    Parameters
    ----------
    picks : columns X, Y, Z and, where they are there, width, height and depth, in voxels.
    factor : old voxel size divided by the new one.

    Returns
    -------
    A frame with the same columns and attributes; coordinates are float64, boxes whole voxels.
    """
    scaled = picks.copy()
    for column in "XYZ":
        scaled[column] = picks[column].to_numpy(dtype=np.float64) * factor
    for column in {"width", "height", "depth"} & set(picks.columns):
        scaled[column] = np.rint(picks[column].to_numpy() * factor).astype(np.int64)
    return scaled


def export_picks(
    folder: Path, stem: str, picks: pd.DataFrame, formats: Sequence[str], destination: Destination
) -> list[Path]:
    """Write picks of one reference in each of the formats.

    Parameters
    ----------
    folder, stem : where to, and what the files' names begin with.
    picks : as in a ``.tloc``, in voxels of the tomogram that was picked.
    formats : names of ``FORMATS``; checked with :func:`check_formats`.

    Returns
    -------
    The files.
    """
    picks = scale_picks(picks, destination.scale)
    written = []
    for name in formats:
        path = folder / f"{stem}{FORMATS[name].suffix}"
        FORMATS[name].write(path, picks, destination)
        written.append(path)
    return written
