"""Steps of one graph computed by two workers of Celery, which take them from Redis."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from assets.tiny_platform import write_data_folder
from dagster._core.instance.ref import InstanceRef
from facility import Facility, facility, process, wait_until
from postgres_server import free_port, postgres_server

from tomotwin_assets.executors import BACKEND_VARIABLE, BROKER_VARIABLE, EXECUTOR_VARIABLE

pytestmark = pytest.mark.deploy
WORKERS = ("first", "second")


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis server that keeps nothing; its address without the number of the database."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no Redis server here (Debian: apt-get install redis-server)")
    port = str(free_port())
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with process([program, *options, "--dir", str(folder)], {}, folder / "redis.log"):
        ask = ["redis-cli", "-p", port, "ping"]
        wait_until(lambda: subprocess.run(ask, capture_output=True).stdout == b"PONG\n", "Redis", 30)
        yield f"redis://127.0.0.1:{port}"


def workers(platform: Facility) -> dict[str, str]:
    """Step → the worker that computed it (the last one of that name), as the history tells."""
    found: dict[str, str] = {}
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(platform.folder / "home"))) as instance:
        for record in instance.get_run_records():
            for entry in instance.all_logs(record.dagster_run.run_id):
                event = entry.dagster_event
                if event is None or event.step_key is None or not event.is_engine_event:
                    continue
                if told := event.engine_event_data.metadata.get("Celery worker"):
                    found[event.step_key] = str(told.value)
    return found


def test_two_workers_share_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dagster_celery", reason="make install-services")
    data = write_data_folder(tmp_path / "data")
    with postgres_server() as postgres, redis_server(tmp_path) as redis:
        extra = {EXECUTOR_VARIABLE: "celery", BROKER_VARIABLE: f"{redis}/0", BACKEND_VARIABLE: f"{redis}/1"}
        for name, value in {**postgres.environment, **extra}.items():
            monkeypatch.setenv(name, value)
        with facility(tmp_path, data, postgres, extra) as platform:
            for name in WORKERS:
                platform.start_worker(name)
            platform.run_graph("net", ["one", "two"])
            steps = workers(platform)
    assert (data / "products" / "picked_coordinates" / "net" / "two" / "1abc.coords").is_file()
    assert {"tomogram", "trained_model", "located_picks", "leaderboard"} < set(steps)
    # Each worker is a process of its own, and both have computed steps.
    assert {worker.partition("@")[0] for worker in steps.values()} == set(WORKERS), steps
