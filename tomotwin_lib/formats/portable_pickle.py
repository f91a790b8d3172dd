"""Pickling frames so that older NumPy and pandas than ours read them, without a copy of them in memory.

NumPy names, in the pickle of an array, the function that rebuilds it, and that function has moved: NumPy 1.26
cannot read what NumPy 2 writes, although arrays are the same in both. A pickle that asks for
``numpy.ndarray`` alone is read by every version.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas._libs.internals import _unpickle_block  # type: ignore[import-not-found]
from pandas.core.internals.blocks import Block  # type: ignore[import-not-found]
from pandas.core.internals.managers import BlockManager  # type: ignore[import-not-found]

from tomotwin_lib.formats.columns import text_labels

# The first protocol that has arrays that are not read-only, and the last that Python has so far.
_PROTOCOL = 5

# Bytes from which on the memory of an array is written by itself and in pieces.
_LONG = 1 << 16


@dataclass(frozen=True)
class Columns:
    """Neighbouring columns of one type, whose rows are made while they are written.

    Attributes
    ----------
    labels : their names.
    dtype : their type.
    blocks : (row, column) arrays of that type, which follow each other.
    """

    labels: Sequence[str]
    dtype: npt.DTypeLike
    blocks: Iterable[npt.NDArray[Any]]


def dump_frame(frame: pd.DataFrame, stream: BinaryIO) -> None:
    """Pickle a frame of NumPy columns and Python text."""
    _FramePickler(stream).dump(frame)


def dump_columns(
    rows: int, parts: Sequence[Columns], index: str, attributes: Mapping[str, Any], stream: BinaryIO
) -> None:
    """Pickle a frame that never lies in memory; it is read like any other.

    Parameters
    ----------
    rows : number of rows.
    parts : the columns from left to right.
    index : name of the index, which counts the rows from 0.
    attributes : of the frame, plain values.
    stream : where to.

    Raises
    ------
    RuntimeError
        If the blocks have more or fewer rows.
    """
    # The frame's blocks are arrays of the right shape that take up no memory. The pickler writes, in the
    # place of each, what the blocks hold. The frame is put together as unpickling puts frames together:
    # that pandas keeps from version to version.
    stand_ins = [np.broadcast_to(np.zeros((), dtype=part.dtype), (len(part.labels), rows)) for part in parts]
    labels = [label for part in parts for label in part.labels]
    ends = np.cumsum([len(part.labels) for part in parts]).tolist()
    blocks = tuple(
        _unpickle_block(stand_in, slice(end - len(stand_in), end), 2)
        for stand_in, end in zip(stand_ins, ends, strict=True)
    )
    frame: Any = pd.DataFrame.__new__(pd.DataFrame)
    manager = BlockManager(blocks, [text_labels(labels), pd.RangeIndex(rows, name=index)])
    frame.__setstate__({"_mgr": manager, "_typ": "dataframe"})
    frame.attrs.update(attributes)
    pickler = _FramePickler(stream)
    pickler.made = {id(stand_in): part.blocks for stand_in, part in zip(stand_ins, parts, strict=True)}
    pickler.dump(frame)
    if pickler.made:
        raise RuntimeError("pandas replaced the memory of a frame")


@dataclass(frozen=True)
class _Memory:
    """What an array holds, in pieces."""

    size: int
    pieces: Iterable[npt.NDArray[Any]]


# The pickler written in C copies the memory of an array before it writes it.
class _FramePickler(pickle._Pickler):
    dispatch = pickle._Pickler.dispatch.copy()
    framer: Any
    write: Any

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, protocol=_PROTOCOL)
        self._stream = stream
        self.made: dict[int, Iterable[npt.NDArray[Any]]] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Block):
            # As pandas does itself, but for the copy that pandas 3 makes of some arrays.
            return _unpickle_block, (obj.values, obj.mgr_locs.indexer, obj.ndim)
        if type(obj) is not np.ndarray:
            return NotImplemented
        if obj.dtype.hasobject:
            # An empty array, and the state with which NumPy itself fills it.
            return np.ndarray, ((0,),), obj.__reduce__()[2]
        if id(obj) in self.made:
            memory = _Memory(obj.nbytes, self.made.pop(id(obj)))
            return np.ndarray, (obj.shape, obj.dtype, memory, 0, None, "F")
        order = "F" if obj.flags.f_contiguous and not obj.flags.c_contiguous else "C"
        memory = _Memory(obj.nbytes, [obj.T if order == "F" else obj])
        return np.ndarray, (obj.shape, obj.dtype, memory, 0, None, order)

    def save_memory(self, memory: _Memory) -> None:
        header = pickle.BYTEARRAY8 + memory.size.to_bytes(8, "little")
        write = self.write
        if memory.size < _LONG:
            write(header)
        else:
            # Ends what is gathered so far, and goes on in the file itself.
            self.framer.write_large_bytes(header, b"")
            write = self._stream.write
        written = 0
        for piece in memory.pieces:
            if piece.nbytes:
                written += piece.nbytes
                write(memoryview(np.ascontiguousarray(piece).data).cast("B"))
        if written != memory.size:
            raise RuntimeError(f"{written} bytes for columns of {memory.size}")

    dispatch[_Memory] = save_memory  # type: ignore[index, assignment]
