"""The whole graph on PostgreSQL, with web server, daemon and code server, several runs at once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from assets.tiny_platform import write_data_folder, write_tomogram
from dagster._core.instance.ref import InstanceRef
from facility import Facility, facility
from postgres_server import postgres_server

from tomotwin_assets import demo
from tomotwin_assets.settings import SHIPPED_VARIABLE
from tomotwin_assets.values import read_report
from tomotwin_lib.networks.shipped_networks import DEFAULT

pytestmark = pytest.mark.deploy


def picking_times(platform: Facility) -> list[tuple[float, float]]:
    """Start and end of each run that picked, in their order."""
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(platform.folder / "home"))) as instance:
        assert "Postgres" in type(instance.event_log_storage).__name__
        records = instance.get_run_records(dg.RunsFilter(job_name="pick_tomogram"))
        return sorted((record.start_time or 0.0, record.end_time or 0.0) for record in records)


def test_the_whole_graph_with_several_runs_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_data_folder(tmp_path / "data")
    write_tomogram(data, "three", seed=5)
    with postgres_server() as postgres, facility(tmp_path, data, postgres) as platform:
        for name, value in postgres.environment.items():
            monkeypatch.setenv(name, value)
        platform.run_graph("net", ["one", "two", "three"])
        times = picking_times(platform)
    assert len(times) == 3
    assert any(later[0] < earlier[1] for earlier, later in pairwise(times)), times
    for tomogram in ("one", "two", "three"):
        assert (data / "products" / "picked_coordinates" / "net" / tomogram / "1abc.coords").is_file()
    board = pd.read_csv(data / "products" / "leaderboard.csv")
    assert "net" in board["model"].tolist()


@pytest.mark.exhaustive
def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    demo.prepare(data, train=False)
    monkeypatch.setenv(SHIPPED_VARIABLE, "true")
    tomograms = [path.stem for path in sorted((data / "tomograms").glob("*.mrc"))]
    with postgres_server() as postgres, facility(tmp_path, data, postgres) as platform:
        for name, value in postgres.environment.items():
            monkeypatch.setenv(name, value)
        platform.run_graph(DEFAULT, tomograms, seconds=7200)
    for tomogram in tomograms:
        report = read_report(data / "products" / "evaluation_report" / DEFAULT / f"{tomogram}.json")
        assert (report.mean("F1", best_case=True) or 0.0) > 0.3
