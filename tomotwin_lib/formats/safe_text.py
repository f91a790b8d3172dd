"""What a pickle gets when it asks for the parts of pandas' text columns.

pandas 3 has text in arrays of its own, above NumPy or above pyarrow. Both trust whoever unpickles them: an
array without its inside, or with made-up offsets, ends the process. The stand-ins here build such arrays from
checked parts.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd

# Types of pyarrow that are text, and the type of the offsets between one text and the next.
_OFFSETS: dict[str, np.dtype[Any]] = {"string": np.dtype("<i4"), "large_string": np.dtype("<i8")}


def empty_text_array(kind: Any, checksum: int, state: None) -> Any:
    """Stand-in for the class above NumPy, and for the function by which pickles make an array of it.

    What pandas makes there has no inside until its state is set; this one is an array without elements.
    """
    if kind is not empty_text_array or state is not None:
        raise pickle.UnpicklingError("an array of an unknown class")
    return pd.arrays.StringArray(np.array([], dtype=object), copy=True)


def arrow_type(name: Any) -> str:
    """Stand-in for the function that finds a type of pyarrow by its name."""
    if name not in _OFFSETS:
        raise pickle.UnpicklingError(f"an arrow array of type {name!r}")
    return str(name)


def arrow_buffer(content: Any) -> bytes:
    """Stand-in for pyarrow's memory."""
    if not isinstance(content, bytes | bytearray):
        raise pickle.UnpicklingError("an arrow array without memory")
    return bytes(content)


def arrow_array(parts: Any) -> Any:
    """Stand-in for the function that puts an arrow array together: it reads the texts and makes a new array.

    Parameters
    ----------
    parts : type, number of texts, number of gaps, place of the first text, the memory of (bits that say which
        texts are there, or None; offsets; characters in UTF-8), and two that text does not have.
    """
    import pyarrow  # type: ignore[import-untyped]

    kind, count, _, first, (present, offsets, characters), *_ = parts
    if min(count, first) < 0:
        raise pickle.UnpicklingError("an arrow array of a negative size")
    if count == 0:
        return pyarrow.array([], type=getattr(pyarrow, kind)())
    dtype: np.dtype[Any] = _OFFSETS[kind]
    bounds = np.frombuffer(offsets, dtype=dtype, count=first + count + 1)[first:]
    characters = characters or b""
    if bounds[0] < 0 or (np.diff(bounds) < 0).any() or bounds[-1] > len(characters):
        raise pickle.UnpicklingError("an arrow array that goes beyond its memory")
    there = np.ones(count, dtype=bool)
    if present is not None:
        bits = np.unpackbits(np.frombuffer(present, dtype=np.uint8), bitorder="little")
        there = bits[first : first + count].astype(bool)
    edges = bounds.tolist()
    texts = [
        characters[start:stop].decode("utf-8") if is_there else None
        for start, stop, is_there in zip(edges[:-1], edges[1:], there.tolist(), strict=True)
    ]
    return pyarrow.array(texts, type=getattr(pyarrow, kind)())
