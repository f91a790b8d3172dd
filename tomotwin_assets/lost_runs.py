"""Runs whose process has died: they are ended, so that their place is free and Dagster tries them again.

A run is a process on the machine of the code server. If it alone is killed, the code server notices. If the
machine restarts, or everything is killed at once, nobody does: the run would stay "started" for ever and
hold its place in the queue and in the pool of the device. Each run says which process it is; here is looked
whether that process still lives. Launchers that look after their runs themselves (Kubernetes, Docker) are
left alone.
"""

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
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

# As ``tomotwin_lib.files`` names what is not finished: .name.pid.tmp.suffix, .name.pid.old
_TEMPORARY = re.compile(r"\..+\.(\d+)\.(tmp(\..*)?|old)")


@dataclass(frozen=True)
class LostRun:
    """A run and the process that it was."""

    run: dg.DagsterRun
    pid: int


def find_lost_runs(instance: dg.DagsterInstance) -> list[LostRun]:
    """The runs in progress on this machine whose process is no more."""
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        return []
    going = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    lost = []
    for run in instance.get_runs(going):
        process = _process_of(instance, run) if _is_here(run) else None
        if process is not None and not is_alive(*process):
            lost.append(LostRun(run, process[0]))
    return lost


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
        instance.event_log_storage.free_concurrency_slots_for_run(now.run_id)
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
    """See :func:`end_lost_runs` and :func:`sweep`; starts no run itself."""
    ended = end_lost_runs(context.instance)
    buried = bury_dead_shell_runs(context.instance, Path(context.instance.root_directory))
    swept, now = float(context.cursor or 0), time.time()
    told = [f"Ended run {lost.run.run_id[:8]} of process {lost.pid}" for lost in ended]
    told += [f"Ended run {run_id[:8]} of a shell that was stopped" for run_id in buried]
    if ended or now - swept > SWEEP_AFTER:
        try:
            products = data_folder.path / "products"
            told += [f"Removed {path}" for path in sweep(products, {lost.pid for lost in ended})]
        except (InputError, OSError) as error:
            told.append(f"No temporary files were looked for: {error}")
        swept = now
    return dg.SensorResult(
        skip_reason="; ".join(told) or "All runs in progress have their process", cursor=str(swept)
    )


def _process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[int, float] | None:
    """The number of a run's process and when it said so; ``None`` as long as it has not."""
    found = None
    for entry in _engine_events(instance, run.run_id):
        message = entry.user_message or (entry.dagster_event.message if entry.dagster_event else "") or ""
        told = re.search(r"^Started process for .*\(pid: (\d+)\)", message)
        if told:
            found = int(told[1]), entry.timestamp
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
