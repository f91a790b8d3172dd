"""Opens archives, and archives in archives, without letting anything out of the folder."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from gzip import BadGzipFile
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from tomotwin_lib.errors import InputError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_DEPTH = 3
"""Archives in archives in an archive: deeper ones are left packed."""

_BROKEN = (
    tarfile.ReadError,
    zipfile.BadZipFile,
    BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a packing that zipfile does not know
    RuntimeError,  # a password
)


def is_archive(name: str) -> bool:
    """Whether a file's name says that it is an archive.

    The content is not asked: checkpoints of PyTorch are ZIP files too.
    """
    return name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, *, progress: bool = True, depth: int = _DEPTH) -> None:
    """Unpack an archive into a new folder.

    An archive in it becomes a folder of the same name, such as ``references.zip/1bxn.mrc``.

    Raises
    ------
    InputError
        If it is broken, or an entry would lie outside ``folder``.
    """
    folder.mkdir(parents=True)
    try:
        entries = _unpack_zip if archive.suffix.lower() == ".zip" else _unpack_tar
        with tqdm(desc=f"Unpacking {archive.name}", unit="file", disable=not progress) as bar:
            for _ in entries(archive, folder):
                bar.update()
    except _BROKEN as error:
        raise InputError(
            archive,
            f"the archive cannot be unpacked ({error})",
            "Delete it and fetch it again; if it comes back, tell those who published it",
        ) from error
    if depth > 1:
        for inner in sorted(folder.rglob("*")):
            # A hidden one is what a Mac adds to the archives that it makes.
            if not is_archive(inner.name) or inner.name.startswith(".") or not inner.is_file():
                continue
            unpacked = inner.with_name(f"{inner.name}.unpacked")
            unpack(inner, unpacked, progress=progress, depth=depth - 1)
            inner.unlink()
            unpacked.rename(inner)


def _unpack_tar(archive: Path, folder: Path) -> Iterator[None]:
    with tarfile.open(archive) as tar:
        for member in tar:
            try:
                tar.extract(member, folder, filter="data")
            except tarfile.FilterError as error:
                raise _leaves(archive, member.name) from error
            yield


def _unpack_zip(archive: Path, folder: Path) -> Iterator[None]:
    with zipfile.ZipFile(archive) as zipped:
        # Python would leave out what leads outside and put the entry somewhere else: better none of it.
        for name in zipped.namelist():
            path = PurePosixPath(name.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise _leaves(archive, name)
        for entry in zipped.infolist():
            zipped.extract(entry, folder)
            yield


def _leaves(archive: Path, name: str) -> InputError:
    return InputError(
        archive,
        f"its entry {name!r} would lie outside the folder or is no plain file",
        "Nothing of it was used; tell those who published it",
    )
