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
from tomotwin_assets.settings import SECTIONS

pytestmark = pytest.mark.deploy
WORKERS = ("first", "second")
TOMOGRAMS = ["one", "two"]


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


def engine_events(instance: dg.DagsterInstance, run: str) -> list[dg.DagsterEvent]:
    """What Dagster itself said about the steps of a run."""
    logs = instance.all_logs(run)
    return [entry.dagster_event for entry in logs if entry.dagster_event is not None]


def workers_of(instance: dg.DagsterInstance, run: str) -> dict[str, str]:
    """Step → the worker that computed it."""
    found: dict[str, str] = {}
    for event in engine_events(instance, run):
        if event.step_key and event.is_engine_event and "Celery worker" in event.engine_event_data.metadata:
            found[event.step_key] = str(event.engine_event_data.metadata["Celery worker"].value)
    return found


def test_two_workers_share_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dagster_celery", reason="pip install 'tomotwin-assets[celery]'")
    data = write_data_folder(tmp_path / "data")
    if "arrivals" in SECTIONS:  # here the test itself asks for all runs
        with (data / "tomotwin.toml").open("a") as settings:
            settings.write("\n[arrivals]\nenabled = false\n")
    with postgres_server() as postgres, redis_server(tmp_path) as redis:
        extra = {
            EXECUTOR_VARIABLE: "celery",
            BROKER_VARIABLE: f"{redis}/0",
            BACKEND_VARIABLE: f"{redis}/1",
        }
        for name, value in {**postgres.environment, **extra}.items():
            monkeypatch.setenv(name, value)
        with facility(tmp_path, data, postgres, extra) as platform:
            steps = run_all(platform)
    assert (data / "products" / "picked_coordinates" / "net" / "two" / "1abc.coords").is_file()
    assert {"tomogram", "located_picks", "evaluation_report"} < set(steps)
    # Each worker is a process of its own, and both have computed steps.
    assert {name.partition("@")[0] for name in steps.values()} == set(WORKERS), steps


def run_all(platform: Facility) -> dict[str, str]:
    """The graph on two tomograms; which worker computed a step (the last one of that name)."""
    for name in WORKERS:
        command = platform.start_worker(name)
        assert command.poll() is None
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(platform.folder / "home"))) as instance:
        wait_until(
            lambda: (
                set(instance.get_dynamic_partitions("tomograms")) == set(TOMOGRAMS)
                and instance.get_dynamic_partitions("models") == ["net"]
            ),
            f"the sensor; {platform.said()}",
        )
        platform.launch("prepare_data")
        platform.backfill("check_tomogram", TOMOGRAMS)
        platform.backfill("train_model", ["net"])
        platform.finish(instance, 4)
        platform.backfill("pick_tomogram", [f"net|{name}" for name in TOMOGRAMS])
        records = platform.finish(instance, 6)
        return {
            step: worker
            for record in records
            for step, worker in workers_of(instance, record.dagster_run.run_id).items()
        }
