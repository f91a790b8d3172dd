"""Which failures a second try can mend, and the second try.

A device whose memory another process holds, a file server that does not answer, a full disk or a database
that restarts: waiting helps. A file that is no tomogram, or a mistake in the code, stays what it is, and
fails at once.
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import dagster as dg
import sqlalchemy.exc
import torch

from tomotwin_assets import loaded_networks
from tomotwin_lib.errors import InputError

MAX_RETRIES = 2
SECONDS_TO_WAIT = 30.0
"""A file server that fails over or a database that restarts needs about that."""

_PASSING = {
    errno.EIO: "the file system could not read or write",
    errno.ESTALE: "the file server has lost track of the file",
    errno.ETIMEDOUT: "the file server did not answer in time",
    errno.ENOSPC: "the disk is full",
}

F = TypeVar("F", bound=Callable[..., Any])


def mendable(error: BaseException | None) -> str | None:
    """What is wrong, in a few words, if a second try may mend it; ``None`` if it cannot.

    What an error was raised ``from`` counts as well: an InputError that says that a folder cannot be written
    may stand for a full disk.
    """
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return "the device is out of memory"
        if isinstance(error, OSError) and error.errno in _PASSING:
            return _PASSING[error.errno]
        if isinstance(error, sqlalchemy.exc.DBAPIError) and _connection_lost(error):
            return "the database does not answer"
        error = error.__cause__
    return None


@contextmanager
def second_tries() -> Iterator[None]:
    """Turn failures that a second try may mend into requests for one: up to two more, half a minute apart.

    Raises
    ------
    dagster.RetryRequested
        In place of an error that :func:`mendable` knows; all others pass as they are.
    """
    try:
        yield
    except dg.RetryRequested:
        raise
    except Exception as error:
        if (problem := mendable(error)) is None:
            raise
        if problem == "the device is out of memory":
            loaded_networks.forget()
        raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=SECONDS_TO_WAIT) from error


def with_second_tries(function: F) -> F:
    """Decorator, below ``@dg.asset``: :func:`second_tries` around its body."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        with second_tries():
            return function(*arguments, **named)

    return cast("F", call)


def reason(error: BaseException) -> str:
    """One line on why something failed: the message for the user where there is one."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    for known in links:
        if isinstance(known, InputError):
            return str(known)
    if isinstance(error, dg.RetryRequested) and len(links) > 1:
        return reason(links[1])
    told = links[-1]
    text = str(told).strip().splitlines()
    return f"{type(told).__name__}: {text[0]}" if text else type(told).__name__


def _connection_lost(error: sqlalchemy.exc.DBAPIError) -> bool:
    return error.connection_invalidated or isinstance(
        error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError
    )
