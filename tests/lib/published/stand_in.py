"""A server on localhost with small stand-ins for what has been published."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tomotwin_lib.published.records import PUBLISHED, Servers

POSITIONS = b"1avo 10 12 11 0 0 0\n1fzg 31 25 12 0 0 0\n"
BOX_SIZES = b'{"1avo": 18, "1fzg": 28, "VESICLE": null}'


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A ZIP archive of the files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w:gz") -> bytes:
    """A tar archive of the files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


RECORDS: dict[str, dict[str, bytes]] = {
    "training": {
        "training.tar.gz": tarred(
            {"vols/model_0_1AVO_0.mrc": b"t0", "vols/model_1_1FZG_0.mrc": b"t1", "vols/README": b"read"}
        ),
        "validation.tar": tarred({"./model_2_1AVO_0.mrc": b"v0"}, "w"),
        "README.md": b"about",
    },
    "evaluation": {
        "tiltseries_rec.mrc": b"tomogram" * 1000,
        "particle_positions.txt": POSITIONS,
        "references.zip": zipped(
            {
                "gen01_t001_1avo.mrc": b"r0",
                "gen01_t002_1fzg.mrc": b"r1",
                "__MACOSX/._gen01_t001_1avo.mrc": b"",
            }
        ),
    },
    "weights": {"tomotwin_latest.pth": bytes(range(256)) * 4000, "LICENSE": b"text"},
}


class StandIn(ThreadingHTTPServer):
    """The server, with the faults that a test asks for.

    Attributes
    ----------
    records : name of the data → its files.
    asked : path and Range header of each request, in order.
    sends_parts : whether it understands Range.
    cuts : the next answers with content break off after so many bytes.
    statuses : path → the status that is answered with.
    wrong_checksums : files of which the records tell another MD5.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.records = {name: dict(files) for name, files in RECORDS.items()}
        self.box_sizes = BOX_SIZES
        self.asked: list[tuple[str, str | None]] = []
        self.sends_parts = True
        self.cuts: list[int] = []
        self.statuses: dict[str, int] = {}
        self.wrong_checksums: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def servers(self) -> Servers:
        return Servers(zenodo=self.url, github=self.url)

    def downloads(self) -> list[str]:
        """Names of the files that were asked for, records left out."""
        return [path.split("/")[-2] for path, _ in self.asked if path.endswith("/content")]

    def ranges(self) -> list[str | None]:
        """The Range headers of the requests for files."""
        return [asked for path, asked in self.asked if path.endswith("/content")]

    def record(self, number: int) -> dict[str, Any] | None:
        """The answer of Zenodo's REST interface."""
        for name, files in self.records.items():
            if PUBLISHED[name].record == number:
                return {
                    "id": number,
                    "metadata": {"title": f"Stand-in of {name}", "license": {"id": "cc-by-4.0"}},
                    "files": [self._file(number, key, content) for key, content in files.items()],
                }
        return None

    def _file(self, number: int, key: str, content: bytes) -> dict[str, Any]:
        md5 = hashlib.md5(b"other" if key in self.wrong_checksums else content).hexdigest()
        # As a mirror does that repeats what Zenodo says.
        address = f"https://zenodo.org/api/records/{number}/files/{key}/content"
        return {"key": key, "size": len(content), "checksum": f"md5:{md5}", "links": {"self": address}}

    def content(self, path: str) -> bytes | None:
        """What lies at an address."""
        match path.strip("/").split("/"):
            case ["api", "records", number]:
                record = self.record(int(number))
                return None if record is None else json.dumps(record).encode()
            case ["api", "records", number, "files", key, "content"]:
                for name, files in self.records.items():
                    if PUBLISHED[name].record == int(number):
                        return files.get(key)
        return self.box_sizes if path == f"/{PUBLISHED['boxsizes'].record}" else None


class _Answers(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        content = self.server.content(self.path)
        status = self.server.statuses.get(self.path, 404 if content is None else 200)
        if content is None or status != 200:
            self.send_error(status)
            return
        start = 0
        if asked and self.server.sends_parts:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path.endswith("/content") and self.server.cuts:
            body = body[: self.server.cuts.pop(0)]
        with suppress(OSError):  # a client that had enough
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""


def start() -> StandIn:
    """A server that answers."""
    server = StandIn()
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def content(folder: Path) -> dict[str, bytes]:
    """All files of a data folder but the receipts and downloads."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".published" not in path.parts
    }
