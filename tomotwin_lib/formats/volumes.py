"""MRC volumes: read memory-mapped with checks of our own, written whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import numpy.typing as npt

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path
from tomotwin_lib.formats.mrc_header import MrcHeader, read_header

VOLUME_SUFFIXES = (".mrc", ".rec", ".map")

# Enough to keep the disk busy, little enough to stay out of the way of everything else in memory.
_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Volume:
    """A volume on disk.

    Attributes
    ----------
    data : (z, y, x), read-only and memory-mapped, in the type and byte order of the file.
    voxel_size_in_angstrom : edge of a voxel; ``None`` where the header does not say.
    path : the file.
    """

    data: npt.NDArray[Any]
    voxel_size_in_angstrom: float | None
    path: Path


def read_volume(path: str | Path) -> Volume:
    """Open a volume without reading its voxels.

    Raises
    ------
    InputError
        If the file is missing, a folder, empty, packed, not MRC, shorter than its header says, a single
        image, of an axis without voxels, or of a type that is no density (complex numbers, packed bits).
    """
    path = Path(path)
    header = read_header(path)
    _check_is_volume(path, header)
    bytes_needed = header.data_offset + header.data_bytes
    bytes_there = path.stat().st_size
    if bytes_there < bytes_needed:
        raise InputError(
            path,
            f"it is truncated: {bytes_there:,} bytes are there, {bytes_needed:,} are needed",
            "Copy or reconstruct it again",
        )
    try:
        data = np.memmap(path, dtype=header.dtype, mode="r", offset=header.data_offset, shape=header.shape)
    except OSError as error:
        raise InputError(
            path, f"it cannot be read ({error.strerror or error})", "Check the file and its permissions"
        ) from error
    return Volume(data, header.voxel_size_in_angstrom, path)


def _check_is_volume(path: Path, header: MrcHeader) -> None:
    z, y, x = header.shape
    if 0 in header.shape:
        raise InputError(
            path, f"it is {z}×{y}×{x} voxels (z×y×x): there is nothing in it", "Give a volume with voxels"
        )
    if z == 1:
        raise InputError(
            path, f"it is a single image of {y}×{x} pixels (y×x), not a volume", "Give a reconstructed volume"
        )
    if header.volumes > 1:
        raise InputError(path, f"it is a stack of {header.volumes} volumes", "Give one volume a file")


def require_finite(volume: Volume) -> None:
    """Check, some slices at a time, that every voxel is a number.

    Raises
    ------
    InputError
        If a voxel is NaN or infinite; it names the first one.
    """
    data = volume.data
    if not np.issubdtype(data.dtype, np.floating):
        return
    slices = max(1, _BLOCK_BYTES // max(1, data[0].nbytes))
    for start in range(0, len(data), slices):
        finite = np.isfinite(data[start : start + slices])
        if not finite.all():
            z, y, x = (int(index) for index in np.unravel_index(np.argmin(finite), finite.shape))
            raise InputError(
                volume.path,
                f"voxel z={start + z}, y={y}, x={x} is {data[start + z, y, x]}, not a number",
                "Reconstruct it again, or replace such voxels by the mean density",
            )


def read_subvolume(path: str | Path, window_size: int | None = None) -> npt.NDArray[np.float32]:
    """Read a subvolume or reference into memory, as it is: protein is bright in such files.

    Parameters
    ----------
    path : the file.
    window_size : edge that it must have, in voxels; any shape passes where ``None``.

    Returns
    -------
    (z, y, x) array.

    Raises
    ------
    InputError
        As :func:`read_volume`, and if the shape is wrong, a voxel is not a number, or all are alike.
    """
    volume = read_volume(path)
    shape = volume.data.shape
    if window_size is not None and shape != (window_size,) * 3:
        raise InputError(
            volume.path,
            f"it is {shape[0]}×{shape[1]}×{shape[2]} voxels (z×y×x), not {'×'.join([str(window_size)] * 3)}",
            f"Extract it with a box of {window_size} voxels, at the voxel size of the tomograms",
        )
    require_finite(volume)
    values = np.array(volume.data, dtype=np.float32)
    if values.min() == values.max():
        raise InputError(
            volume.path, f"every voxel is {values.flat[0]:g}", "Give a subvolume that shows a particle"
        )
    return values


def write_volume(
    path: str | Path,
    data: npt.NDArray[Any],
    voxel_size_in_angstrom: float | None,
    label: str | None = None,
) -> None:
    """Write a volume under a temporary name, then rename it.

    Parameters
    ----------
    path : the file; replaced if it is there.
    data : (z, y, x). Signed 8- and 16-bit integers and 32-bit floats keep their type, all else becomes
        32-bit floats.
    voxel_size_in_angstrom : edge of a voxel; ``None`` leaves 0 in the header, which means unknown.
    label : a line for the header that says what the volume is; up to 80 characters of ASCII.

    Raises
    ------
    ValueError
        If ``data`` has not three axes, or the label does not fit.
    InputError
        If the folder cannot be written.
    """
    if data.ndim != 3:
        raise ValueError(f"a volume has three axes (z, y, x), not {data.ndim}")
    if data.dtype not in (np.dtype(np.int8), np.dtype(np.int16), np.dtype(np.float32)):
        data = data.astype(np.float32)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # Heatmaps may hold infinities; the library warns about them when it computes the header's statistics.
        warnings.simplefilter("ignore", RuntimeWarning)
        with mrcfile.new(temporary, overwrite=True) as mrc:
            mrc.set_data(data)
            mrc.set_volume()
            mrc.voxel_size = voxel_size_in_angstrom or 0.0
            if label is not None:
                mrc.add_label(label)


def find_volumes(paths: Iterable[str | Path]) -> list[Path]:
    """List volume files: files as given, and what ends in ``.mrc``, ``.rec`` or ``.map`` in given folders.

    Folders are not searched deeper, hidden files are left out, and each file comes once, sorted by path.

    Raises
    ------
    InputError
        If no path is given, one does not exist, or a folder holds no volume.
    """
    found: set[Path] = set()
    for path in map(Path, paths):
        if path.is_dir():
            inside = [entry for entry in path.iterdir() if _looks_like_volume(entry)]
            if not inside:
                raise InputError(
                    path,
                    f"no volume ({', '.join(VOLUME_SUFFIXES)}) in this folder",
                    "Give the folder with volumes",
                )
            found.update(inside)
        elif path.exists():
            found.add(path)
        else:
            raise InputError(path, "there is no such file or folder", "Check the path")
    if not found:
        raise InputError("volumes", "no file was given", "Give at least one volume or a folder of volumes")
    return sorted(found)


def _looks_like_volume(path: Path) -> bool:
    return path.suffix.lower() in VOLUME_SUFFIXES and not path.name.startswith(".") and path.is_file()
