"""The folder of a simulated data set: never overwritten, whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

RECORD = "simulation.json"
"""The file that says what a folder was simulated with; it is written last."""

STAGING = ".simulation-"
"""Start of the name of the folder in which an unfinished data set lies."""


def holds(output: Path, parameters: dict[str, Any]) -> bool:
    """Whether ``output`` holds the data set of these parameters already.

    Raises
    ------
    InputError
        If it holds anything else, or only part of that data set.
    """
    if not output.exists():
        return False
    elsewhere = "Choose another folder, or delete this one"
    if not output.is_dir():
        raise InputError(output, "this is a file, not a folder", "Choose another folder")
    record = output / RECORD
    if not record.exists():
        if any(not path.name.startswith(STAGING) for path in output.iterdir()):
            raise InputError(output, f"the folder is not empty and has no {RECORD}", elsewhere)
        return False
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        made_with, files = dict(found["parameters"]), list(found["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(record, "this is no record of a simulation", elsewhere) from error
    differing = [key for key in parameters if made_with.get(key) != parameters[key]]
    if differing:
        changes = ", ".join(_change(key, made_with.get(key), parameters[key]) for key in differing)
        raise InputError(output, f"the folder holds a data set made with {changes}", elsewhere)
    missing = [name for name in files if not (output / name).is_file()]
    if missing:
        raise InputError(
            output, f"{len(missing)} files of the data set are gone, such as {missing[0]}", elsewhere
        )
    return True


@contextmanager
def staged(output: Path) -> Iterator[Path]:
    """A folder inside ``output`` whose content moves there when the block ends without an error."""
    ensure_writable_folder(output)
    # Inside, not beside: ``output`` may be a disk of its own, and files cannot be renamed across disks.
    staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=output))
    try:
        yield staging
        # The record last: with it the data set counts as whole.
        for path in sorted(staging.iterdir(), key=lambda path: (path.name == RECORD, path.name)):
            path.replace(output / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def model_path(output: Path, name: str, text: str) -> Path:
    """Where a model's configuration, given as JSON, goes in the data set's folder.

    Raises
    ------
    InputError
        If the name cannot be used or another configuration has it already.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or name.startswith("."):
        raise InputError("model name", f"{name!r} cannot be used", "Use letters, digits, '.', '_' and '-'")
    path = output / "models" / f"{name}.json"
    if path.exists():
        try:
            same = json.loads(path.read_text(encoding="utf-8")) == json.loads(text)
        except ValueError:
            same = False
        if not same:
            raise InputError(path, "another model of this name is there", "Choose another name")
    return path


def _change(key: str, found: Any, asked: Any) -> str:
    name, there, here = key.replace("_", " "), _text(found), _text(asked)
    return f"{name} {there}, of another content" if there == here else f"{name} {there} instead of {here}"


def _text(value: Any) -> str:
    """A parameter as a person would write it; a structure, which is its file's name and MD5, by its name."""
    if isinstance(value, list | tuple):
        names = [one[0] if isinstance(one, list | tuple) else one for one in value]
        return " ".join(map(_text, names)) or "none"
    return "none" if value is None else str(value)
