"""The Dagster instance that keeps the history: the shell writes it and the UI shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from tomotwin_lib.files import atomic_path, ensure_writable_folder, locked

HOME_VARIABLE = "DAGSTER_HOME"
SHELL_TAG = "tomotwin/shell"
"""Tag of the runs that ``tomotwin-platform`` starts."""

CONFIGURATION = """\
# Written by tomotwin-platform; change it as you like, it is not written again.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
  pools:
    default_limit: 1  # of the pool "gpu": one network at a time on the device
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
"""

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
        _bury_dead_runs(instance)
        yield instance


def _bury_dead_runs(instance: dg.DagsterInstance) -> None:
    """Close runs of a shell that was killed: they would stay "started" and hold their place in the pool.

    This process has the lock, so no other shell's run can be alive.
    """
    dead = dg.RunsFilter(
        tags={SHELL_TAG: "true"}, statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
    )
    for run in instance.get_runs(dead):
        instance.report_run_failed(run, message="The shell that ran it was stopped.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
