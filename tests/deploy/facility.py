"""The services of a facility, started from the unit files that a facility would start them from."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from live_data import start_no_runs
from live_platform import LOCATION, REPOSITORY, ask
from postgres_server import PostgresServer, free_port

from tomotwin_assets.executors import BACKEND_VARIABLE, BROKER_VARIABLE, EXECUTOR_VARIABLE
from tomotwin_assets.instance import HOME_VARIABLE
from tomotwin_assets.settings import DATA_VARIABLE, DEVICE_VARIABLE

CHECKOUT = Path(__file__).resolve().parents[2]
DEPLOY = CHECKOUT / "deploy"
PATIENCE_SECONDS = 900.0
_SET_BY_THE_TEST = (EXECUTOR_VARIABLE, BROKER_VARIABLE, BACKEND_VARIABLE)


def unit_command(unit: str, environment: dict[str, str]) -> list[str]:
    """The ``ExecStart`` of a unit as systemd would start it, with programs and files of this checkout."""
    text = (DEPLOY / "systemd" / unit).read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=(.*)$", text, flags=re.MULTILINE)
    line = line.replace("/opt/tomotwin/.venv/bin", str(Path(sys.executable).parent))
    line = line.replace("/opt/tomotwin", str(CHECKOUT))
    return shlex.split(re.sub(r"\$\{(\w+)\}", lambda name: environment[name[1]], line))


@contextmanager
def process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, of which nothing is left when the block ends."""
    with log.open("wb") as stream:
        started = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=stream, start_new_session=True, cwd=log.parent
        )
    try:
        yield started
    finally:
        stop(started)


def stop(started: subprocess.Popen[bytes], seconds: float = 15.0) -> None:
    """Ask the process and its children to end, then make them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(started.pid, number)
        except ProcessLookupError:
            break
        try:
            started.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    started.wait()


def wait_until(
    true: Callable[[], bool],
    what: str,
    seconds: float = PATIENCE_SECONDS,
    explain: Callable[[], str] = str,
) -> None:
    """Wait for something; AssertionError with its name, and what ``explain`` tells, if it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}\n{explain()}"
        time.sleep(0.5)


@dataclass
class Facility:
    """Web server, daemon and code server on one history in PostgreSQL."""

    folder: Path
    environment: dict[str, str]
    port: int
    stack: ExitStack = field(default_factory=ExitStack, repr=False)

    def start(self, unit: str, name: str | None = None) -> subprocess.Popen[bytes]:
        """Start the service of a unit file; its output goes to ``<name>.log``."""
        command = unit_command(unit, self.environment)
        if "3000" in command:
            command[command.index("3000")] = str(self.port)
        log = self.folder / f"{name or unit}.log"
        return self.stack.enter_context(process(command, self.environment, log))

    def start_worker(self, name: str) -> subprocess.Popen[bytes]:
        """Start a worker of Celery that is called ``name``."""
        command = unit_command("tomotwin-worker.service", self.environment)
        command[command.index("--") : command.index("--")] = ["--name", name]
        return self.stack.enter_context(process(command, self.environment, self.folder / f"{name}.log"))

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Send a GraphQL query to the web server; its data."""
        return ask(f"http://127.0.0.1:{self.port}", query, **variables)

    def is_loaded(self) -> bool:
        """Whether the web server is up and has the code location."""
        query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
        try:
            return bool(self.ask(query)["repositoriesOrError"].get("nodes"))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def backfill(self, job: str, partitions: list[str]) -> str:
        """Ask for a job for partitions, as the UI does: up to eight share a run. The name of the backfill."""
        query = """mutation($parameters: LaunchBackfillParams!) {
            launchPartitionBackfill(backfillParams: $parameters) {
              __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
        parameters = {
            "selector": {
                "partitionSetName": f"{job}_partition_set",
                "repositorySelector": {
                    "repositoryLocationName": LOCATION,
                    "repositoryName": REPOSITORY,
                },
            },
            "partitionNames": partitions,
        }
        answer = self.ask(query, parameters=parameters)["launchPartitionBackfill"]
        return answer["backfillId"]  # type: ignore[no-any-return]

    def launch(self, job: str) -> str:
        """Put a run of an unpartitioned job into the queue; its number."""
        query = """mutation($parameters: ExecutionParams!) { launchRun(executionParams: $parameters) {
            __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
        selector = {
            "repositoryLocationName": LOCATION,
            "repositoryName": REPOSITORY,
            "jobName": job,
        }
        answer = self.ask(query, parameters={"selector": selector, "runConfigData": {}})["launchRun"]
        return answer["run"]["runId"]  # type: ignore[no-any-return]

    def run_graph(self, model: str, tomograms: list[str], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for the sensor, then run the whole graph as one does in the UI: stage by stage, many at once.

        AssertionError where a run fails, or a stage takes longer than ``seconds``.
        """
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(self.folder / "home"))) as instance:
            wait_until(
                lambda: (
                    set(instance.get_dynamic_partitions("tomograms")) == set(tomograms)
                    and instance.get_dynamic_partitions("models") == [model]
                ),
                "the sensor",
                seconds,
                self.said,
            )
            self.launch("prepare_data")
            self._finish(instance, 1, seconds)
            # One at a time: asked for together they would share a run, and nothing would run at once.
            for tomogram in tomograms:
                self.backfill("check_tomogram", [tomogram])
            self.backfill("train_model", [model])
            self._finish(instance, 2 + len(tomograms), seconds)
            for tomogram in tomograms:
                self.backfill("pick_tomogram", [f"{model}|{tomogram}"])
            self._finish(instance, 2 + 2 * len(tomograms), seconds)
            self.launch("compare_models")
            self._finish(instance, 3 + 2 * len(tomograms), seconds)

    def _finish(self, instance: dg.DagsterInstance, runs: int, seconds: float) -> None:
        """Wait until so many runs have ended, all well."""

        def ended() -> bool:
            records = instance.get_run_records()
            failed = [record.dagster_run for record in records if record.dagster_run.is_failure]
            assert not failed, (failed, self.said())
            return sum(record.dagster_run.is_finished for record in records) >= runs

        wait_until(ended, f"{runs} runs", seconds, self.said)

    def said(self) -> str:
        """The end of what each service printed."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}"
            for log in sorted(self.folder.glob("*.log"))
        )


@contextmanager
def facility(
    folder: Path, data: Path, postgres: PostgresServer, extra: dict[str, str] | None = None
) -> Iterator[Facility]:
    """The three services, up and with the graph loaded; none is left when the block ends."""
    start_no_runs(data)  # the test itself asks for all of them
    home = folder / "home"
    home.mkdir()
    shutil.copy(DEPLOY / "dagster.yaml", home)
    environment = {name: value for name, value in os.environ.items() if name not in _SET_BY_THE_TEST}
    environment |= {
        HOME_VARIABLE: str(home),
        DATA_VARIABLE: str(data),
        DEVICE_VARIABLE: "cpu",
        "TOMOTWIN_CODE_HOST": "127.0.0.1",
        "TOMOTWIN_CODE_PORT": str(free_port()),
        "PYTHONPATH": str(CHECKOUT),
        # As an activated environment has it: the worker calls the program "celery" by its name.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        **postgres.environment,
        **(extra or {}),
    }
    platform = Facility(folder, environment, free_port())
    with platform.stack:
        for unit in ("tomotwin-code.service", "tomotwin-daemon.service", "tomotwin-web.service"):
            platform.start(unit)
        wait_until(platform.is_loaded, "the web server", explain=platform.said)
        yield platform
