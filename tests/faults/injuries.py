"""How the faults are done: small disks, writes caught in the act, runs that are asked for again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from live_platform import ALIVE, FINISHED, LivePlatform, wait_for
from products_on_disk import corrupt, leftovers


@dataclass
class Outcome:
    """One row of the table of faults.

    Attributes
    ----------
    seen : what happened, in a few words each.
    seconds : from the end of the fault until what the web server tells was true.
    """

    fault: str
    seen: list[str] = field(default_factory=list)
    seconds: float | None = None
    result: str = "failed"


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A disk of its own at ``folder``, in memory; skips where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@contextmanager
def full_disk(folder: Path, leave_megabytes: float = 0) -> Iterator[None]:
    """Fill the disk of ``folder`` with one hidden file, but for some megabytes, while the block runs."""
    filler = folder / ".filler"
    left = int(shutil.disk_usage(folder).free - leave_megabytes * 1e6)
    try:
        with suppress(OSError), filler.open("wb", buffering=0) as stream:  # full a little earlier is full
            while left > 0:
                left -= stream.write(b"\0" * min(left, 1_000_000))
        yield
    finally:
        filler.unlink()


def catch_writing(folder: Path, name: str, megabytes: float = 4, seconds: float = 180) -> tuple[int, Path]:
    """Stop the process that writes the product ``name`` in ``folder`` once it has written some megabytes.

    Returns the process, which can do nothing more until it is sent SIGCONT, and the temporary file.
    """
    pid, temporary = _writer(folder, name, seconds)
    while True:  # a millisecond at a time: the whole file takes some tens of them
        os.kill(pid, signal.SIGSTOP)
        assert temporary.exists(), f"{name} was written before its writer could be stopped"
        if temporary.stat().st_size >= megabytes * 1e6:
            return pid, temporary
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.001)


def _writer(folder: Path, name: str, seconds: float) -> tuple[int, Path]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(FileNotFoundError):
            for entry in os.scandir(folder):
                # ".<name>.<process>.tmp<ending>": see tomotwin_lib.files.atomic_path.
                if entry.name.startswith(f".{name}.") and ".tmp" in entry.name:
                    pid = int(entry.name.removeprefix(f".{name}.").partition(".tmp")[0])
                    if psutil.pid_exists(pid):  # else it is what a writer left that was killed
                        return pid, Path(entry.path)
        time.sleep(0.0005)
    raise TimeoutError(f"nothing wrote {name} within {seconds:g} s")


def cancel_while_stopped(platform: LivePlatform, run_id: str, pid: int) -> None:
    """Cancel a run whose process was stopped, and let the process go on once the platform knows of it.

    So the process hears of it where it stands.
    """
    with ThreadPoolExecutor(1) as aside:  # the web server answers only when the process does
        try:
            asked = aside.submit(platform.cancel, run_id)
            wait_for(
                "the run to be called off",
                lambda: platform.run(run_id)["status"] == "CANCELING",
                30,
                pause=0.1,
            )
        finally:
            os.kill(pid, signal.SIGCONT)
        asked.result(60)


def true_state(platform: LivePlatform, since: float, seconds: float = 240) -> float:
    """Wait until no run passes for alive whose process is dead; seconds since ``since``."""
    wait_for(
        "the platform to notice which runs are dead", lambda: not platform.untrue_runs(), seconds, pause=1
    )
    return time.monotonic() - since


def complete(
    platform: LivePlatform,
    run_id: str,
    again: Callable[[], str],
    outcome: Outcome,
    seconds: float = 300,
) -> None:
    """See that the work of a run is done in the end: by itself, by the platform's own retry, or asked again.

    ``again`` is called without arguments where the platform does not retry; it returns the id of a run.
    """
    status = platform.finished(run_id, seconds)
    if status == "SUCCESS":
        outcome.seen.append("the run ended well by itself")
        return
    retried = _retry_of(platform, run_id)
    if retried is not None:
        if platform.finished(retried, seconds) == "SUCCESS":
            outcome.seen.append("retried by the platform")
            return
        run_id = retried
    status = platform.finished(again(), seconds)
    outcome.seen.append("made when asked again")
    assert status == "SUCCESS", f"asked again, the run ended as {status}"


def _retry_of(platform: LivePlatform, run_id: str, seconds: float = 45) -> str | None:
    """The run by which the platform retries another one; ``None`` if there is none after a while."""

    def told() -> str | None:
        tags = {tag["key"]: tag["value"] for tag in platform.run(run_id)["tags"]}
        return tags.get("dagster/will_retry")

    # Whoever ends the run says it a moment later.
    with suppress(TimeoutError):
        if wait_for("whether the run will be tried again", told, 5) != "true":
            return None

    def look() -> str | None:
        for run in platform.runs():
            if {"key": "dagster/parent_run_id", "value": run_id} in run["tags"]:
                return str(run["runId"])
        return None

    with suppress(TimeoutError):
        return wait_for("the retry", look, seconds)
    return None


def settled(platform: LivePlatform, seconds: float = 300) -> None:
    """Wait until no run is queued or alive."""
    wait_for("all runs to end", lambda: not platform.runs("QUEUED", "NOT_STARTED", *ALIVE), seconds, pause=1)


def require_sound(platform: LivePlatform, outcome: Outcome) -> None:
    """Every product is readable, no run passes for alive that is dead; says what writes left behind."""
    assert corrupt(platform.data) == []
    assert platform.untrue_runs() == []
    rest = [name for name in leftovers(platform.data) if not name.endswith(".filler")]
    outcome.seen.append(f"{len(rest)} temporary files left" if rest else "no temporary files left")
    outcome.result = "passed"


def message_of(platform: LivePlatform, run_id: str) -> str:
    """Why a run failed, as its page shows it."""
    run = platform.run(run_id)
    assert run["status"] in FINISHED, run["status"]
    for event in run["eventConnection"]["events"]:
        if event["__typename"] == "ExecutionStepFailureEvent" and event["error"]:
            links = [event["error"], *event["error"]["causes"]]
            messages = [link["message"].strip() for link in links]
            return " / ".join(message.splitlines()[0] for message in messages if message)
    return ""
