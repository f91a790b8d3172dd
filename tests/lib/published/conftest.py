"""A server with stand-ins, which every test here fetches from: no test leaves this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stand_in import StandIn, start

from tomotwin_lib.published import transfer
from tomotwin_lib.published.records import GITHUB_VARIABLE, ZENODO_VARIABLE


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The server, which the environment names as Zenodo and GitHub."""
    monkeypatch.setattr(transfer, "PAUSE_IN_SECONDS", 0.0)
    server = start()
    monkeypatch.setenv(ZENODO_VARIABLE, server.url)
    monkeypatch.setenv(GITHUB_VARIABLE, server.url + "/")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "data"
