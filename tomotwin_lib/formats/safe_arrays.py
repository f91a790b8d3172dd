"""What a pickle gets when it asks for NumPy's building blocks.

NumPy trusts whoever rebuilds an array: given made-up sizes, flags or memory, it takes numbers for addresses.
These stand-ins do what pickled arrays need and refuse the rest.
"""

from __future__ import annotations

import math
import pickle
import re
from typing import Any

import numpy as np
import numpy.typing as npt

# Numbers, truth values, text, bytes and Python objects; neither records nor dates.
_SIMPLE_TYPE = re.compile(r"[<>|=]?[?biufcOSU]\d{0,9}")

# The functions behind arrays have moved between NumPy versions; an array says where they are now.
_reconstruct: Any = np.zeros(1).__reduce__()[0]
rebuild_scalar: Any = np.float64(0).__reduce__()[0]
rebuild_from_buffer: Any = np.zeros(1).__reduce_ex__(5)[0]

_FLAGS_OF_OBJECTS = np.dtype(object).flags


def make_dtype(kind: Any, align: bool = False, copy: bool = True) -> np.dtype[Any]:
    """Stand-in for ``numpy.dtype``; always a new one, since pickles go on to set its state."""
    if not isinstance(kind, str) or not _SIMPLE_TYPE.fullmatch(kind):
        raise pickle.UnpicklingError(f"an array of type {kind!r}")
    return np.dtype(kind, align=False, copy=True)


def make_array(
    shape: tuple[int, ...],
    dtype: np.dtype[Any] | None = None,
    buffer: bytes | bytearray | memoryview | None = None,
    offset: int = 0,
    strides: None = None,
    order: str = "C",
) -> npt.NDArray[Any]:
    """Stand-in for ``numpy.ndarray``: an array over the whole of a buffer, or one without elements."""
    dtype = np.dtype(float) if dtype is None else dtype
    size = _size(shape) * dtype.itemsize
    if offset or strides is not None or dtype.hasobject or size != len(buffer or b""):
        raise pickle.UnpicklingError("an array that does not fit its memory")
    return np.ndarray(
        shape, dtype, bytes(0) if buffer is None else buffer, 0, None, "F" if order == "F" else "C"
    )


def rebuild_array(kind: Any, shape: tuple[int, ...], code: bytes) -> npt.NDArray[Any]:
    """Stand-in for the function that starts a pickled array, empty until its state is set."""
    if kind is not make_array or shape != (0,):
        raise pickle.UnpicklingError("an array of an unknown class")
    array: npt.NDArray[Any] = _reconstruct(np.ndarray, (0,), b"b")
    return array


def check_state(target: Any, state: Any) -> None:
    """Check what a pickle wants to set on an array or a type of elements.

    Raises
    ------
    pickle.UnpicklingError
        If NumPy itself would not have written that.
    """
    if isinstance(target, np.dtype) and not _is_state_of_dtype(target, state):
        raise pickle.UnpicklingError(f"a made-up state of type {target}")
    if isinstance(target, np.ndarray) and not _is_state_of_array(state):
        raise pickle.UnpicklingError("a made-up state of an array")


def _is_state_of_dtype(dtype: np.dtype[Any], state: Any) -> bool:
    if not isinstance(state, tuple) or len(state) != 8:
        return False
    version, order, subtype, names, fields, size, alignment, flags = state
    return (
        version == 3
        and order in ("<", ">", "|", "=")
        and subtype is names is fields is None
        and size in (-1, dtype.itemsize)
        and alignment in (-1, dtype.alignment)
        and flags == (_FLAGS_OF_OBJECTS if dtype.hasobject else np.dtype(dtype.str).flags)
    )


def _is_state_of_array(state: Any) -> bool:
    if not isinstance(state, tuple) or len(state) != 5:
        return False
    _, shape, dtype, _, data = state
    if not isinstance(dtype, np.dtype):
        return False
    if dtype.hasobject:
        # NumPy takes as many objects out of the list as the shape asks for, whether they are there or not.
        return isinstance(data, list) and len(data) == _size(shape)
    return isinstance(data, bytes) and len(data) == _size(shape) * dtype.itemsize


def _size(shape: Any) -> int:
    if not isinstance(shape, tuple) or not all(type(count) is int and count >= 0 for count in shape):
        raise pickle.UnpicklingError(f"an array of shape {shape!r}")
    return math.prod(shape)
