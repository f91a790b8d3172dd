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
from tomotwin_lib.products import FloatArray, IntArray

_ROWS_AT_A_TIME = 8192


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
        shown = ", ".join(missing[:8]) + (", …" if len(missing) > 8 else "")
        raise InputError(path, f"it is not {what}: columns {shown} are missing", f"Give {what}")


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
) -> npt.NDArray[np.float32]:
    """Columns as an array (row, column).

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
    matrix = np.empty((len(frame), len(columns)), dtype=np.float32)
    # Some rows at a time: a column at a time would go through all of the memory once a column.
    for start in range(0, len(frame), _ROWS_AT_A_TIME):
        stop = min(start + _ROWS_AT_A_TIME, len(frame))
        rows = slice(start, stop) if order is None else order[start:stop]
        for index, array in enumerate(arrays):
            matrix[start:stop, index] = array[rows]
        finite = np.isfinite(matrix[start:stop]).all(axis=0)
        if not finite.all():
            column = columns[int(np.argmin(finite))]
            raise InputError(path, f"column {column} holds something that is no number", "Make it again")
    return matrix


def halved(values: FloatArray) -> FloatArray:
    """16-bit floats, or 32-bit ones where a value is beyond them (some distances have no bound)."""
    with np.errstate(over="ignore"):
        halved = values.astype(np.float16)
    overflow = np.isinf(halved).any() and not np.isinf(values).any()
    return values.astype(np.float32) if overflow else halved
