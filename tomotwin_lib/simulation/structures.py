"""Files that molecules are read from: density maps and atomic models."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import VOLUME_SUFFIXES
from tomotwin_lib.simulation.molecules import MODEL_SUFFIXES

SUFFIXES = (*VOLUME_SUFFIXES, *MODEL_SUFFIXES, *(f"{suffix}.gz" for suffix in MODEL_SUFFIXES))
"""Ends of the names of maps and models."""


def find_structures(paths: Iterable[str | Path]) -> list[Path]:
    """List maps and models: files as given, and those whose names end like one in given folders.

    Folders are not searched deeper, hidden files are left out, and each file comes once, sorted by name.

    Raises
    ------
    InputError
        If a path does not exist, or a folder holds no map and no model.
    """
    found: set[Path] = set()
    for path in map(Path, paths):
        if path.is_dir():
            inside = [entry for entry in path.iterdir() if _looks_like_structure(entry)]
            if not inside:
                raise InputError(
                    path, f"no map or model ({', '.join(SUFFIXES)}) in this folder", "Give their folder"
                )
            found.update(inside)
        elif path.is_file():
            found.add(path)
        else:
            raise InputError(path, "there is no such file or folder", "Check the path")
    return sorted(found, key=lambda path: (path.name, str(path)))


def _looks_like_structure(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file()
