"""Downloads one file: resumed where it was interrupted, checked by its checksum."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import pooch
import requests
from tqdm import tqdm

from tomotwin_lib.errors import InputError
from tomotwin_lib.published.listing import RemoteFile
from tomotwin_lib.published.network import get, unreachable

PAUSE_IN_SECONDS = 1.0
"""Before a connection that broke off is taken up again."""

# A block that has not come whole when a connection breaks off is lost.
_BLOCK_BYTES = 2**16


def download(file: RemoteFile, folder: Path, *, progress: bool = True) -> Path:
    """Download a file into ``folder``, where there is none with the right checksum yet.

    What has arrived lies in ``<name>.part`` and is gone on with, after an error and in another run. A file
    without a published checksum is always downloaded anew.

    Raises
    ------
    InputError
        If the server cannot be reached, or what it sends has another checksum than was published.
    """
    folder = folder.resolve()
    part = part_path(file, folder)
    if file.checksum is None:
        for old in (part, folder / file.name):
            old.unlink(missing_ok=True)
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        path = pooch.retrieve(
            file.url,
            known_hash=file.checksum,
            fname=file.name,
            path=folder,
            downloader=ResumingDownloader(part, file.size, progress=progress),
        )
    except InputError:
        raise
    except ValueError as error:
        # The whole of it is wrong: there is nothing to go on with.
        part.unlink(missing_ok=True)
        raise InputError(
            file.url,
            f"what arrived has another checksum than the published {file.checksum}; it was deleted",
            "Run this again; if it comes back, tell those who published the record",
        ) from error
    part.unlink(missing_ok=True)
    return Path(path)


def part_path(file: RemoteFile, folder: Path) -> Path:
    """Where the beginning of an unfinished download lies."""
    return folder / f"{file.name}.part"


class ResumingDownloader:
    """A downloader for pooch, whose own ones begin at the first byte each time.

    Parameters
    ----------
    part : the file that collects what arrives; what is there already is not asked for again.
    size : bytes of the whole, where known.
    progress : show a bar.
    """

    def __init__(self, part: Path, size: int | None, *, progress: bool) -> None:
        self.part = part
        self.size = size
        self.progress = progress

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Download ``url`` and give it the name ``output_file``.

        Raises
        ------
        InputError
            If the server cannot be reached, refuses, or an attempt brought nothing more.
        """
        while self.size is None or self._arrived() != self.size:
            before = self._arrived()
            try:
                self._receive(url)
            except requests.RequestException as error:
                # As long as attempts get further, a long download is worth another one.
                if self._arrived() <= before:
                    raise unreachable(url, error) from error
                time.sleep(PAUSE_IN_SECONDS)
            else:
                break
        self._hand_over(Path(output_file))

    def _receive(self, url: str) -> None:
        """Receive what is missing, or everything where the server cannot send a part."""
        arrived = self._arrived()
        # Packed on the way, bytes could not be counted.
        headers = {"Accept-Encoding": "identity"}
        if arrived:
            headers["Range"] = f"bytes={arrived}-"
        with get(url, headers) as response:
            sent = response.headers.get("Content-Range", "")
            resumed = response.status_code == requests.codes.partial and sent.startswith(f"bytes {arrived}-")
            if not resumed and response.status_code != requests.codes.ok:
                # Another part than was asked for, or none: what is here cannot be gone on with.
                self.part.unlink(missing_ok=True)
                if not arrived:
                    raise requests.ConnectionError(f"HTTP {response.status_code}")
                return self._receive(url)
            with (
                self.part.open("ab" if resumed else "wb") as stream,
                tqdm(
                    desc=self.part.stem,
                    total=self.size,
                    initial=arrived if resumed else 0,
                    unit="B",
                    unit_scale=True,
                    disable=not self.progress,
                ) as bar,
            ):
                for block in response.iter_content(_BLOCK_BYTES):
                    stream.write(block)
                    bar.update(len(block))
                    if self.size is not None and stream.tell() > self.size:
                        break  # the checksum will tell
                received = stream.tell()
        if self.size is not None and received < self.size:
            raise requests.ConnectionError("the answer ended early")
        return None

    def _arrived(self) -> int:
        size = self.part.stat().st_size if self.part.exists() else 0
        if self.size is not None and size > self.size:
            self.part.unlink()
            return 0
        return size

    def _hand_over(self, output: Path) -> None:
        """Give what arrived to pooch, and keep it: an interruption of the check must not cost it."""
        self.part.touch()  # nothing arrives of an empty file
        output.unlink(missing_ok=True)
        try:
            os.link(self.part, output)
        except OSError:  # not every file system has links
            self.part.replace(output)
