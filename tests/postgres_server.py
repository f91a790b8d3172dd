"""A PostgreSQL server that lives for one test: its own folder, a free port, a socket, a password."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

USER = "dagster"
PASSWORD = "only for tests"
DATABASE = "dagster"
_UNPRIVILEGED = ("postgres", "nobody")
_SECONDS = 60


def programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres`` of the newest version, ``None`` where there is none.

    Debian keeps them out of the search path, one folder a version.
    """
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0))
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).resolve().parent if elsewhere else None


def free_port() -> int:
    """A port on this host that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class PostgresServer:
    """A server that can be stopped and started again, with what it holds.

    Attributes
    ----------
    folder : its data, its socket and its log.
    port : of 127.0.0.1; the same after a restart.
    durable : wait for the disk at each commit, as in earnest. Without, a crash of the server still loses
        nothing; only one of the machine does.
    """

    folder: Path
    binaries: Path
    port: int
    durable: bool = False
    max_connections: int = 200
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What ``deploy/dagster.yaml`` wants to find in the environment."""
        return {
            "DAGSTER_POSTGRES_HOST": "127.0.0.1",
            "DAGSTER_POSTGRES_PORT": str(self.port),
            "DAGSTER_POSTGRES_USER": USER,
            "DAGSTER_POSTGRES_PASSWORD": PASSWORD,
            "DAGSTER_POSTGRES_DB": DATABASE,
        }

    def url(self, database: str = DATABASE) -> str:
        """The address as SQLAlchemy and ``postgres_url`` of Dagster take it.

        With the driver's name: from 2.1 on SQLAlchemy takes another one by default than Dagster brings.
        """
        return f"postgresql+psycopg2://{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises
        ------
        RuntimeError
            If it does not come up; with the end of its log.
        """
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "max_connections": self.max_connections,
            "fsync": "on" if self.durable else "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.folder / "data", *options],
                stdout=log,
                stderr=log,
                **_identity(),
            )
        deadline = time.monotonic() + _SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop("immediate")
                raise RuntimeError(f"PostgreSQL did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast`` closes connections and writes all down, ``immediate`` is like a crash."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self, mode: str = "fast", seconds_away: float = 0.0) -> None:
        """Stop it, leave it away for a while, start it again."""
        self.stop(mode)
        time.sleep(seconds_away)
        self.start()

    def answers(self) -> bool:
        """Whether it takes connections."""
        return self._client("pg_isready", "-q", check=False) == 0

    def create_database(self, name: str) -> None:
        """Make an empty database on the server."""
        self._client("createdb", "-U", USER, name)

    @property
    def log(self) -> Path:
        """The file with all the server said."""
        return self.folder / "postgres.log"

    def _client(self, program: str, *arguments: str, check: bool = True) -> int:
        command = [self.binaries / program, "-h", self.folder, "-p", str(self.port), *arguments]
        return subprocess.run(command, check=check, capture_output=True, timeout=_SECONDS).returncode


@contextmanager
def postgres_server(*, durable: bool = False, max_connections: int = 200) -> Iterator[PostgresServer]:
    """A fresh server with the empty database ``dagster``; gone with all it holds when the block ends.

    Skips the test where PostgreSQL is not installed.
    """
    binaries = programs()
    if binaries is None:
        pytest.skip("no PostgreSQL server here (Debian: apt-get install postgresql)")
    # Not below pytest's own folders: those are closed to the user that the server runs as, and the paths
    # of sockets must be short.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = PostgresServer(folder, binaries, free_port(), durable, max_connections)
    try:
        identity = _identity()
        password = folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        for path in (folder, password):
            if identity:
                os.chown(path, identity["user"], identity["group"])
        options = ["--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale", "-N"]
        subprocess.run(
            [binaries / "initdb", "-D", folder / "data", "-U", USER, f"--pwfile={password}", *options],
            check=True,
            capture_output=True,
            timeout=_SECONDS,
            **identity,
        )
        server.start()
        server.create_database(DATABASE)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _identity() -> dict[str, Any]:
    """Arguments of ``Popen``: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in _UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": "/"}
    pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
