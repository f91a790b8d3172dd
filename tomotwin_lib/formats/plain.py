"""Frames of plain parts only, which every version of pandas can unpickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd


def plain_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with text as Python objects and column labels as ``str``; numbers are not copied.

    pandas 3 has a text type of its own, which older versions cannot unpickle.
    """
    plain = frame.copy(deep=False)
    for position, dtype in enumerate(frame.dtypes):
        if not isinstance(dtype, np.dtype):
            # A bare array of text would become pandas' text type again.
            text = pd.Series(frame.iloc[:, position].to_numpy(dtype=object), index=frame.index, dtype=object)
            plain.isetitem(position, text)  # type: ignore[arg-type]
    plain.columns = pd.Index([str(label) for label in frame.columns], dtype=object)
    if not isinstance(frame.index.dtype, np.dtype):
        plain.index = frame.index.astype(object)
    return plain


def plain_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes made of lists, tuples, dictionaries, text, numbers and, as TomoTwin has, numeric arrays.

    Raises
    ------
    TypeError
        If there is anything else.
    """
    return {str(key): _plain(value) for key, value in attributes.items()}


def _plain(value: Any) -> Any:
    # The exact types: a subclass, as NumPy's float64 is of float, would put its own name into the pickle.
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, tuple):
        return tuple(_plain(entry) for entry in value)
    if type(value) is np.ndarray and value.dtype.kind in "biufc":
        return value
    for base in (str, int, float):
        if isinstance(value, base):
            return base(value)
    raise TypeError(
        f"{type(value).__name__} is no plain value; it cannot be written into a frame's attributes"
    )
