"""Which files a record holds, with sizes and checksums, as its server tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

from tomotwin_lib.errors import InputError
from tomotwin_lib.published.network import get, unreachable
from tomotwin_lib.published.records import ZENODO, ZENODO_VARIABLE, PublishedData, Servers

_UNITS = ("kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server.

    Attributes
    ----------
    size : in bytes; ``None`` where the server does not tell beforehand.
    checksum : such as ``md5:<hex>``; ``None`` where none is published.
    """

    name: str
    url: str
    size: int | None
    checksum: str | None


@dataclass(frozen=True)
class Listing:
    """What a record holds.

    Attributes
    ----------
    page : address for people.
    licence : identifier such as ``cc-by-4.0``; ``None`` where the server tells none.
    """

    page: str
    title: str
    licence: str | None
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int | None:
        """Bytes of all files; ``None`` where the server does not tell."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def list_files(data: PublishedData, servers: Servers) -> Listing:
    """Ask the server what a record holds; for a single file, nothing is asked.

    Raises
    ------
    InputError
        If the server cannot be reached, has no such record, or its answer is not understood.
    """
    if isinstance(data.record, str):
        url = f"{servers.github}/{data.record}"
        return Listing(url, data.what, None, (RemoteFile(url.rsplit("/", 1)[-1], url, None, None),))
    url = f"{servers.zenodo}/api/records/{data.record}"
    record = _read_json(url)
    try:
        described = record["metadata"]
        # Old records have their licence as text, others have none.
        licence = described.get("license")
        return Listing(
            page=f"{servers.zenodo}/records/{data.record}",
            title=str(described["title"]),
            licence=str(licence["id"] if isinstance(licence, dict) else licence) if licence else None,
            files=tuple(_remote_file(url, file, servers) for file in record["files"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise _not_understood(url) from error


def size_text(size: int | None) -> str:
    """A number of bytes as people write it; a dash where it is not known."""
    if size is None:
        return "–"
    number, power = float(size), 0
    while number >= 999.95 and power < len(_UNITS):
        number, power = number / 1000, power + 1
    return f"{number:.1f} {_UNITS[power - 1]}" if power else f"{size} B"


def _read_json(url: str) -> dict[str, Any]:
    try:
        with get(url, {"Accept": "application/json"}) as response:
            record = response.json()
    except requests.JSONDecodeError as error:
        raise _not_understood(url) from error
    except requests.RequestException as error:
        raise unreachable(url, error) from error
    if not isinstance(record, dict):
        raise _not_understood(url)
    return record


def _remote_file(url: str, file: dict[str, Any], servers: Servers) -> RemoteFile:
    name, address, size = str(file["key"]), str(file["links"]["self"]), int(file["size"])
    checksum = str(file["checksum"])
    if name in ("", ".", "..") or "/" in name or "\\" in name or size < 0 or ":" not in checksum:
        raise _not_understood(url)
    # A mirror may repeat what the original says, addresses included.
    return RemoteFile(name, address.replace(f"{ZENODO}/", f"{servers.zenodo}/", 1), size, checksum)


def _not_understood(url: str) -> InputError:
    return InputError(
        url,
        "the answer is no list of files with sizes and checksums",
        f"Check that {ZENODO_VARIABLE} names Zenodo or a mirror of it, and the record in a browser",
    )
