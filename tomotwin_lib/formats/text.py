"""Lines and numbers of text files, with errors that say where."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

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


def read_table(path: str | Path, remedy: str) -> pd.DataFrame:
    """Read columns separated by commas, named in the first line.

    Raises
    ------
    InputError
        If the file cannot be opened, or holds no such table: then with the given remedy.
    """
    try:
        return pd.read_csv(path)
    except OSError as error:
        raise InputError(path, f"it cannot be read ({error.strerror or error})", "Check the path") from error
    except ValueError as error:  # pandas' own errors are of this kind, wrong text as well
        raise InputError(path, f"it is no table ({error})", remedy) from error


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
