"""The platform as a facility runs it, for tests: code server, web server and daemon, each a process.

They work on a data folder with its own ``DAGSTER_HOME``; each has its own session, so that one can be killed
without the others, and all of them (with the runs that they started) for sure.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml
from postgres_server import free_port

from tomotwin_assets import instance
from tomotwin_assets.settings import DATA_VARIABLE, DEVICE_VARIABLE

T = TypeVar("T")

LOCATION = "tomotwin"
REPOSITORY = "__repository__"
CODE, WEB, DAEMON = "code server", "web server", "daemon"
ALIVE = ("STARTING", "STARTED", "CANCELING")
FINISHED = ("SUCCESS", "FAILURE", "CANCELED")
_PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 4
"""By how much longer anything is waited for than it takes on a machine that has nothing else to do."""


def wait_for(what: str, look: Callable[[], T | None], seconds: float, pause: float = 0.5) -> T:
    """Call ``look`` until it returns something true, and return that; a web server may fail meanwhile.

    Parameters
    ----------
    seconds : in which it may be expected where nothing else is going on; :data:`PATIENCE` times as many are
        given.

    Raises
    ------
    TimeoutError
        If it has not; names ``what``.
    """
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(urllib.error.URLError, ConnectionError):
            if found := look():
                return found
        time.sleep(pause)
    raise TimeoutError(f"waited {seconds:g} s for {what}")


def ask(url: str, query: str, **variables: Any) -> dict[str, Any]:
    """The data that the web server at ``url`` answers to a GraphQL query.

    Raises
    ------
    RuntimeError
        If the query is wrong or fails.
    """
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        content = json.load(answer)
    if content.get("errors"):
        raise RuntimeError(json.dumps(content["errors"])[:2000])
    return dict(content["data"])


@dataclass
class LivePlatform:
    """Processes on one data folder, and what the web server tells about them.

    Attributes
    ----------
    data : the data folder.
    home : ``DAGSTER_HOME`` and the processes' logs.
    configuration : replaces entries of the platform's own ``dagster.yaml``.
    """

    data: Path
    home: Path
    configuration: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = {CODE: free_port(), WEB: free_port()}
        self.url = f"http://127.0.0.1:{self.ports[WEB]}"
        self.home.mkdir(parents=True, exist_ok=True)
        own = yaml.safe_load(instance.CONFIGURATION)
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(_merged(own, self.configuration)))
        server = {"host": "127.0.0.1", "port": self.ports[CODE], "location_name": LOCATION}
        (self.home / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))

    @property
    def variables(self) -> dict[str, str]:
        """The environment of the processes."""
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            instance.HOME_VARIABLE: str(self.home),
            DATA_VARIABLE: str(self.data),
            DEVICE_VARIABLE: "cpu",
            **self.environment,
        }

    def start(self, *names: str) -> LivePlatform:
        """Start the named processes, all by default, and wait until the web server knows the code."""
        for name in names or (CODE, WEB, DAEMON):
            with (self.home / f"{name.replace(' ', '_')}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", *self._command(name)],
                    cwd=self.home,
                    env=self.variables,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=_die_with_parent,
                )
            if name == CODE:
                wait_for("the code server", lambda: self._answers(CODE), 300)
        if WEB in self.processes:
            wait_for("the web server", self._loaded, 300)
        return self

    def kill(self, *names: str) -> None:
        """SIGKILL to the named processes (default: all) and to those that they started, as in a crash."""
        for name in names or tuple(self.processes):
            process = self.processes.pop(name)
            children = _children(process.pid)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            process.wait(30)

    def stop(self) -> None:
        """End all processes: asked first, killed after some seconds."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.terminate()
        with suppress(subprocess.TimeoutExpired):
            for process in self.processes.values():
                process.wait(10)
        self.kill()

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data that the web server answers: see :func:`ask`."""
        return ask(self.url, query, **variables)

    def launch(
        self,
        job: str,
        *,
        assets: Sequence[str] = (),
        settings: dict[str, dict[str, Any]] | None = None,
        **keys: str,
    ) -> str:
        """Ask for a run of a job for the partition that ``keys`` name (``model=…, tomogram=…``); its id.

        Of all its assets or only some, with other settings than the usual ones, by asset.
        """
        all_tags = {}
        if len(keys) == 1:
            all_tags["dagster/partition"] = next(iter(keys.values()))
        elif keys:
            all_tags["dagster/partition"] = "|".join(keys[name] for name in sorted(keys))
            all_tags |= {f"dagster/partition/{name}": key for name, key in keys.items()}
        selector: dict[str, Any] = {
            "repositoryLocationName": LOCATION,
            "repositoryName": REPOSITORY,
            "jobName": job,
        }
        if assets:
            selector["assetSelection"] = [{"path": [asset]} for asset in assets]
        operations = {asset: {"config": values} for asset, values in (settings or {}).items()}
        parameters = {
            "selector": selector,
            "runConfigData": {"ops": operations} if operations else {},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": name, "value": text} for name, text in all_tags.items()]},
        }
        answer = self.graphql(_LAUNCH, parameters=parameters)["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise RuntimeError(json.dumps(answer)[:2000])
        return str(answer["run"]["runId"])

    def run(self, run_id: str) -> dict[str, Any]:
        """Status, tags and messages of a run."""
        return dict(self.graphql(_RUN, run=run_id)["runOrError"])

    def runs(self, *statuses: str) -> list[dict[str, Any]]:
        """All runs (with one of ``statuses``), latest first."""
        chosen = {"statuses": list(statuses)} if statuses else {}
        return list(self.graphql(_RUNS, filter=chosen)["runsOrError"]["results"])

    def finished(self, run_id: str, seconds: float = 180) -> str:
        """Wait until a run has finished; its status."""

        def look() -> str | None:
            status = self.run(run_id)["status"]
            return status if status in FINISHED else None

        return wait_for(f"run {run_id}", look, seconds)

    def cancel(self, run_id: str) -> None:
        """Ask for the end of a run, as the button in the UI does.

        The web server answers when the run's process has heard of it: one that is stopped keeps it waiting.
        """
        answer = self.graphql(_CANCEL, run=run_id)["terminateRun"]
        if answer["__typename"] != "TerminateRunSuccess":
            raise RuntimeError(json.dumps(answer)[:2000])

    def taken(self, pool: str) -> int:
        """How many places of a pool are taken."""
        return int(self.graphql(_POOL, pool=pool)["instance"]["concurrencyLimit"]["activeSlotCount"])

    def process_of(self, run_id: str) -> int | None:
        """The process that executes a run, as the run's own events tell; ``None`` before it has begun."""
        for event in self.run(run_id)["eventConnection"]["events"]:
            message = event.get("message") or ""
            if message.startswith("Started process for run (pid: "):
                return int(message.partition("pid: ")[2].partition(")")[0])
        return None

    def untrue_runs(self) -> list[str]:
        """Runs that pass for alive although their process is dead."""
        wrong = []
        for run in self.runs(*ALIVE):
            pid = self.process_of(run["runId"])
            if pid is not None and not _lives(pid):
                wrong.append(run["runId"])
        return wrong

    def partitions(self, name: str) -> list[str]:
        """The keys of a dynamic partition set, as the UI shows them."""
        asset = {"models": "trained_model", "tomograms": "tomogram"}[name]
        node = self.graphql(_PARTITIONS, asset={"path": [asset]})["assetNodeOrError"]
        return list(node["partitionKeysByDimension"][0]["partitionKeys"])

    def materialization(self, asset: str, partition: str | None = None) -> dict[str, Any] | None:
        """The latest materialisation: run, time, and metadata by label; ``None`` where it was never made."""
        chosen = None if partition is None else [partition]
        node = self.graphql(_MATERIALIZATION, asset={"path": [asset]}, partitions=chosen)["assetOrError"]
        found = node.get("assetMaterializations")
        if not found:
            return None
        metadata = {entry["label"]: entry for entry in found[0]["metadataEntries"]}
        return {**found[0], "metadata": metadata}

    def _command(self, name: str) -> list[str]:
        workspace = ["-w", str(self.home / "workspace.yaml")]
        if name == CODE:
            code = ["-m", "tomotwin_assets.definitions", "--location-name", LOCATION]
            return ["dagster", "api", "grpc", "-h", "127.0.0.1", "-p", str(self.ports[CODE]), *code]
        if name == WEB:
            return ["dagster_webserver", *workspace, "-h", "127.0.0.1", "-p", str(self.ports[WEB])]
        return ["dagster._daemon", "run", *workspace]

    def _answers(self, name: str) -> bool:
        process = self.processes[name]
        if process.poll() is not None:
            raise RuntimeError(f"the {name} ended: {self.log(name)[-2000:]}")
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.ports[name])) == 0

    def _loaded(self) -> bool:
        if not self._answers(WEB):
            return False
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/server_info", timeout=10) as answer:
            if answer.status == 200:
                locations = self.graphql(_LOCATIONS)["workspaceOrError"]["locationEntries"]
                return [entry["loadStatus"] for entry in locations] == ["LOADED"]
        return False

    def log(self, name: str) -> str:
        """What a process has written."""
        path = self.home / f"{name.replace(' ', '_')}.log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextmanager
def live_platform(data: Path, home: Path, **options: Any) -> Iterator[LivePlatform]:
    """A platform on ``data`` that runs while the block does."""
    platform = LivePlatform(data, home, **options)
    try:
        yield platform.start()
    finally:
        platform.stop()


def _die_with_parent() -> None:
    """Asks Linux to end this process when the one that started it is killed: tests leave nothing behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(below[name], above[name])
        for name in below.keys() & above.keys()
        if isinstance(below[name], dict) and isinstance(above[name], dict)
    }
    return {**below, **above, **both}


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _lives(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


_LAUNCH = """
mutation($parameters: ExecutionParams!) { launchRun(executionParams: $parameters) {
  __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message }
} }
"""
_RUN = """
query($run: ID!) { runOrError(runId: $run) { ... on Run {
  runId status jobName startTime endTime tags { key value }
  eventConnection { events {
    __typename
    ... on MessageEvent { message timestamp stepKey }
    ... on ExecutionStepFailureEvent { error { message className causes { message className } } }
  } }
} } }
"""
_CANCEL = """
mutation($run: String!) { terminateRun(runId: $run) { __typename ... on TerminateRunFailure { message } } }
"""
_POOL = """
query($pool: String!) { instance { concurrencyLimit(concurrencyKey: $pool) { activeSlotCount } } }
"""
_RUNS = """
query($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs {
  results { runId status jobName startTime endTime creationTime tags { key value } }
} } }
"""
_PARTITIONS = """
query($asset: AssetKeyInput!) { assetNodeOrError(assetKey: $asset) { ... on AssetNode {
  partitionKeysByDimension { name partitionKeys }
} } }
"""
_MATERIALIZATION = """
query($asset: AssetKeyInput!, $partitions: [String!]) { assetOrError(assetKey: $asset) { ... on Asset {
  assetMaterializations(partitions: $partitions, limit: 1) {
    runId timestamp partition
    metadataEntries {
      label __typename
      ... on TextMetadataEntry { text }
      ... on MarkdownMetadataEntry { mdStr }
      ... on FloatMetadataEntry { floatValue }
      ... on IntMetadataEntry { intValue }
      ... on PathMetadataEntry { path }
      ... on JsonMetadataEntry { jsonString }
    }
  }
} } }
"""
_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }
"""
