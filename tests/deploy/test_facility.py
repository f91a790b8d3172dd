"""The whole graph on PostgreSQL, with web server, daemon and code server, several runs at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from assets.tiny_platform import write_data_folder, write_tomogram
from dagster._core.instance.ref import InstanceRef
from facility import DEPLOY, Facility, facility, wait_until
from postgres_server import postgres_server

from tomotwin_assets.settings import SECTIONS

pytestmark = pytest.mark.deploy
TOMOGRAMS = ["one", "two", "three"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = write_data_folder(tmp_path / "data")
    for seed, name in enumerate(TOMOGRAMS[2:], start=5):
        write_tomogram(folder, name, seed)
    if "arrivals" in SECTIONS:  # here the test itself asks for all runs
        with (folder / "tomotwin.toml").open("a") as settings:
            settings.write("\n[arrivals]\nenabled = false\n")
    return folder


@pytest.fixture
def running(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Facility]:
    with postgres_server() as postgres, facility(tmp_path, data, postgres) as platform:
        for name, value in postgres.environment.items():
            monkeypatch.setenv(name, value)
        yield platform


def test_the_whole_graph_with_several_runs_at_once(running: Facility, data: Path) -> None:
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(running.folder / "home"))) as instance:
        assert "Postgres" in type(instance.event_log_storage).__name__
        # The sensor sees the folder by itself.
        wait_until(
            lambda: (
                set(instance.get_dynamic_partitions("tomograms")) == set(TOMOGRAMS)
                and instance.get_dynamic_partitions("models") == ["net"]
            ),
            f"the sensor; {running.said()}",
        )
        running.launch("prepare_data")
        running.backfill("check_tomogram", TOMOGRAMS)
        running.backfill("train_model", ["net"])
        running.finish(instance, 5)
        running.backfill("pick_tomogram", [f"net|{name}" for name in TOMOGRAMS])
        records = running.finish(instance, 8)
        running.launch("compare_models")
        running.finish(instance, 9)

    picking = [record for record in records if record.dagster_run.job_name == "pick_tomogram"]
    assert len(picking) == 3
    times = sorted((record.start_time or 0.0, record.end_time or 0.0) for record in picking)
    assert any(later[0] < earlier[1] for earlier, later in pairwise(times)), times
    for name in TOMOGRAMS:
        assert (data / "products" / "picked_coordinates" / "net" / name / "1abc.coords").is_file()
    board = pd.read_csv(data / "products" / "leaderboard.csv")
    assert "net" in board["model"].tolist()


def test_the_secrets_of_the_instance_come_from_the_environment() -> None:
    text = (DEPLOY / "dagster.yaml").read_text(encoding="utf-8")
    assert "password: {env: DAGSTER_POSTGRES_PASSWORD}" in text
