"""Columns, labels and attributes of frames, checked and turned into arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.half_precision import all_finite
from tomotwin_lib.products import FloatArray, IntArray
from tomotwin_lib.rows import memory_of, row_blocks, row_slices

_KINDS = {
    "metric_best": "located picks",
    "d_class_0": "a similarity map",
    "filepath": "the embedding of references",
}
"""What a file is by a column that no other has, as those who ask for it call it."""


def attributes_of(frame: pd.DataFrame) -> dict[str, Any]:
    """A frame's attributes, in a dictionary of its own."""
    return {str(key): value for key, value in frame.attrs.items()}


def text_labels(names: Iterable[object]) -> pd.Index:
    """Column labels as Python text."""
    # pandas 3 would make an index of its text type, which older versions cannot unpickle.
    return pd.Index([str(name) for name in names], dtype=object)


def numbered_columns(frame: pd.DataFrame, prefix: str) -> list[str]:
    """The columns ``prefix0``, ``prefix1``, … up to the last one there, in the order of their numbers."""
    numbers = [
        int(match[1]) for name in frame.columns if (match := re.fullmatch(rf"{prefix}(\d{{1,5}})", name))
    ]
    return [f"{prefix}{number}" for number in range(max(numbers) + 1)] if numbers else []


def require_columns(path: Path, frame: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Check that all columns are there.

    Raises
    ------
    InputError
        If some are not; it names them and says what the file should be (``what``).
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        for column, kind in _KINDS.items():
            if column in frame.columns and kind != what:
                raise InputError(path, f"it holds {kind}, not {what}", f"Give {what}")
        shown = ", ".join(missing[:8]) + (", …" if len(missing) > 8 else "")
        told = f"columns {shown} are" if len(missing) > 1 else f"column {shown} is"
        raise InputError(path, f"it is not {what}: {told} missing", f"Give {what}")


def column_of_numbers(path: Path, frame: pd.DataFrame, column: str) -> npt.NDArray[np.float64]:
    """A column as numbers.

    Raises
    ------
    InputError
        If it holds anything else.
    """
    try:
        return frame[column].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(path, f"column {column} holds no numbers", "Make it again") from error


def matrix_of_columns(
    path: Path, frame: pd.DataFrame, columns: Sequence[str], order: IntArray | None = None
) -> FloatArray:
    """Columns as an array (row, column), float16 where all of them are and float32 otherwise.

    Where the columns lie in memory as the rows of the array, as in the files that this library writes, it is
    a view of the frame's memory; if that is a file's, it is read-only.

    Parameters
    ----------
    path : the file, for messages.
    frame : the frame.
    columns : their names.
    order : (row,) the frame's rows in the order of the result; as they are where ``None``.

    Raises
    ------
    InputError
        If one of them holds something that is no number.
    """
    arrays = [frame[column].to_numpy() for column in columns]
    for column, array in zip(columns, arrays, strict=True):
        if array.dtype.kind not in "fiu":
            raise InputError(path, f"column {column} holds no numbers", "Make it again")
    matrix = _as_they_lie(arrays) if order is None else None
    if matrix is None:
        matrix = _copied(arrays, order)
    for block in row_blocks(matrix):
        if not all_finite(block):
            column = columns[int(np.argmin(np.isfinite(block).all(axis=0)))]
            raise InputError(path, f"column {column} holds something that is no number", "Make it again")
    return matrix


def _as_they_lie(columns: Sequence[npt.NDArray[Any]]) -> FloatArray | None:
    """A view of columns that lie side by side, row after row; ``None`` where they do not."""
    first, size = columns[0], columns[0].itemsize
    step = first.strides[0]
    place = first.__array_interface__["data"][0]
    memory = memory_of(first)
    together = first.dtype in (np.float16, np.float32) and step >= len(columns) * size
    for index, column in enumerate(columns):
        together = (
            together
            and column.dtype == first.dtype
            and column.strides[0] == step
            and column.__array_interface__["data"][0] == place + index * size
            and memory_of(column) is memory
        )
    if not together:
        return None
    shape = len(first), len(columns)
    return np.lib.stride_tricks.as_strided(first, shape, (step, size), writeable=first.flags.writeable)


def _copied(columns: Sequence[npt.NDArray[Any]], order: IntArray | None) -> FloatArray:
    halves = all(column.dtype == np.float16 for column in columns)
    matrix = np.empty((len(columns[0]), len(columns)), dtype=np.float16 if halves else np.float32)
    # Some rows at a time: a column at a time would go through all of the memory once a column.
    for block in row_slices(*columns):
        rows = block if order is None else order[block]
        for index, column in enumerate(columns):
            matrix[block, index] = column[rows]
    return matrix
