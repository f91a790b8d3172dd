"""Lines and numbers of text files, with errors that say where."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.opening import open_to_read


def read_lines(path: Path, comments: bool = True) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not empty, stripped, each with its number, counted from 1.

    Parameters
    ----------
    path : a text file in UTF-8.
    comments : whether lines that start with ``#`` are comments, which are skipped.

    Raises
    ------
    InputError
        If the file is missing, a folder, unreadable, or not text.
    """
    with open_to_read(path) as stream:
        raw = stream.read()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(path, "it is not a text file", "Give a plain text file in UTF-8") from error
    for count, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not (comments and stripped.startswith("#")):
            yield count, stripped


def number(path: Path, line: int, text: str) -> float:
    """Convert one field of a file.

    Raises
    ------
    InputError
        If it is no finite number; names the line and the value.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(path, f"'{text}' in line {line} is not a number", "Correct the line")
    return value
