"""The Dagster instance that keeps the history: the shell writes it and the UI shows it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, ensure_writable_folder, locked

HOME_VARIABLE = "DAGSTER_HOME"
SHELL_TAG = "tomotwin/shell"
"""Tag of the runs that ``tomotwin-platform`` starts."""
HOST_TAG = "tomotwin/host"
"""Tag with the machine that such a run is on: several may share a database, each has locks of its own."""

CONFIGURATION = """\
# Written by tomotwin-platform; change it as you like, it is not written again.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2  # the others wait in the queue
  pools:
    default_limit: 1  # of the pool "gpu": one network at a time on the device
    granularity: op  # a run waits for the device step by step; the others go on
    op_granularity_run_buffer: 1  # runs that start while the device is taken, and wait for it step by step
run_queue:
  # A run that the busy or restarting code server did not take goes back into the queue. A process that begins
  # all the same, too late, sees that the run is not to be started any more, and ends.
  max_user_code_failure_retries: 3
  user_code_failure_retry_delay: 60
run_monitoring:
  enabled: true
  poll_interval_seconds: 30
  start_timeout_seconds: 180
  cancel_timeout_seconds: 60  # then a run counts as canceled though its process has not said so
  free_slots_after_run_end_seconds: 60  # of a pool, which a killed run leaves taken
run_retries:
  enabled: true  # a run whose process was killed; what fails in a step is tried again there, or not at all
  max_retries: 2
  retry_on_asset_or_op_failure: false
retention:
  sensor:
    purge_after_days: {skipped: 1, success: 7, failure: 30}
  schedule:
    purge_after_days: 90
"""
"""``dagster.yaml`` of a new instance, the only place with these settings."""

# People at a shell see the output itself; capturing it would take two more processes for each run.
_NO_CAPTURE = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def home(data: Path) -> Path:
    """The folder of the instance, made if it is not there.

    ``DAGSTER_HOME`` where it is set. Otherwise ``.dagster_home`` in the data folder: what is up to date there
    does not depend on where the platform is started from, and partitions of one data folder have no place
    among those of another.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    if variable := os.environ.get(HOME_VARIABLE):
        folder = Path(variable).expanduser().resolve()
    else:
        folder = data.resolve() / ".dagster_home"
    ensure_writable_folder(folder)
    if not (folder / "dagster.yaml").exists():
        with atomic_path(folder / "dagster.yaml") as temporary:
            temporary.write_text(CONFIGURATION, encoding="utf-8")
    return folder


@contextmanager
def open_instance(data: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of a data folder, to be run on by this process alone.

    Raises
    ------
    InputError
        If another ``tomotwin-platform`` works on it, or its folder cannot be written.
    """
    folder = home(data)
    with (
        locked(folder / "shell.lock", "another tomotwin-platform is at work here"),
        dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=_NO_CAPTURE)) as instance,
    ):
        _bury(instance)
        yield instance


def bury_dead_shell_runs(instance: dg.DagsterInstance, folder: Path) -> list[str]:
    """Close the runs of a shell that was killed; nothing happens while one is at work.

    Parameters
    ----------
    folder : of the instance.

    Returns
    -------
    numbers of the runs that were closed.
    """
    # The lock is taken only where there may be something to do: it keeps out a shell that starts just now.
    if not instance.get_runs(_shell_runs(), limit=1):
        return []
    try:
        with locked(folder / "shell.lock", "another tomotwin-platform is at work here"):
            return _bury(instance)
    except InputError:
        return []


def shell_tags() -> dict[str, str]:
    """Tags of the runs that a shell on this machine starts."""
    return {SHELL_TAG: "true", HOST_TAG: socket.gethostname()}


def _shell_runs() -> dg.RunsFilter:
    going = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
    return dg.RunsFilter(tags=shell_tags(), statuses=going)


def _bury(instance: dg.DagsterInstance) -> list[str]:
    """Close runs of a shell that was killed: they would stay "started" and hold their place in the pool.

    This process has the lock, so no other shell's run can be alive on this machine.
    """
    dead = instance.get_runs(_shell_runs())
    for run in dead:
        instance.report_run_failed(run, message="The shell that ran it was stopped.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]
