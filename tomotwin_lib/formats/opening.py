"""Opening a file that a user named."""

from __future__ import annotations

import io
from pathlib import Path

from tomotwin_lib.errors import InputError


def open_to_read(path: Path) -> io.BufferedReader:
    """Open a file for reading bytes.

    Raises
    ------
    InputError
        If it is missing, a folder, or may not be read.
    """
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise InputError(path, "there is no such file", "Check the path") from error
    except IsADirectoryError as error:
        raise InputError(path, "it is a folder, not a file", "Give the file in it") from error
    except OSError as error:
        problem = f"it cannot be read ({error.strerror or error})"
        raise InputError(path, problem, "Check the file and its permissions") from error
