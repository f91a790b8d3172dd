"""The 1,024 bytes in front of an MRC file's voxels, checked before anything trusts them.

Fields and their places are those of the MRC2014 format description (Cheng et al., J. Struct. Biol. 192,
2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.opening import open_to_read

HEADER_BYTES = 1024

# MRC modes that hold densities, and the NumPy type of a voxel.
_VOXEL_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_OTHER_MODES = {3: "complex integers", 4: "complex numbers", 101: "packed 4-bit integers"}

_PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"PK": "zip"}

# IMOD signs its headers with this number; bit 0 of the flags behind it says that bytes are signed.
_IMOD_STAMP = 1146047817

_FIRST_VOLUME_STACK, _LAST_VOLUME_STACK = 401, 630


@dataclass(frozen=True)
class MrcHeader:
    """What the header says about the voxels.

    Attributes
    ----------
    shape : (z, y, x), in voxels.
    dtype : type and byte order of a voxel.
    data_offset : bytes in front of the first voxel.
    voxel_size_in_angstrom : along x; ``None`` where unknown.
    volumes : how many volumes are stacked in the file.
    labels : the lines of text that programs leave there.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    data_offset: int
    voxel_size_in_angstrom: float | None
    volumes: int
    labels: tuple[str, ...] = ()

    @property
    def data_bytes(self) -> int:
        """Bytes that the voxels take."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(path: Path) -> MrcHeader:
    """Read and check a header.

    Raises
    ------
    InputError
        If the file is missing, a folder, empty, packed, not MRC, or its voxels are of no density's type.
    """
    raw = _first_bytes(path)
    order = _byte_order(raw)
    if order is None:
        raise InputError(path, "it is not an MRC file: its header makes no sense", "Give an MRC volume")
    header = np.frombuffer(raw, dtype=HEADER_DTYPE.newbyteorder(order))[0]
    mode = int(header["mode"])
    if mode not in _VOXEL_TYPES:
        raise InputError(
            path,
            f"its voxels are {_OTHER_MODES.get(mode, 'of an unknown type')} (MRC mode {mode}), not densities",
            "Save it as 32-bit floats (MRC mode 2)",
        )
    return MrcHeader(
        shape=(int(header["nz"]), int(header["ny"]), int(header["nx"])),
        dtype=_voxel_type(raw, mode, order),
        data_offset=HEADER_BYTES + int(header["nsymbt"]),
        voxel_size_in_angstrom=_voxel_size(header),
        volumes=_stacked_volumes(header),
        labels=_labels(header),
    )


def missing_bytes(path: Path) -> int:
    """How many bytes a file lacks of what its header promises: it is cut off, or still being written.

    0 for a whole file, and for one that is no MRC file at all: no more bytes would mend it.
    """
    size = path.stat().st_size
    if size < HEADER_BYTES:
        return HEADER_BYTES - size
    try:
        header = read_header(path)
    except InputError:
        return 0
    return max(0, header.data_offset + header.data_bytes - size)


def _first_bytes(path: Path) -> bytes:
    with open_to_read(path) as stream:
        raw = stream.read(HEADER_BYTES)
    if not raw:
        raise InputError(path, "the file is empty (0 bytes)", "Copy or reconstruct it again")
    if raw[:2] in _PACKED:
        raise InputError(path, f"it is packed with {_PACKED[raw[:2]]}, which is not read", "Unpack it first")
    if len(raw) < HEADER_BYTES:
        problem = f"it is truncated or not MRC: {len(raw)} bytes are there, the header takes {HEADER_BYTES}"
        raise InputError(path, problem, "Copy or reconstruct it again")
    return raw


def _byte_order(raw: bytes) -> str | None:
    """``<`` or ``>`` when the header makes sense in that order, ``None`` when it does in neither."""
    # Byte 212 is 0x44 in little-endian files and 0x11 in big-endian ones; where writers forgot it, try both.
    orders = {0x44: "<", 0x11: ">"}.get(raw[212], "<>")
    if raw[208:211] != b"MAP":
        return None
    for order in orders:
        header = np.frombuffer(raw, dtype=HEADER_DTYPE.newbyteorder(order))[0]
        sizes = [int(header[name]) for name in ("nx", "ny", "nz", "nsymbt")]
        if min(sizes) >= 0 and 0 <= int(header["mode"]) <= 101:
            return order
    return None


def _voxel_type(raw: bytes, mode: int, order: str) -> np.dtype[Any]:
    if mode == 0:
        stamp, flags = np.frombuffer(raw, dtype=f"{order}i4", count=2, offset=152)
        # The standard says signed; bytes of older IMOD versions are not, and would wrap at 128.
        return np.dtype("u1") if stamp == _IMOD_STAMP and not flags & 1 else np.dtype("i1")
    return np.dtype(order + _VOXEL_TYPES[mode])


def _voxel_size(header: np.void) -> float | None:
    length, intervals = float(header["cella"]["x"]), int(header["mx"])
    if intervals <= 0 or not math.isfinite(length) or length <= 0:
        return None
    # The header has 32-bit floats: ten digits would show 13.479999542 for 13.48.
    return float(f"{length / intervals:.6g}")


def _labels(header: np.void) -> tuple[str, ...]:
    # All ten: programs disagree about the number of labels that stands in front of them.
    lines = (bytes(line).decode("ascii", errors="replace").strip(" \0") for line in header["label"])
    return tuple(line for line in lines if line)


def _stacked_volumes(header: np.void) -> int:
    slices = int(header["mz"])
    if _FIRST_VOLUME_STACK <= int(header["ispg"]) <= _LAST_VOLUME_STACK and slices > 0:
        return max(1, int(header["nz"]) // slices)
    return 1
