"""Pickling frames so that older NumPy and pandas than ours read them.

NumPy names, in the pickle of an array, the function that rebuilds it, and that function has moved: NumPy 1.26
cannot read what NumPy 2 writes, although arrays are the same in both. A pickle that asks for
``numpy.ndarray`` alone is read by every version.
"""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

# The first protocol that writes an array without copying it, and the last that Python has so far.
_PROTOCOL = 5


def dump_frame(frame: pd.DataFrame, stream: BinaryIO) -> None:
    """Pickle a frame of NumPy columns and Python text."""
    _ArrayPickler(stream, protocol=_PROTOCOL).dump(frame)


class _ArrayPickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is not np.ndarray:
            return NotImplemented
        if obj.dtype.hasobject:
            # An empty array, and the state with which NumPy itself fills it.
            return np.ndarray, ((0,),), obj.__reduce__()[2]
        order = "F" if obj.flags.f_contiguous and not obj.flags.c_contiguous else "C"
        memory = np.ascontiguousarray(obj.T if order == "F" else obj)
        if not memory.flags.writeable:
            # It would be read-only for whoever reads it, too.
            memory = memory.copy()
        buffer = pickle.PickleBuffer(memory)  # type: ignore[arg-type]
        return np.ndarray, (obj.shape, obj.dtype, buffer, 0, None, order)
