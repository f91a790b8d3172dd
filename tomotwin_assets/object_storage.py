"""Products in an object store (S3 and its like), of which ``products/`` is a cache on this machine.

A step writes its product to the cache as ever; then it is uploaded. Before a product is read it is fetched,
unless the cache has what the store has. So steps can run on machines that share nothing but the data that the
lab put there, and a machine that is lost takes nothing with it.

Where the store is, says ``products`` in ``tomotwin.toml`` or ``TOMOTWIN_PRODUCTS``, such as ``s3://bucket/prefix``.
Its address and keys come from the environment: ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, or whatever else fsspec reads there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from upath import UPath

from tomotwin_assets.values import read_json
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, write_json

_NOTES = ".fetched"
"""Folder of the cache with a note beside each of its files: which version in the store it is the same as."""


@dataclass(frozen=True)
class ObjectStore:
    """A folder of products, and its counterpart in an object store.

    Attributes
    ----------
    cache : the folder on this machine.
    remote : the same folder in the store; products have the same names in both.
    """

    cache: Path
    remote: UPath

    def put(self, path: Path) -> None:
        """Upload a product, a file or a folder of files.

        A file is there whole or not at all: an object shows when all of it has arrived. Of a folder, files
        that are no longer in the cache are deleted last.
        """
        if path.is_dir():
            names = {file.name for file in _files(path)}
            for name in names:
                self.put(path / name)
            for file in self.list(path):
                if file.name not in names:
                    self.remote.fs.rm_file(self._remote(file))
            return
        self.remote.fs.put_file(str(path), self._remote(path))
        self._note(path, self.remote.fs.info(self._remote(path)))

    def fetch(self, path: Path) -> None:
        """Bring a product, a file or a folder of files, into the cache, unless what is there is the same.

        What the store does not have stays as it is. A file is replaced whole or not at all. In a folder,
        files that were once the store's and are no longer in it are deleted.
        """
        versions = self._versions(path)
        for file, information in versions.items():
            if not self._same(file, information):
                with atomic_path(file) as temporary:
                    self.remote.fs.get_file(self._remote(file), str(temporary))
                self._note(file, information)
        if path.is_dir():
            for file in _files(path, below=True):
                if file not in versions and self._note_of(file).is_file():
                    file.unlink()
                    self._note_of(file).unlink()

    def list(self, path: Path) -> list[Path]:
        """The files that the store has of a product, sorted, as they are called in the cache."""
        return sorted(self._versions(path))

    def _versions(self, path: Path) -> dict[Path, dict[str, Any]]:
        """What the store says of the file ``path``, or of all files below it."""
        where = self._remote(path)
        prefix = self.remote.path.rstrip("/") + "/"
        found: dict[str, dict[str, Any]] = self.remote.fs.find(where, detail=True)
        return {
            self.cache / name.removeprefix(prefix): information
            for name, information in found.items()
            if name.startswith(prefix) and (name == where or name.startswith(f"{where}/"))
        }

    def _remote(self, path: Path) -> str:
        return str((self.remote / path.relative_to(self.cache).as_posix()).path)

    def _same(self, path: Path, information: dict[str, Any]) -> bool:
        """Whether neither side has changed since the two were last the same."""
        note = self._note_of(path)
        return path.is_file() and note.is_file() and read_json(note) == _state(path, information)

    def _note(self, path: Path, information: dict[str, Any]) -> None:
        write_json(self._note_of(path), _state(path, information))

    def _note_of(self, path: Path) -> Path:
        return self.cache / _NOTES / f"{path.relative_to(self.cache).as_posix()}.json"


def object_store(cache: Path, url: str) -> ObjectStore:
    """The store at ``url``, with its cache.

    Raises
    ------
    InputError
        If the address is none, or the package for its kind of store is not installed.
    """
    return ObjectStore(cache, _remote_folder(url))


@lru_cache
def _remote_folder(url: str) -> UPath:
    if "://" not in url:
        raise InputError("products", f"{url!r} is no address of an object store", "Write s3://bucket/prefix")
    try:
        # Others write there too: what was listed a moment ago is no answer.
        folder = UPath(url, use_listings_cache=False)
        folder.fs  # noqa: B018  (here it fails where a package is missing)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"products = {url}",
            f"the object store cannot be used ({error})",
            "Run pip install 'tomotwin-assets[s3]', or correct the address",
        ) from error
    return folder


def _state(path: Path, information: dict[str, Any]) -> dict[str, Any]:
    """What tells whether the file here or the one in the store has changed."""
    version = next(
        (information[name] for name in ("ETag", "etag", "mtime", "created") if name in information), None
    )
    status = path.stat()
    return {
        "version": str(version),
        "bytes_there": information["size"],
        "bytes_here": status.st_size,
        "changed_here": status.st_mtime_ns,
    }


def _files(folder: Path, *, below: bool = False) -> Iterator[Path]:
    """The files of a folder, hidden and unfinished ones left out."""
    found = folder.rglob("*") if below else folder.iterdir()
    return (path for path in found if path.is_file() and not path.name.startswith("."))
