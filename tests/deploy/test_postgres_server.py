"""The throw-away PostgreSQL of the tests keeps what it holds over a restart."""

from __future__ import annotations

import pytest
import sqlalchemy
from postgres_server import postgres_server

pytestmark = pytest.mark.deploy


def test_what_was_committed_survives_a_restart() -> None:
    with postgres_server() as server:
        engine = sqlalchemy.create_engine(server.url(), poolclass=sqlalchemy.pool.NullPool)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE kept AS SELECT 7 AS number"))
        for mode in ("fast", "immediate"):
            server.restart(mode)
            with engine.begin() as connection:
                assert connection.execute(sqlalchemy.text("SELECT number FROM kept")).scalar() == 7
        server.stop()
        assert not server.answers()
        folder = server.folder
    assert not folder.exists()
