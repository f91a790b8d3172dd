"""Files written whole or not at all, and their fingerprints."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tomotwin_lib.errors import InputError

# Folders that were made, outermost first, while somebody wants to know; else nothing is remembered.
_made: list[Path] | None = None


@contextmanager
def unused_folders_removed() -> Iterator[None]:
    """Where the block ends with an error, remove the folders made in it that are still empty.

    They are those that :func:`ensure_writable_folder` made, parents included, in this process. What was there
    before, or holds anything, stays.
    """
    global _made
    outer, _made = _made, []
    try:
        yield
    except BaseException:
        for folder in reversed(_made):
            with suppress(OSError):  # It holds something, or is gone.
                folder.rmdir()
        raise
    finally:
        _made = outer


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its name when the block ends without an error.

    A run that is killed leaves the old file or none, never half of one.

    Raises
    ------
    InputError
        If the folder cannot be made or written to.
    """
    path = Path(path)
    ensure_writable_folder(path.parent)
    # mkstemp would make the file readable by its owner only; a product follows the umask like any other file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def ensure_writable_folder(folder: str | Path) -> Path:
    """Make ``folder`` if it is not there and check, before any long work, that files can be written in it.

    Raises
    ------
    InputError
        If ``folder`` is a file, cannot be made, or refuses a new file.
    """
    folder = Path(folder)
    try:
        if _made is not None:
            _made.extend(_missing(folder.absolute()))
        folder.mkdir(parents=True, exist_ok=True)
        # os.access is no proof on network file systems and always says yes to root.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError as error:
        raise InputError(
            folder, "it is a file: an output folder cannot be written there", "Give a folder"
        ) from error
    except OSError as error:
        raise InputError(
            folder,
            f"the output folder cannot be written ({error.strerror or error})",
            "Choose another folder or change its permissions",
        ) from error
    return folder


def _missing(folder: Path) -> list[Path]:
    """The folder and its parents, outermost first, as far as they are not there."""
    return [one for one in (*reversed(folder.parents), folder) if not one.exists()]


@contextmanager
def locked(path: Path, problem: str) -> Iterator[None]:
    """Keep other processes out while the block runs; the system lifts the lock when a process dies.

    Raises
    ------
    InputError
        If another process has the lock: names the folder of ``path``, and says ``problem``.
    """
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(path.parent, problem, "Wait until it has finished, or stop it") from error
        yield


def replace_folder(new: Path, old: Path) -> None:
    """Give the folder ``new`` the name ``old``; what had it is deleted once that is done.

    Both lie in the same folder.
    """
    aside = old.with_name(f".{old.name}.{os.getpid()}.old")
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)


def write_json(path: str | Path, content: Any, indent: int = 2) -> None:
    """Write JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")


def md5_of_file(path: str | Path) -> str:
    """MD5 of a file's content: TomoTwin identifies checkpoints by it (``modelmd5``)."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def sha256_of_file(path: str | Path) -> str:
    """SHA-256 of a file's content."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
