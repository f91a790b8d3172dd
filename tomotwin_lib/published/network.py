"""Asking a server, and saying in one line why it did not answer."""

from __future__ import annotations

from collections.abc import Mapping

import requests

import tomotwin_lib
from tomotwin_lib.errors import InputError
from tomotwin_lib.published.records import GITHUB_VARIABLE, ZENODO_VARIABLE

TIMEOUT_IN_SECONDS = (10.0, 60.0)
"""For the connection, and for each piece of the answer."""

RANGE_REFUSED = 416

# By name and for the innermost cause: requests wraps the errors of urllib3, which differ between versions.
_REASONS = {
    "NameResolutionError": "the server's name cannot be resolved",
    "ConnectTimeout": "the server does not answer",
    "ConnectTimeoutError": "the server does not answer",
    "ReadTimeout": "the server does not answer any more",
    "ReadTimeoutError": "the server does not answer any more",
    "SSLError": "the server's certificate cannot be trusted",
    "ProxyError": "the proxy cannot be reached",
    "NewConnectionError": "the server cannot be reached",
    "InvalidURL": "this is no address of a server",
    "InvalidSchema": "this is no address of a server",
    "MissingSchema": "this is no address of a server",
}


def get(url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
    """Ask for ``url``; the content has yet to be read, and the response to be closed.

    Returns
    -------
    A successful response, or one with status 416 where a range was asked for that is not there.

    Raises
    ------
    InputError
        If the server cannot be reached, or answers with an error.
    """
    told = {"User-Agent": f"tomotwin/{tomotwin_lib.__version__}", **(headers or {})}
    try:
        response = requests.get(url, headers=told, stream=True, timeout=TIMEOUT_IN_SECONDS)
    except requests.RequestException as error:
        raise unreachable(url, error) from error
    if response.ok or response.status_code == RANGE_REFUSED:
        return response
    response.close()
    raise _refused(url, response.status_code)


def unreachable(url: str, error: requests.RequestException) -> InputError:
    """The error that tells why a server could not be reached or did not go on."""
    return InputError(
        url,
        _reason(error),
        f"Check the network and run this again, which goes on where it stopped; {ZENODO_VARIABLE} and "
        f"{GITHUB_VARIABLE} can name mirrors",
    )


def _reason(error: requests.RequestException) -> str:
    cause = error.args[0] if error.args else error
    for link in (getattr(cause, "reason", cause), error):
        for kind in type(link).__mro__:
            if kind.__name__ in _REASONS:
                return _REASONS[kind.__name__]
    return "the connection broke off"


def _refused(url: str, status: int) -> InputError:
    if status in (404, 410):
        return InputError(
            url,
            f"there is nothing at this address (HTTP {status})",
            f"Look for the record in a browser; {ZENODO_VARIABLE} and {GITHUB_VARIABLE} must name its server",
        )
    if status == 429 or status >= 500:
        return InputError(
            url,
            f"the server is busy or out of order (HTTP {status})",
            "Run this again later, which goes on where it stopped",
        )
    return InputError(url, f"the server refuses it (HTTP {status})", "See in a browser whether it is open")
