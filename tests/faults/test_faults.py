"""What a facility's computers do to a platform, and that it gets over it.

After each fault every product can be read, what the web server tells is true, and the work gets done.
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from injuries import (
    Outcome,
    cancel_while_stopped,
    catch_writing,
    complete,
    full_disk,
    message_of,
    require_sound,
    settled,
    true_state,
)
from live_platform import CODE, DAEMON, WEB, LivePlatform, wait_for
from postgres_server import PostgresServer
from products_on_disk import corrupt

from tomotwin_lib.files import sha256_of_file

pytestmark = pytest.mark.faults
LARGE = "large"
DENSE = {"tomogram_embeddings": {"stride": 1}}


def embed_densely(platform: LivePlatform) -> str:
    """Ask for the embedding of the large tomogram at every voxel: a file of 24 MB."""
    return platform.launch(
        "pick_tomogram", assets=["tomogram_embeddings"], settings=DENSE, model="net", tomogram=LARGE
    )


def pick(platform: LivePlatform, tomogram: str) -> str:
    """Ask for the picks of a tomogram."""
    return platform.launch("pick_tomogram", model="net", tomogram=tomogram)


class Writing(NamedTuple):
    """A run that was stopped while it writes a product anew."""

    product: Path
    before: str  # the hash of the file that is to be replaced
    run: str
    pid: int
    temporary: Path
    written: int  # bytes, so far


def catch_second_embedding(platform: LivePlatform) -> Writing:
    """Embed the large tomogram, and once more, until the second run writes: its process is stopped there."""
    product = platform.data / "products" / "tomogram_embeddings" / "net" / f"{LARGE}.temb"
    assert platform.finished(embed_densely(platform)) == "SUCCESS"
    before = sha256_of_file(product)
    run = embed_densely(platform)
    pid, temporary = catch_writing(product.parent, product.name)
    return Writing(product, before, run, pid, temporary, temporary.stat().st_size)


def test_killed_while_writing(platform: LivePlatform, outcome: Outcome) -> None:
    """A run is killed (SIGKILL) while it writes."""
    product, before, run, pid, temporary, written = catch_second_embedding(platform)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    assert pid == platform.process_of(run)
    assert 0 <= written < product.stat().st_size, "it was killed before or after writing"
    outcome.seen.append(f"killed after {written / 1e6:.1f} of {product.stat().st_size / 1e6:.1f} MB")
    assert sha256_of_file(product) == before
    outcome.seen.append("the old file is whole")
    outcome.seconds = true_state(platform, killed)
    # The code server notices first; what was half written is removed by the next look of the sensor.
    wait_for("the temporary file to be removed", lambda: not temporary.exists(), 120)
    complete(platform, run, partial(embed_densely, platform), outcome)
    require_sound(platform, outcome)


def test_cancelled(platform: LivePlatform, outcome: Outcome) -> None:
    """A person cancels a run while it writes."""
    product, before, run, pid, temporary, written = catch_second_embedding(platform)
    cancel_while_stopped(platform, run, pid)
    cancelled = time.monotonic()
    outcome.seen.append(f"cancelled after {written / 1e6:.1f} of {product.stat().st_size / 1e6:.1f} MB")
    assert platform.finished(run) == "CANCELED"
    wait_for("the place in the pool", lambda: platform.taken("gpu") == 0, 120)
    outcome.seconds = time.monotonic() - cancelled
    assert not temporary.exists()
    assert sha256_of_file(product) == before
    outcome.seen.append("the old file is whole, the place in the pool free")
    assert platform.finished(embed_densely(platform)) == "SUCCESS"
    outcome.seen.append("the next run ended well")
    require_sound(platform, outcome)


def test_disk_full_before(platform: LivePlatform, outcome: Outcome) -> None:
    """The disk is full when a run begins."""
    began = time.monotonic()
    with full_disk(platform.data / "products", leave_megabytes=6):
        run = embed_densely(platform)
        wait_for("the run to notice", lambda: _noticed(platform, run), 120)
        outcome.seconds = time.monotonic() - began
    complete(platform, run, partial(embed_densely, platform), outcome)
    require_sound(platform, outcome)
    told = message_of(platform, run)
    outcome.seen.insert(0, f"told: {told}" if told else "waited for space")


def test_disk_full_while_writing(platform: LivePlatform, outcome: Outcome) -> None:
    """The disk fills up while a run writes."""
    folder = platform.data / "products" / "tomogram_embeddings" / "net"
    run = embed_densely(platform)
    pid, temporary = catch_writing(folder, f"{LARGE}.temb")
    with full_disk(platform.data / "products"):
        outcome.seen.append(f"full after {temporary.stat().st_size / 1e6:.1f} MB")
        os.kill(pid, signal.SIGCONT)
        full = time.monotonic()
        wait_for("the run to notice", lambda: _noticed(platform, run), 120)
        outcome.seconds = time.monotonic() - full
    complete(platform, run, partial(embed_densely, platform), outcome)
    require_sound(platform, outcome)
    told = message_of(platform, run)
    outcome.seen.insert(1, f"told: {told}" if told else "waited for space")


def test_two_runs_of_one_partition(platform: LivePlatform, outcome: Outcome) -> None:
    """Two runs of one partition at once."""
    product = platform.data / "products" / "tomogram_embeddings" / "net" / f"{LARGE}.temb"
    first = embed_densely(platform)
    pid, temporary = catch_writing(product.parent, product.name)
    # The first waits in the middle of the file until the second has made all of it.
    second = embed_densely(platform)
    try:
        assert platform.finished(second) == "SUCCESS"
        outcome.seen.append(
            f"the second one wrote all while the first had {temporary.stat().st_size:,} bytes"
        )
        assert corrupt(platform.data) == []
    finally:
        os.kill(pid, signal.SIGCONT)
    began = time.monotonic()
    assert platform.finished(first) == "SUCCESS"
    outcome.seconds = time.monotonic() - began
    made = platform.materialization("tomogram_embeddings", f"net|{LARGE}")
    assert made is not None and made["runId"] == first
    outcome.seen.append("both ended well; the last to finish is the one that counts")
    require_sound(platform, outcome)


def test_daemon_killed(platform: LivePlatform, outcome: Outcome) -> None:
    """The daemon is killed in the middle of a run, and restarted."""
    runs = [pick(platform, name) for name in (LARGE, "one", "two")]
    wait_for("a run to begin", lambda: platform.runs("STARTED"), 120)
    platform.kill(DAEMON)
    going, waiting = platform.runs("STARTING", "STARTED"), platform.runs("QUEUED")
    outcome.seen.append(f"{len(going)} runs going, {len(waiting)} queued")
    for run in going:
        assert platform.finished(run["runId"]) == "SUCCESS"
    outcome.seen.append("what was going ended without it")
    platform.start(DAEMON)
    back = time.monotonic()
    wait_for("the queue to move", lambda: not platform.runs("QUEUED"), 180)
    outcome.seconds = time.monotonic() - back
    for run, name in zip(runs, (LARGE, "one", "two"), strict=True):
        complete(platform, run, partial(pick, platform, name), outcome)
    require_sound(platform, outcome)


def test_code_server_away(platform: LivePlatform, outcome: Outcome) -> None:
    """The code server is away when a run is to start."""
    daemon = platform.processes[DAEMON].pid
    os.kill(daemon, signal.SIGSTOP)  # so that the run is still in the queue
    try:
        run = pick(platform, "one")
        platform.kill(CODE)
    finally:
        os.kill(daemon, signal.SIGCONT)
    wait_for("the daemon to notice", lambda: _back_in_the_queue(platform, run), 120)
    outcome.seen.append("the run went back into the queue")
    platform.start(CODE)
    back = time.monotonic()
    assert platform.finished(run) == "SUCCESS"
    outcome.seconds = time.monotonic() - back
    outcome.seen.append("it ended well once the code server was back")
    settled(platform)
    require_sound(platform, outcome)


def test_power_cut(platform: LivePlatform, outcome: Outcome) -> None:
    """All processes are killed at once, as by a power cut, and started again."""
    folder = platform.data / "products" / "tomogram_embeddings" / "net"
    run = embed_densely(platform)
    other = pick(platform, "two")
    catch_writing(folder, f"{LARGE}.temb")
    platform.kill()
    killed = time.monotonic()
    platform.start(CODE, WEB, DAEMON)
    outcome.seen.append(f"up again after {time.monotonic() - killed:.0f} s")
    outcome.seconds = true_state(platform, killed)
    complete(platform, run, partial(embed_densely, platform), outcome)
    complete(platform, other, partial(pick, platform, "two"), outcome)
    settled(platform)
    require_sound(platform, outcome)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_database_restarted(
    platform_on_postgres: LivePlatform, database: PostgresServer, outcome: Outcome, mode: str
) -> None:
    """PostgreSQL is restarted under load."""
    platform = platform_on_postgres
    outcome.fault += {"fast": " (in order)", "immediate": " (crashed)"}[mode]
    names = ("one", "two", LARGE, "one", "two")
    runs = [pick(platform, name) for name in names]
    wait_for("two runs to be going", lambda: len(platform.runs("STARTED")) == 2, 120, pause=0.2)
    database.restart(mode, seconds_away=5)
    back = time.monotonic()
    for name in (CODE, WEB, DAEMON):
        if platform.processes[name].poll() is not None:
            outcome.seen.append(f"the {name} ended and was started again, as its service would")
            platform.kill(name)
            platform.start(name)
    wait_for("the web server to answer", lambda: all(_answers(platform) for _ in range(4)), 120)
    outcome.seconds = true_state(platform, back)
    for run, name in zip(runs, names, strict=True):
        complete(platform, run, partial(pick, platform, name), outcome)
    for name in (WEB, DAEMON):
        assert platform.processes[name].poll() is None, platform.log(name)[-3000:]
    settled(platform)
    require_sound(platform, outcome)


def _noticed(platform: LivePlatform, run: str) -> bool:
    """Whether a run has failed or has one of its steps waiting for a second attempt."""
    found = platform.run(run)
    kinds = {event["__typename"] for event in found["eventConnection"]["events"]}
    return found["status"] == "FAILURE" or "ExecutionStepUpForRetryEvent" in kinds


def _back_in_the_queue(platform: LivePlatform, run: str) -> bool:
    messages = [event.get("message") or "" for event in platform.run(run)["eventConnection"]["events"]]
    return any("re-submitting the run into the queue" in message for message in messages)


def _answers(platform: LivePlatform) -> bool:
    """Whether the web server knows about all runs that are alive: its old connections fail once each."""
    try:
        platform.untrue_runs()
    except (OSError, RuntimeError, LookupError):
        return False
    return True
