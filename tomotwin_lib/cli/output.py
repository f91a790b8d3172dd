"""What the commands print: where results are, tables, and errors in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import unused_folders_removed

if TYPE_CHECKING:
    from rich.console import Console

EXIT_INPUT = 2
EXIT_INTERRUPTED = 130
# Width where the output goes to a file or a pipe: tables and paths must not be broken at 80 columns there.
_PLAIN_WIDTH = 200


def console(*, stderr: bool = False) -> Console:
    """A console for standard output or error, made when it is needed because tests exchange them."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream, highlight=False, soft_wrap=True, width=None if stream.isatty() else _PLAIN_WIDTH
    )


def say(message: str) -> None:
    """Print one line, taken literally: brackets in paths are no markup."""
    console().print(message, markup=False)


def report_paths(paths: Iterable[Path | str]) -> None:
    """Say which files a command wrote."""
    out = console()
    for path in paths:
        out.print("wrote", style="green", end=" ")
        out.print(str(path), markup=False)


def warn(message: str) -> None:
    """Say on standard error that something is not as the user may expect."""
    err = console(stderr=True)
    err.print("note:", style="yellow", end=" ")
    err.print(_one_line(message), markup=False)


def fail(message: str) -> None:
    """Say in one line on standard error why a command stops."""
    err = console(stderr=True)
    err.print("error:", style="bold red", end=" ")
    err.print(_one_line(message), markup=False)


def print_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]], footer: Sequence[str] = ()
) -> None:
    """Print a table, the first column to the left, the others to the right; the footer in bold."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if footer:
        table.add_section()
        table.add_row(*(Text(cell, style="bold") for cell in footer))
    console().print(table, soft_wrap=False)


def guarded(run: Callable[[], int]) -> int:
    """Run a command and turn what users can put right into one line and an exit code.

    A command that fails leaves no empty folder that it made.

    Returns
    -------
    The command's own code; 2 for unusable input and for what the operating system refuses; 130 after Ctrl-C.
    A programming error stays a traceback.
    """
    try:
        with unused_folders_removed():
            return run()
    except InputError as error:
        fail(str(error))
        return EXIT_INPUT
    except KeyboardInterrupt:
        fail("interrupted; files that were finished before are kept")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`head`) left. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{error.strerror or error}")
        return EXIT_INPUT
    except MemoryError as error:
        fail(f"not enough memory ({error}). Ask for less: a smaller tomogram or batch, a z range, a mask.")
        return EXIT_INPUT
    except RuntimeError as error:
        # PyTorch's own class; naming it would import PyTorch for every command.
        if type(error).__name__ != "OutOfMemoryError":
            raise
        fail("the GPU's memory is exhausted. Use a smaller -b/--batchsize or --device cpu.")
        return EXIT_INPUT


def file_stems(names: Sequence[str]) -> list[str]:
    """File names for references: without ending, and told apart by a number where two would be the same."""
    stems: list[str] = []
    for name in names:
        stem = Path(name).stem or name
        number = 2
        unique = stem
        while unique in stems:
            unique = f"{stem}_{number}"
            number += 1
        stems.append(unique)
    return stems


def number(value: Any, digits: int = 3) -> str:
    """A number for a table: whole ones plain, others rounded, missing ones as a dash."""
    if value is None or value != value:
        return "–"
    if float(value).is_integer() and not isinstance(value, float):
        return f"{int(value):,}"
    return f"{float(value):.{digits}f}"


def _one_line(message: str) -> str:
    return " ".join(message.split())
