"""Reading pickled frames without running what they ask for.

A pickle is a program: to unpickle it is to call whatever it names. The frame files of TomoTwin are pickles,
so they are read by an unpickler that knows the few classes and functions of pandas and NumPy which frames
consist of, by their full names, and refuses a file at the first other one.
"""

from __future__ import annotations

import io
import mmap
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from pandas._libs.internals import _unpickle_block  # type: ignore[import-not-found]
from pandas.core.indexes.base import _new_Index  # type: ignore[attr-defined]
from pandas.core.internals.managers import BlockManager  # type: ignore[import-not-found]

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats import safe_arrays, safe_text
from tomotwin_lib.formats.opening import open_to_read
from tomotwin_lib.rows import MappedFile

# Bytes from which on the memory of an array is not copied out of its file.
_WORTH_MAPPING = 1 << 20

# Where an MRC file says that it is one.
_WORD_IN_HEADER = slice(208, 211)

# Older versions of pandas do not show it.
_ArrowStringArray: Any = getattr(pd.arrays, "ArrowStringArray", None)


def _latin1(text: str, encoding: str) -> bytes:
    """Stand-in for ``_codecs.encode``, by which old pickle protocols spell bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes spelt in {encoding}")
    return text.encode("latin1")


def _allowed_globals() -> dict[tuple[str, str], Any]:
    """What a frame file may name, by the exact module and name, and what it gets for it."""
    allowed: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): safe_arrays.make_array,
        ("numpy", "dtype"): safe_arrays.make_dtype,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _latin1,
        ("pandas._libs.internals", "_unpickle_block"): _unpickle_block,
        ("pandas.core.internals.blocks", "new_block"): _unpickle_block,  # pandas 1.3 and older
        ("pandas.core.internals.managers", "BlockManager"): BlockManager,
        ("pandas.core.indexes.base", "_new_Index"): _new_Index,
        ("pandas.core.frame", "DataFrame"): pd.DataFrame,
        ("pandas.core.indexes.base", "Index"): pd.Index,
        ("pandas.core.indexes.range", "RangeIndex"): pd.RangeIndex,
        # pandas 1 had an index class for each type of number.
        ("pandas.core.indexes.numeric", "Int64Index"): pd.Index,
        ("pandas.core.indexes.numeric", "UInt64Index"): pd.Index,
        ("pandas.core.indexes.numeric", "Float64Index"): pd.Index,
        # The text columns of pandas 3, with and without pyarrow.
        ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): safe_text.empty_text_array,
        ("pandas._libs.missing", "NA"): pd.NA,
        ("pandas", "NA"): pd.NA,
        ("pandas.core.arrays.string_", "StringDtype"): pd.StringDtype,
        ("pandas.core.arrays.string_", "StringArray"): safe_text.empty_text_array,
        ("pandas.arrays", "StringArray"): safe_text.empty_text_array,
        ("pandas.core.arrays.string_arrow", "ArrowStringArray"): _ArrowStringArray,
        ("pandas.arrays", "ArrowStringArray"): _ArrowStringArray,
        ("pyarrow.lib", "_restore_array"): safe_text.arrow_array,
        ("pyarrow.lib", "type_for_alias"): safe_text.arrow_type,
        ("pyarrow.lib", "py_buffer"): safe_text.arrow_buffer,
    }
    for name in ("DataFrame", "Index", "RangeIndex", "StringDtype"):
        allowed["pandas", name] = getattr(pd, name)
    for core in ("numpy.core", "numpy._core"):  # NumPy 1 and NumPy 2
        allowed[f"{core}.multiarray", "_reconstruct"] = safe_arrays.rebuild_array
        allowed[f"{core}.multiarray", "scalar"] = safe_arrays.rebuild_scalar
        allowed[f"{core}.numeric", "_frombuffer"] = safe_arrays.rebuild_from_buffer
    for builtins in ("builtins", "__builtin__"):  # Python 3 and the spelling of old protocols
        for harmless in (slice, set, frozenset, bytes, bytearray):
            allowed[builtins, harmless.__name__] = harmless
    return {key: value for key, value in allowed.items() if value is not None}


_ALLOWED = _allowed_globals()

# Whose pickles make them first and set their state then.
_WITH_STATE: tuple[type, ...] = (pd.DataFrame, BlockManager, np.ndarray, np.dtype, pd.arrays.StringArray)
if _ArrowStringArray is not None:
    _WITH_STATE = (*_WITH_STATE, _ArrowStringArray)


# The unpickler written in C does not let a subclass see what a pickle sets on an object that it already has.
class _FrameUnpickler(pickle._Unpickler):
    dispatch = pickle._Unpickler.dispatch.copy()
    stack: list[Any]
    append: Any
    read: Any
    readinto: Any

    def __init__(self, stream: BinaryIO, source: Path) -> None:
        super().__init__(stream)
        self._stream = stream
        self._source = source
        self._file: MappedFile | None = None

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise InputError(
                self._source,
                f"its pickle asks for '{module}.{name}', which no frame of TomoTwin needs; nothing was run",
                "Do not open this file by other means either; get it again from whoever made it",
            ) from None

    def load_build(self) -> None:
        # Set on a class or function, state would change it for the whole process.
        target = self.stack[-2]
        if not isinstance(target, _WITH_STATE):
            raise InputError(
                self._source,
                f"its pickle sets the state of a {type(target).__name__}, as no frame does; nothing was run",
                "Do not open this file by other means either; get it again from whoever made it",
            )
        safe_arrays.check_state(target, self.stack[-1])
        super().load_build()  # type: ignore[misc]

    dispatch[pickle.BUILD[0]] = load_build  # type: ignore[assignment]

    def load_bytearray8(self) -> None:
        # The memory of an array: where it is long, not a copy of the file's bytes but these bytes themselves.
        length = int.from_bytes(self.read(8), "little")
        within_frame = self._unframer.current_frame is not None  # type: ignore[attr-defined]
        memory = None if within_frame or length < _WORTH_MAPPING else self._mapped(length)
        if memory is None:
            memory = bytearray(length)
            self.readinto(memory)
        self.append(memory)

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8  # type: ignore[assignment]

    def _mapped(self, length: int) -> Any:
        """The file's next bytes as read-only memory, and the stream behind them; ``None`` if it cannot be."""
        try:
            start = self._stream.tell()
            if self._file is None:
                self._file = MappedFile(self._stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # a pipe, or a file system without such memory
            return None
        if length > len(self._file) - start:
            raise EOFError("Ran out of input")
        self._stream.seek(start + length)
        return memoryview(self._file)[start : start + length]


def load_frame(path: str | Path) -> pd.DataFrame:
    """Unpickle a frame, by whatever version of pandas and NumPy, if it asks for nothing but parts of frames.

    Long columns stay in the file (:class:`~tomotwin_lib.rows.MappedFile`) and are read-only.

    Raises
    ------
    InputError
        If the file is missing, a folder, empty, truncated, not a pickle, asks for anything that frames do not
        consist of, or holds something that is not a frame.
    """
    path = Path(path)
    with open_to_read(path) as stream:
        frame = _load(stream, path)
    if not _is_sound(frame):
        raise InputError(
            path,
            f"it holds no table but something else ({type(frame).__name__})",
            "Give a .temb, .tmap, .tloc or .tumap file",
        )
    return frame


def _load(stream: io.BufferedReader, path: Path) -> Any:
    header = stream.peek(_WORD_IN_HEADER.stop)[: _WORD_IN_HEADER.stop]
    start = header[:2]
    if not start:
        raise InputError(path, "the file is empty (0 bytes)", "Make it again")
    if start == b"\x1f\x8b":
        raise InputError(path, "it is packed with gzip, which is not read", "Unpack it first")
    try:
        return _FrameUnpickler(stream, path).load()
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way that its opcodes can
        if header[_WORD_IN_HEADER] == b"MAP":
            raise InputError(
                path,
                "it is no frame file, but an MRC volume",
                "Give a .temb, .tmap, .tloc or .tumap file; `tomotwin embed` makes the first of a volume",
            ) from error
        # A lookup that fails names a byte, which tells nobody anything.
        detail = "" if isinstance(error, KeyError) else f" ({type(error).__name__}: {error})"
        raise InputError(
            path,
            f"it is no frame file, or it is truncated or damaged{detail}",
            "Copy or make it again",
        ) from error


def _is_sound(frame: Any) -> bool:
    """Whether this is a frame whose parts fit together; a made-up one may lack its inside."""
    if type(frame) is not pd.DataFrame:
        return False
    try:
        # pandas checks lengths, but not that each column lies in one block, and reads where it is told to.
        manager: Any = frame._mgr
        manager._verify_integrity()
        places = [block.mgr_locs.as_array for block in manager.blocks]
        covered = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *places]))
        values: list[Any] = [frame.index, frame.columns, *(block.values for block in manager.blocks)]
        for value in values:
            # Of a range, which was checked when it was made, pandas would make an array and keep it.
            if not isinstance(value, pd.RangeIndex):
                np.asarray(value)
        return isinstance(frame.attrs, dict) and np.array_equal(covered, np.arange(len(frame.columns)))
    except Exception:
        return False
