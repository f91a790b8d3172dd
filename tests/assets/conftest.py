"""A tiny data folder, and one run of the whole graph over it that many tests look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.engine import Engine
from tiny_platform import Platform, make_platform


@sqlalchemy.event.listens_for(Engine, "connect")
def do_not_wait_for_the_disk(connection: Any, record: Any) -> None:
    """A history that lives for one test need not survive a power cut; waiting takes most of the time."""
    connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A data folder on which nothing has been run."""
    return make_platform(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A data folder on which the whole graph has been run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        platform = make_platform(tmp_path_factory.mktemp("finished"), monkeypatch)
        assert platform.call("run", "--all") == 0
        yield platform
