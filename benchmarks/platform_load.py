"""``python -m benchmarks.platform_load``: the platform with many tomograms, on PostgreSQL.

Two parts. ``many``: thousands of partitions are registered; how long a tick of each sensor takes, and the
queries of the asset pages, as a browser asks them. ``unattended``: hundreds of small tomograms go through the
whole graph by the sensors alone; runs an hour, and what each tomogram costs beyond computing.

The parts of the tests that start PostgreSQL and the platform are used: ``PYTHONPATH=tests:tests/assets``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy
from live_data import age, live_data
from live_platform import CODE, WEB, LivePlatform
from postgres_server import postgres_server
from tiny_platform import write_checkpoint, write_tomogram

from benchmarks.machine import usable_cores
from tomotwin_assets.definitions import defs
from tomotwin_assets.instance import HOME_VARIABLE
from tomotwin_assets.partitions import models, pair_key, tomograms
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.settings import DATA_VARIABLE, DEVICE_VARIABLE

RESULTS = Path(__file__).parent / "results"
EVENTS_TIMED = 20
"""Events of a tick that are reported as the daemon does, which connects to the database for each."""
QUIET = 2.0
"""A page is complete when it has asked nothing for so many seconds; they are not counted."""
PAGES = {
    "catalogue": "/assets",
    "asset graph": "/asset-groups",
    "tomogram, partitions": "/assets/tomogram?view=partitions",
    "located_picks, partitions": "/assets/located_picks?view=partitions",
    "located_picks, lineage": "/assets/located_picks?view=lineage&lineageScope=upstream",
    "leaderboard": "/assets/leaderboard",
    "runs": "/runs",
    "automation": "/automation",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the arguments name, print tables, write them beside the other results."""
    options = _parser().parse_args(arguments)
    parts = []
    if "many" in options.parts:
        parts.append(measure_many(options.tomograms, options.models, options.made))
    if "unattended" in options.parts:
        parts.append(measure_unattended(options.unattended, options.minutes))
    load = f"load of the last 15 minutes {os.getloadavg()[2]:.1f}"
    head = f"{usable_cores()} cores, {load}; PostgreSQL, Dagster {dg.__version__}"
    text = f"# The platform under load\n{head}\n\n" + "\n\n".join(parts) + "\n"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "platform_load.md").write_text(text, encoding="utf-8")
    print(f"\n{options.output / 'platform_load.md'}")
    return 0


def measure_many(count: int, model_count: int, made: int) -> str:
    """Ticks and pages with ``count`` tomograms and ``model_count`` models, ``made`` of them picked.

    Returns a table as Markdown.
    """
    with _platform() as platform:
        _many_files(platform.data, count, model_count)
        rows = _ticks(platform, "new_data", count + model_count)
        with dg.DagsterInstance.get() as instance:
            known = len(instance.get_dynamic_partitions(str(tomograms.name)))
            assert known == count, f"{known} of {count} tomograms were registered"
            known = len(instance.get_dynamic_partitions(str(models.name)))
            assert known == model_count, f"{known} of {model_count} models were registered"
            _show(rows)
            _keep_connection(instance)
            _pretend(instance, made)
        if "work" in _sensors():
            rows += _ticks(platform, "work", 0, most=5)
        platform.start(CODE, WEB)
        rows += _pages(platform)
    _show(rows)
    return _table(
        f"{count:,} tomograms, {model_count} models, {made:,} tomograms picked", ("what", "time", "of"), rows
    )


def measure_unattended(count: int, minutes: float) -> str:
    """``count`` small tomograms are dropped into the folder; nobody does anything more.

    Returns a table as Markdown.
    """
    with _platform() as platform:
        for index in range(count):
            write_tomogram(platform.data, f"t{index:04d}", seed=index)
        age(platform.data)
        platform.start()
        started = time.monotonic()
        folder = platform.data / "products" / "picked_coordinates" / "net"
        # two tomograms come with the data folder
        wanted, done = count + 2, 0
        while time.monotonic() - started < minutes * 60:
            done = sum(1 for path in folder.glob("*") if any(path.iterdir())) if folder.is_dir() else 0
            print(f"{time.monotonic() - started:6.0f} s: {done} of {wanted} tomograms", flush=True)
            if done >= wanted and not platform.runs("QUEUED", "STARTING", "STARTED"):
                break
            time.sleep(10)
        wall = time.monotonic() - started
        runs = platform.runs("SUCCESS", "FAILURE", "CANCELED")
        with dg.DagsterInstance.get() as instance:
            steps, computing = _seconds(instance)
    in_runs = sum(run["endTime"] - run["startTime"] for run in runs if run["endTime"] and run["startTime"])
    statuses = Counter(run["status"] for run in runs)
    rows = [
        ("tomograms through the whole graph", f"{done} of {wanted}", ""),
        ("wall time", f"{wall:.0f} s", f"{wall / max(done, 1):.1f} s a tomogram"),
        ("runs", ", ".join(f"{number} {status.lower()}" for status, number in statuses.items()), ""),
        ("runs an hour", f"{len(runs) / wall * 3600:.0f}", f"{done / wall * 3600:.0f} tomograms an hour"),
        ("inside runs, all processes", f"{in_runs:.0f} s", f"{in_runs / max(done, 1):.1f} s a tomogram"),
        ("inside steps", f"{steps:.0f} s", f"{steps / max(done, 1):.1f} s a tomogram"),
        ("computing, in the library", f"{computing:.0f} s", f"{computing / max(done, 1):.2f} s a tomogram"),
        (
            "overhead beyond computing", f"{in_runs - computing:.0f} s",
            f"{(in_runs - computing) / max(done, 1):.1f} s a tomogram",
        ),
    ]  # fmt: skip
    _show(rows)
    return _table(f"{wanted} small tomograms, unattended", ("what", "value", "each"), rows)


@contextmanager
def _platform() -> Iterator[LivePlatform]:
    """A tiny data folder and a platform with PostgreSQL; this process has the same environment."""
    root = Path(tempfile.mkdtemp(prefix="load-"))
    data = live_data(root, by_hand=False)
    with postgres_server() as server:
        storage = {"storage": {"postgres": {"postgres_url": server.url()}}}
        platform = LivePlatform(data, root / "home", configuration=storage)
        for name in (HOME_VARIABLE, DATA_VARIABLE, DEVICE_VARIABLE):
            os.environ[name] = platform.variables[name]
        try:
            yield platform
        finally:
            platform.stop()
            shutil.rmtree(root, ignore_errors=True)


def _many_files(data: Path, count: int, model_count: int) -> None:
    """Small files, an hour old; two tomograms and one model are there already."""
    first = write_tomogram(data, "t00000", shape=(4, 4, 4))
    for index in range(1, count - 2):
        shutil.copyfile(first, first.with_name(f"t{index:05d}.mrc"))
    model = write_checkpoint(data, "m00")
    for index in range(1, model_count - 1):
        shutil.copyfile(model, model.with_name(f"m{index:02d}.pth"))
    age(data)


def _sensors() -> dict[str, dg.SensorDefinition]:
    repository = defs.get_repository_def()
    return {sensor.name: sensor for sensor in repository.sensor_defs}


def _ticks(platform: LivePlatform, name: str, wanted: int, most: int = 60) -> list[tuple[str, str, str]]:
    """Tick a sensor until it finds nothing new, doing what it asks for as the daemon does."""
    sensor, busy, applying, cursor = _sensors()[name], [], 0.0, None
    idle, timed = None, 0
    for _ in range(most):
        with (
            dg.DagsterInstance.get() as instance,
            dg.build_sensor_context(
                instance=instance,
                cursor=cursor,
                repository_def=defs.get_repository_def(),
                resources={"data_folder": DataFolder(root=str(platform.data))},
            ) as context,
        ):
            started = time.perf_counter()
            tick = sensor.evaluate_tick(context)
            seconds = time.perf_counter() - started
            cursor = tick.cursor or cursor
            for request in tick.dynamic_partitions_requests or ():
                instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
            events = list(tick.asset_events or ())
            started = time.perf_counter()
            for event in events[:EVENTS_TIMED]:
                instance.report_runless_asset_event(event)
            applying += time.perf_counter() - started
            timed += len(events[:EVENTS_TIMED])
            _keep_connection(instance)
            for event in events[EVENTS_TIMED:]:
                instance.report_runless_asset_event(event)
        asked = len(tick.dynamic_partitions_requests or ()) + len(tick.asset_events or ())
        asked += len(tick.run_requests or ())
        print(f"{name}: {seconds:.2f} s, {asked} asked for; {(tick.skip_message or '')[:150]}", flush=True)
        if asked:
            busy.append(seconds)
        else:
            idle = seconds
            break
        if wanted == 0 and len(busy) >= 3:
            break
    rows = []
    if busy:
        rows.append(
            (f"tick of {name} with news", f"{statistics.median(busy):.2f} s, at most {max(busy):.2f} s",
             f"{len(busy)} ticks")
        )  # fmt: skip
    if timed:
        rows.append(
            ("reporting one event, as the daemon does", f"{applying / timed * 1e3:.0f} ms", f"{timed}")
        )
    if idle is not None:
        rows.append((f"tick of {name} without news", f"{idle:.2f} s", ""))
    return rows


def _keep_connection(instance: dg.DagsterInstance) -> None:
    """Let the storages of an instance that only fills the database keep a connection: Dagster's do not."""
    for storage in (instance.event_log_storage, instance.run_storage, instance.schedule_storage):
        engine: Any = storage._engine  # type: ignore[union-attr]
        storage._engine = sqlalchemy.create_engine(  # type: ignore[union-attr]
            engine.url, isolation_level="AUTOCOMMIT", pool_size=1
        )


def _pretend(instance: dg.DagsterInstance, made: int) -> None:
    """Report that ``made`` tomograms have been checked and picked with one model."""
    keys = instance.get_dynamic_partitions(str(tomograms.name))[:made]
    for key in keys:
        pair = pair_key("net", key)
        for asset, partition in (
            ("tomogram", key),
            ("tomogram_embeddings", pair),
            ("similarity_map", pair),
            ("located_picks", pair),
        ):
            instance.report_runless_asset_event(
                dg.AssetMaterialization(asset, partition=partition, metadata={"dagster/row_count": 100})
            )


def _pages(platform: LivePlatform) -> list[tuple[str, str, str]]:
    """Open the pages in a browser; time until each is quiet, and its slowest queries."""
    from browser import open_browser
    from playwright.sync_api import sync_playwright

    rows: list[tuple[str, str, str]] = []
    going: set[Any] = set()
    queries: list[tuple[float, str]] = []
    with sync_playwright() as playwright, open_browser(playwright) as page:
        page.goto(f"{platform.url}/overview", wait_until="networkidle", timeout=180_000)
        page.on("request", lambda request: _begun(request, going))
        page.on("requestfinished", lambda request: _ended(request, going, queries))
        page.on("requestfailed", lambda request: going.discard(request))
        for title, path in PAGES.items():
            queries.clear()
            started = time.perf_counter()
            page.goto(f"{platform.url}{path}", wait_until="load", timeout=180_000)
            last = time.perf_counter()
            while time.perf_counter() - last < QUIET and time.perf_counter() - started < 180:
                before = len(queries)
                page.wait_for_timeout(100)
                if going or len(queries) > before:
                    last = time.perf_counter()
            slowest = "; ".join(f"{name} {t:.2f} s" for t, name in sorted(queries, reverse=True)[:2])
            rows.append(
                (f"page: {title}", f"{last - started:.1f} s", f"{len(queries)} queries, slowest {slowest}")
            )
            print(*rows[-1], sep=" | ", flush=True)
    return rows


def _begun(request: Any, going: set[Any]) -> None:
    if "/graphql" in request.url and request.method == "POST":
        going.add(request)


def _ended(request: Any, going: set[Any], queries: list[tuple[float, str]]) -> None:
    if request in going:
        going.discard(request)
        queries.append((request.timing["responseEnd"] / 1e3, request.url.partition("op=")[2]))


def _seconds(instance: dg.DagsterInstance) -> tuple[float, float]:
    """Seconds inside all steps, and those that products tell were spent computing."""
    steps = 0.0
    for record in instance.get_run_records():
        for step in instance.get_run_step_stats(record.dagster_run.run_id):
            if step.start_time and step.end_time:
                steps += step.end_time - step.start_time
    computing = 0.0
    for asset in instance.all_asset_keys():
        cursor = None
        while True:
            found = instance.fetch_materializations(asset, limit=500, cursor=cursor)
            for made in found.records:
                event = made.asset_materialization
                value = event.metadata.get("seconds") if event is not None else None
                computing += float(value.value) if value is not None else 0.0  # type: ignore[arg-type]
            if not found.has_more:
                break
            cursor = found.cursor
    return steps, computing


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    frame = pd.DataFrame(rows, columns=list(columns))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in frame.itertuples(index=False)]
    return f"## {title}\n" + "\n".join(lines)


def _show(rows: list[tuple[str, str, str]]) -> None:
    for row in rows:
        print(" | ".join(row), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.platform_load", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=["many", "unattended"], default=["many", "unattended"])
    parser.add_argument("--tomograms", type=int, default=10_000, help="partitions (%(default)s)")
    parser.add_argument("--models", type=int, default=20, help="partitions (%(default)s)")
    parser.add_argument("--made", type=int, default=2_000, help="tomograms picked with one (%(default)s)")
    parser.add_argument("--unattended", type=int, default=200, help="small tomograms (%(default)s)")
    parser.add_argument("--minutes", type=float, default=60, help="most time for those (%(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="for the table (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
