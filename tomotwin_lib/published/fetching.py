"""Fetches published data into a data folder, from the server to the place where the platform reads it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pooch

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder, locked
from tomotwin_lib.formats.ground_truth import read_box_sizes
from tomotwin_lib.published.layout import Item, arrange, destination
from tomotwin_lib.published.listing import Listing, RemoteFile, list_files, size_text
from tomotwin_lib.published.placing import differs, put_in_place
from tomotwin_lib.published.receipts import Fetched, fetched_file, is_complete, read_receipt, write_receipt
from tomotwin_lib.published.records import BOX_SIZES, GITHUB_VARIABLE, PublishedData, Servers, published
from tomotwin_lib.published.transfer import download, part_path
from tomotwin_lib.published.unpacking import is_archive, unpack

WORKSPACE = ".published"
"""Folder in the data folder with receipts, unfinished downloads and what is being unpacked."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


def fetch(
    name: str,
    folder: str | Path,
    *,
    servers: Servers | None = None,
    progress: bool = True,
    tell: Callable[[str], None] = lambda line: None,
) -> Fetched:
    """Fetch published data into a data folder, or find it there.

    What was interrupted is gone on with. What was fetched before and is unchanged is not fetched again, and
    takes no network. Files of the user's are never overwritten. If anything fails, the data folder stays as
    it was; what has arrived is kept in its ``.published/`` for the next time.

    Parameters
    ----------
    name : one of ``tomotwin_lib.published.records.PUBLISHED``.
    folder : the data folder, made if it is not there.
    servers : where to fetch from; what the environment says by default.
    progress : show bars.
    tell : is given a line that says what will be downloaded, and how large it is.

    Raises
    ------
    InputError
        If there is no such data, the server cannot be reached or sends something else than was published,
        there is not enough room, or a file of the user's is in the way.
    """
    data = published(name)
    folder = ensure_writable_folder(folder).resolve()
    with (
        _explained(folder),
        # A second one would write into the same unfinished downloads.
        locked(ensure_writable_folder(folder / WORKSPACE) / "lock", "something else is being fetched here"),
    ):
        receipt = folder / WORKSPACE / f"{name}.json"
        known = read_receipt(receipt)
        if known is not None and known.record == data.record and is_complete(known, folder):
            return replace(known, reused=True)
        listing = list_files(data, servers or Servers.from_environment())
        work = folder / WORKSPACE / name
        with _room_to_unpack(work) as unpacked:
            fetched = _fetch(data, listing, folder, unpacked, progress, tell)
        write_receipt(receipt, fetched)
        # Archives are needed until everything has its place: then they are as large again for nothing.
        shutil.rmtree(work, ignore_errors=True)
    return fetched


def _fetch(
    data: PublishedData,
    listing: Listing,
    folder: Path,
    unpacked: Path,
    progress: bool,
    tell: Callable[[str], None],
) -> Fetched:
    downloads = ensure_writable_folder(unpacked.with_name("downloads"))
    needed, left_out, there = _what_is_needed(data, listing, folder)
    missing = [file for file in needed if file not in there]
    if missing:
        tell(f"{data.name}: {_size_of(missing)} to download from {listing.page}")
    _require_room(missing, downloads, folder)
    items = [Item((file.name,), path) for file, path in there.items()]
    # All of them first: what is unpacked does not outlive an interruption, what is downloaded does.
    arrived = {file: download(file, downloads, progress=progress) for file in missing}
    for file, path in arrived.items():
        items += _opened(file, path, unpacked / file.name, progress)
        if data.name == BOX_SIZES:
            _require_box_sizes(file, path)
    places, without_place = arrange(data.name, items)
    if not places:
        raise InputError(
            listing.page,
            "the record holds nothing that belongs into a data folder",
            f"Look at it in a browser; what was downloaded lies in {downloads}",
        )
    put_in_place(places, folder, unpacked.with_name("arranged"))
    return Fetched(
        name=data.name,
        record=data.record,
        page=listing.page,
        title=listing.title,
        licence=listing.licence,
        downloads=tuple(needed),
        files=tuple(fetched_file(folder / path, folder) for path in sorted(places)),
        left_out=(*left_out, *without_place),
    )


def _what_is_needed(
    data: PublishedData, listing: Listing, folder: Path
) -> tuple[list[RemoteFile], list[str], dict[RemoteFile, Path]]:
    """Files of a record to be used, names of the others, and which of the first are in their place already.

    Raises
    ------
    InputError
        If the user has another file in the place of one: better now than after a long download.
    """
    needed, left_out = [], []
    there: dict[RemoteFile, Path] = {}
    for file in listing.files:
        if is_archive(file.name):
            needed.append(file)
            continue
        place = destination(data.name, (file.name,))
        if place is None:
            left_out.append(file.name)
            continue
        needed.append(file)
        # Positions are named after a tomogram that may lie in an archive: they are compared afterwards.
        if file.checksum is not None and place.suffix.lower() != ".txt" and (folder / place).exists():
            if not _is(folder / place, file):
                raise differs(folder / place)
            there[file] = folder / place
    return needed, left_out, there


def _is(path: Path, file: RemoteFile) -> bool:
    """Whether ``path`` holds what was published."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    algorithm, _, digest = str(file.checksum).partition(":")
    return bool(pooch.file_hash(path, alg=algorithm) == digest)


def _require_box_sizes(file: RemoteFile, path: Path) -> None:
    """Refuse what is no table of box sizes: without a checksum, any page would pass for it."""
    try:
        read_box_sizes(path)
    except InputError as error:
        raise InputError(
            file.url,
            f"what arrived holds no box sizes ({error.problem})",
            f"Check that {GITHUB_VARIABLE} names GitHub's server of plain files or a mirror of it",
        ) from error


def _opened(file: RemoteFile, path: Path, into: Path, progress: bool) -> list[Item]:
    """A downloaded file, or those in it where it is an archive."""
    if not is_archive(file.name):
        return [Item((file.name,), path)]
    unpack(path, into, progress=progress)
    return [
        Item((file.name, *inner.relative_to(into).parts), inner)
        for inner in into.rglob("*")
        # A link would point nowhere once it has been moved.
        if inner.is_file() and not inner.is_symlink()
    ]


def _require_room(files: list[RemoteFile], downloads: Path, folder: Path) -> None:
    """Refuse a download that the disk cannot take, with archives beside what comes out of them."""
    needed = 0
    for file in files:
        arrived = [
            path.stat().st_size
            for path in (downloads / file.name, part_path(file, downloads))
            if path.exists()
        ]
        size = file.size or 0
        needed += max(0, size - max(arrived, default=0)) + (size if is_archive(file.name) else 0)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            folder,
            f"at least {size_text(needed)} are needed, {size_text(free)} are free on this disk",
            "Make room, or choose a data folder on another disk",
        )


def _size_of(files: list[RemoteFile]) -> str:
    sizes = [file.size for file in files]
    return "a file" if None in sizes else size_text(sum(size for size in sizes if size is not None))


@contextmanager
def _room_to_unpack(work: Path) -> Iterator[Path]:
    """A folder to unpack in; what is left in it is deleted, also what a killed run left."""
    leftovers = [work / "unpacked", work / "arranged"]
    try:
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)
        yield leftovers[0]
    finally:
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """What the operating system refuses, in words for the user."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        raise InputError(
            error.filename or folder,
            "the disk is full" if full else f"it cannot be read or written ({error.strerror or error})",
            "Make room and run this again, which goes on where it stopped"
            if full
            else "Check the folder and its permissions, and run this again",
        ) from error
