"""Puts files into the data folder: all of them or none, and never over the user's own."""

from __future__ import annotations

import errno
import filecmp
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path


def put_in_place(places: Mapping[PurePosixPath, Path], folder: Path, staging: Path) -> None:
    """Move files to their places in ``folder``; files that are there already with the same content are kept.

    Folders that are new appear in one moment with all their files: a run that is killed leaves no half of a
    training set. If anything fails, all that was moved is moved back.

    Parameters
    ----------
    places : place relative to ``folder`` → the file.
    folder : the data folder.
    staging : a folder inside ``folder`` that does not exist yet.

    Raises
    ------
    InputError
        If something else has one of the places; nothing is moved then.
    """
    moved: list[tuple[Path, Path]] = []
    try:
        for place, source in _without_those_there(places, folder).items():
            staged = staging / place
            staged.parent.mkdir(parents=True, exist_ok=True)
            _move(source, staged, moved)
        if moved:
            _merge(staging, folder, moved)
    except BaseException:
        for source, target in reversed(moved):
            if source.exists():  # it was copied
                target.unlink()
            else:
                target.rename(source)
        raise


def differs(path: Path) -> InputError:
    """The error for a file of the user's that has the place of a published one."""
    return InputError(
        path,
        "there is something else than the published file, and it is not overwritten",
        "Move it away or rename it, and run this again",
    )


def _without_those_there(places: Mapping[PurePosixPath, Path], folder: Path) -> dict[PurePosixPath, Path]:
    new: dict[PurePosixPath, Path] = {}
    for place, source in places.items():
        path = folder / place
        for parent in (folder / above for above in place.parents):
            if parent.exists() and not parent.is_dir():
                raise differs(parent)
        if not path.exists() and not path.is_symlink():
            new[place] = source
        elif not path.is_file() or not (path.samefile(source) or filecmp.cmp(path, source, shallow=False)):
            raise differs(path)
    return new


def _merge(staging: Path, folder: Path, moved: list[tuple[Path, Path]]) -> None:
    """Move what lies in ``staging`` to the same places in ``folder``, new folders as a whole."""
    waiting = list(staging.iterdir())
    while waiting:
        source = waiting.pop()
        target = folder / source.relative_to(staging)
        # Large folders are often links to another disk, to which files are copied.
        if source.is_dir() and not target.exists() and _disk(source) != _disk(target.parent):
            target.mkdir()
        if source.is_dir() and target.is_dir():
            waiting += source.iterdir()
        else:
            _move(source, target, moved)


def _move(source: Path, target: Path, moved: list[tuple[Path, Path]]) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    moved.append((source, target))


def _disk(path: Path) -> int:
    return path.stat().st_dev
