"""Runs whose process has died: they are ended, so that their place is free and Dagster tries them again.

A run is a process on the machine of the code server. If it alone is killed, the code server notices, ends the
run and leaves the rest: its place in the pool of the device, and what it had half written. If the machine
restarts, or everything is killed at once, nobody notices: the run would stay "started" for ever and hold its
place in the queue as well. Each run says which process it is; here is looked whether that process still
lives. Launchers that look after their runs themselves (Kubernetes, Docker) are left alone.
"""

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psutil
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG

from tomotwin_assets.instance import bury_dead_shell_runs
from tomotwin_assets.resources import DataFolder
from tomotwin_lib.errors import InputError

CLOCK_SLACK = 60.0
"""Seconds by which a process may seem to have started after its first message: clocks are put right."""
SWEEP_AFTER = 3600.0
"""Seconds between two looks for temporary files that nobody owns any more."""
ABANDONED_AFTER = 24 * 3600.0
"""Seconds for which a temporary file was not touched: a writer on another machine touches its file."""

LOOK_BACK = 60.0
"""Seconds before the last look from which runs are looked at that have ended: reporting an end takes time."""

# As ``tomotwin_lib.files`` names what is not finished: .name.pid.tmp.suffix, .name.pid.old
_TEMPORARY = re.compile(r"\..+\.(\d+)\.(tmp(\..*)?|old)")


@dataclass(frozen=True)
class LostRun:
    """A run and the process that it was."""

    run: dg.DagsterRun
    pid: int


def find_lost_runs(instance: dg.DagsterInstance) -> list[LostRun]:
    """The runs in progress on this machine whose process is no more."""
    going = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    return [LostRun(run, process.pid) for run, process in _dead(instance, going)]


def release_killed_runs(instance: dg.DagsterInstance, since: float) -> list[LostRun]:
    """Free the places of runs on this machine that ended badly after a time, their process being killed.

    Whoever noticed first, they hold their places in pools until they have been ended for some minutes.

    Parameters
    ----------
    since : seconds since 1970.

    Returns
    -------
    those runs; what their processes had half written may be removed.
    """
    ended = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
        updated_after=datetime.fromtimestamp(since, UTC),
    )
    killed = [LostRun(run, process.pid) for run, process in _dead(instance, ended) if not process.exited]
    for lost in killed:
        instance.event_log_storage.free_concurrency_slots_for_run(lost.run.run_id)
    return killed


def end_lost_runs(instance: dg.DagsterInstance) -> list[LostRun]:
    """End the runs of :func:`find_lost_runs` as failed, but those that have ended by themselves meanwhile.

    With ``run_retries`` in ``dagster.yaml``, Dagster's daemon then goes on with each in a new run.
    """
    ended = []
    for lost in find_lost_runs(instance):
        now = instance.get_run_by_id(lost.run.run_id)
        if now is None or now.is_finished:
            continue
        instance.report_run_failed(
            now,
            f"The process of this run (pid {lost.pid}) is no more: it was killed, or the machine restarted.",
            JobFailureData(error=None, failure_reason=RunFailureReason.UNEXPECTED_TERMINATION),
        )
        ended.append(lost)
    return ended


def is_alive(pid: int, since: float) -> bool:
    """Whether the process that had this number at a time (seconds since 1970) still runs.

    Numbers are used again, after a restart of the machine at the latest: what began later is another process.
    """
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= since + CLOCK_SLACK
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def sweep(products: Path, pids: set[int], *, older_than: float = ABANDONED_AFTER) -> list[Path]:
    """Remove the temporary files of processes that are no more.

    Parameters
    ----------
    products : the folder, searched with all its folders.
    pids : processes that are known to be dead; their files go at once.
    older_than : seconds without a change after which those of other processes go.

    Returns
    -------
    what was removed.
    """
    removed = []
    for path in products.rglob(".*"):
        match = _TEMPORARY.fullmatch(path.name)
        if match is None:
            continue
        try:
            if int(match[1]) not in pids and path.stat().st_mtime > time.time() - older_than:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except FileNotFoundError:
            continue
        removed.append(path)
    return removed


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every half minute: runs whose process has died (killed, or the machine restarted) end, so "
    "their place is free and Dagster tries them again; what they left half written is removed.",
)
def lost_runs(context: dg.SensorEvaluationContext, data_folder: DataFolder) -> dg.SensorResult:
    """See :func:`end_lost_runs`, :func:`release_killed_runs` and :func:`sweep`; starts no run itself.

    The cursor holds when all temporary files were looked at, and when runs were.
    """
    instance, now = context.instance, time.time()
    swept, looked = _times(context.cursor, now)
    ended = end_lost_runs(instance)
    buried = bury_dead_shell_runs(instance, Path(instance.root_directory))
    killed = release_killed_runs(instance, looked - LOOK_BACK)  # those that were ended just now among them
    told = [f"Ended run {lost.run.run_id[:8]} of process {lost.pid}" for lost in ended]
    told += [f"Ended run {run_id[:8]} of a shell that was stopped" for run_id in buried]
    if killed or now - swept > SWEEP_AFTER:
        try:
            products = data_folder.path / "products"
            told += [f"Removed {path}" for path in sweep(products, {lost.pid for lost in killed})]
        except (InputError, OSError) as error:
            told.append(f"No temporary files were looked for: {error}")
        swept = now
    return dg.SensorResult(
        skip_reason="; ".join(told) or "All runs in progress have their process",
        cursor=json.dumps([swept, now]),
    )


def _times(cursor: str | None, now: float) -> tuple[float, float]:
    """What a cursor holds; where it is none of ours, all is looked at, and runs of the last hour."""
    try:
        swept, looked = json.loads(cursor or "[]")
        return float(swept), float(looked)
    except (ValueError, TypeError):
        return 0.0, now - SWEEP_AFTER


@dataclass(frozen=True)
class _Process:
    """The process of a run: its number, when it told that, whether it has told its end as well."""

    pid: int
    since: float
    exited: bool = False


def _dead(instance: dg.DagsterInstance, wanted: dg.RunsFilter) -> Iterator[tuple[dg.DagsterRun, _Process]]:
    """Runs of this machine whose process is no more."""
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        return
    for run in instance.get_runs(wanted):
        process = _process_of(instance, run) if _is_here(run) else None
        if process is not None and not is_alive(process.pid, process.since):
            yield run, process


def _process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> _Process | None:
    """The process of a run, as the run's events tell; ``None`` as long as they do not."""
    found = None
    for entry in _engine_events(instance, run.run_id):
        message = entry.user_message or (entry.dagster_event.message if entry.dagster_event else "") or ""
        told = re.search(r"^Started process for .*\(pid: (\d+)\)", message)
        if told:
            found = _Process(int(told[1]), entry.timestamp)
        elif found is not None and message.startswith("Process for run exited"):
            found = replace(found, exited=True)
    return found


def _engine_events(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.EventLogEntry]:
    yield from instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)


def _is_here(run: dg.DagsterRun) -> bool:
    """Whether the code server that started the run is on this machine: processes are numbered by machine."""
    told = run.tags.get(GRPC_INFO_TAG)
    if told is None:
        return False
    server = json.loads(told)
    if server.get("socket"):
        return True
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(server.get("host", ""), None)}
    except OSError:
        return False
    own = {address.address for card in psutil.net_if_addrs().values() for address in card}
    return bool(addresses & (own | {"127.0.0.1", "::1"}))
