"""What has been fetched into a data folder, so that it is not fetched again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from tomotwin_lib.files import md5_of_file, write_json
from tomotwin_lib.published.listing import RemoteFile
from tomotwin_lib.published.placing import differs


@dataclass(frozen=True)
class FetchedFile:
    """A file in the data folder: its path there, its size in bytes, and the MD5 of its content."""

    path: str
    size: int
    md5: str


@dataclass(frozen=True)
class Fetched:
    """Published data in a data folder.

    Attributes
    ----------
    name, record : see :class:`tomotwin_lib.published.records.PublishedData`.
    page, title, licence : see :class:`tomotwin_lib.published.listing.Listing`.
    downloads : the files of the record that were needed.
    files : what became of them in the data folder.
    left_out : files of the record that have no place in a data folder.
    reused : whether all of it was there already.
    """

    name: str
    record: int | str
    page: str
    title: str
    licence: str | None
    downloads: tuple[RemoteFile, ...]
    files: tuple[FetchedFile, ...]
    left_out: tuple[str, ...]
    reused: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files in the data folder."""
        return sum(file.size for file in self.files)

    def folders(self) -> dict[str, int]:
        """Folder in the data folder → how many of the files lie in it."""
        return dict(sorted(Counter(str(Path(file.path).parent) for file in self.files).items()))


def write_receipt(path: Path, fetched: Fetched) -> None:
    """Write down what was fetched, whole or not at all."""
    write_json(path, asdict(fetched), indent=1)


def read_receipt(path: Path) -> Fetched | None:
    """What was fetched; ``None`` where nothing was, or the receipt cannot be read."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        told["downloads"] = tuple(RemoteFile(**file) for file in told["downloads"])
        told["files"] = tuple(FetchedFile(**file) for file in told["files"])
        told["left_out"] = tuple(told["left_out"])
        return Fetched(**told)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_complete(fetched: Fetched, folder: Path) -> bool:
    """Whether all that was fetched is still there.

    Raises
    ------
    InputError
        If a file has been changed: fetching again would end at it.
    """
    complete = True
    for file in fetched.files:
        path = folder / file.path
        if not path.exists():
            complete = False
        elif not path.is_file() or path.stat().st_size != file.size or md5_of_file(path) != file.md5:
            raise differs(path)
    return complete


def fetched_file(path: Path, folder: Path) -> FetchedFile:
    """A file as it lies in the data folder now."""
    return FetchedFile(path.relative_to(folder).as_posix(), path.stat().st_size, md5_of_file(path))
