"""Long matrices some rows at a time, so that neither copies nor a mapped file fill the memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from tomotwin_lib.products import FloatArray

_BLOCK = 1 << 14  # rows: 2 MiB of 32 channels in float32, which stay in the cache of two cores
_RESIDENT = 1 << 26  # bytes of a mapped file that are read before they are let go of


class MappedFile(mmap.mmap):
    """The bytes of a file as read-only memory; only what is read takes up room.

    Files are replaced here, never written over, so that what is mapped stays as it was.
    """

    def let_go(self) -> None:
        """Give back the memory of what was read; it is read from the file again when it is asked for."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.madvise(mmap.MADV_DONTNEED)


def blocks(count: int, size: int = _BLOCK) -> Iterator[slice]:
    """Slices that cut ``count`` rows into pieces of at most ``size``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def row_blocks(rows: FloatArray) -> Iterator[FloatArray]:
    """Views of some rows at a time, in their order and of their type; see :func:`row_slices`."""
    for block in row_slices(rows):
        yield rows[block]


def row_slices(*arrays: npt.NDArray[Any]) -> Iterator[slice]:
    """Slices that go once through arrays of the same number of rows.

    Of arrays that lie in a :class:`MappedFile` only some rows are in memory at any time.
    """
    files = {id(file): file for file in map(memory_of, arrays) if isinstance(file, MappedFile)}
    # What lies between the rows is read along with them.
    width = sum(abs(array.strides[0]) for array in arrays)
    read = 0
    for block in blocks(len(arrays[0])):
        yield block
        read += width * (block.stop - block.start)
        if read >= _RESIDENT or block.stop == len(arrays[0]):
            for file in files.values():
                file.let_go()
            read = 0


def memory_of(array: npt.NDArray[Any]) -> Any:
    """What holds the elements of an array: the array itself, or what it is a view of in the end."""
    owner: Any = array
    while True:
        below = getattr(owner, "obj" if isinstance(owner, memoryview) else "base", None)
        if below is None:
            return owner
        owner = below
