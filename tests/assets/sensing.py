"""The two sensors on a tiny platform, and their runs, in this process and without waiting for a clock."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData
from tiny_platform import Platform

from tomotwin_assets import sensors
from tomotwin_assets.definitions import defs

LONG_AGO = 1_000_000_000


def settle(folder: Path) -> None:
    """Make all files of a folder look as if they had been there for years."""
    for path in folder.rglob("*"):
        if path.is_file() and "products" not in path.parts and path.stat().st_mtime > LONG_AGO + 1:
            # Times differ by the file's own, so that a changed file has another one.
            os.utime(path, ns=(path.stat().st_mtime_ns % 10**9 + LONG_AGO * 10**9,) * 2)


@dataclass
class Sensing:
    """A daemon's work, done by hand: ticks, what they ask for, and the runs.

    Attributes
    ----------
    clock : seconds since 1970, as the sensors see it.
    asked : (job, partitions, reason) of all runs so far.
    """

    platform: Platform
    instance: dg.DagsterInstance
    monkeypatch: pytest.MonkeyPatch
    clock: float = 2.0 * LONG_AGO
    cursor: str | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.monkeypatch.setattr(sensors, "time", lambda: self.clock)

    def look(self, seconds_later: float = 30.0) -> SensorExecutionData:
        """A tick of ``new_data``, with what it asks for done."""
        self.clock += seconds_later
        told = self.tick(sensors.new_data, self.cursor)
        self.cursor = told.cursor
        for request in told.dynamic_partitions_requests or ():
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                self.instance.add_dynamic_partitions(
                    request.partitions_def_name, list(request.partition_keys)
                )
            else:
                for key in request.partition_keys:
                    self.instance.delete_dynamic_partition(request.partitions_def_name, key)
        for event in told.asset_events:
            self.instance.report_runless_asset_event(event)
        return told

    def requests(self) -> list[dg.RunRequest]:
        """What a tick of ``work`` asks for, without doing it; a run key that was used before is left out."""
        told = self.tick(sensors.work, None)
        return [request for request in told.run_requests or () if request.run_key not in self.keys]

    def work(self) -> list[tuple[str, str, str]]:
        """One tick of ``work`` and its runs; returns (job, partitions, reason) of them."""
        return self.run(self.requests())

    def run(self, requests: Iterable[dg.RunRequest]) -> list[tuple[str, str, str]]:
        done = []
        for request in requests:
            job = defs.resolve_job_def(str(request.job_name))
            job.execute_in_process(
                instance=self.instance,
                run_config=dict(request.run_config),
                tags=dict(request.tags),
                asset_selection=list(request.asset_selection or ()),
                raise_on_error=False,
            )
            self.keys.add(str(request.run_key))
            done.append((str(request.job_name), partitions_of(request.tags), request.tags["tomotwin/why"]))
        self.asked += done
        return done

    def until_idle(self, most: int = 12) -> list[tuple[str, str, str]]:
        """Look and work until nothing is asked for any more; returns what was run."""
        before = len(self.asked)
        for _ in range(most):
            self.look()
            if not self.work():
                return self.asked[before:]
        raise AssertionError(f"it goes on and on: {self.asked[before:]}")

    def partitions(self, name: str) -> list[str]:
        return list(self.instance.get_dynamic_partitions(name))

    def tick(self, sensor: dg.SensorDefinition, cursor: str | None) -> SensorExecutionData:
        with dg.build_sensor_context(
            self.instance,
            cursor=cursor,
            repository_def=defs.get_repository_def(),
            resources={"data_folder": self.platform.folder},
            instance_ref=self.instance.get_ref(),  # as in a daemon: partitions of runs are looked up with it
        ) as context:
            return sensor.evaluate_tick(context)


def partitions_of(tags: Any) -> str:
    """The partitions of a run, as ``first`` or ``first...last``."""
    first, last = (tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    return f"{first}...{last}" if first else str(tags.get("dagster/partition", ""))
