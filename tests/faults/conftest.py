"""Platforms to be injured, and the table of what they took."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import pytest
from injuries import Outcome, small_disk
from live_data import live_data
from live_platform import LivePlatform, live_platform, wait_for
from postgres_server import PostgresServer, postgres_server

_OUTCOMES: list[Outcome] = []
# Large enough to be caught while its embedding is written.
LARGE = "large"
TOMOGRAMS = ("one", "two", LARGE)


@pytest.fixture
def outcome(request: pytest.FixtureRequest) -> Outcome:
    """The row of the table that belongs to a test; its first line of documentation names the fault."""
    row = Outcome((request.function.__doc__ or request.node.name).strip().splitlines()[0].rstrip("."))
    _OUTCOMES.append(row)
    return row


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    """A platform with SQLite whose products lie on a small disk; everything before picking is made."""
    root = tmp_path_factory.mktemp("faults")
    data = live_data(root, by_hand=True, large=LARGE)
    # Otherwise the queue would keep two runs that need the device from running at once.
    configuration = {
        "concurrency": {"pools": {"default_limit": 2}},
        "run_queue": {"user_code_failure_retry_delay": 5},
    }
    with (
        small_disk(data / "products", 150),
        live_platform(data, root / "home", configuration=configuration) as live,
    ):
        prepare(live)
        yield live


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    """A PostgreSQL server."""
    if importlib.util.find_spec("dagster_postgres") is None:
        pytest.skip("dagster-postgres is not installed: make install-services")
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def platform_on_postgres(
    tmp_path_factory: pytest.TempPathFactory, database: PostgresServer
) -> Iterator[LivePlatform]:
    """The same with its history in PostgreSQL."""
    root = tmp_path_factory.mktemp("postgres")
    storage = {"storage": {"postgres": {"postgres_url": database.url()}}}
    data = live_data(root, by_hand=True, large=LARGE)
    with live_platform(data, root / "home", configuration=storage) as live:
        prepare(live)
        yield live


def prepare(live: LivePlatform) -> None:
    """Make all that picking needs."""
    wait_for("the partitions", lambda: set(live.partitions("tomograms")) == set(TOMOGRAMS), 120)
    first = [live.launch("prepare_data")]
    first += [live.launch("check_tomogram", tomogram=tomogram) for tomogram in TOMOGRAMS]
    assert {live.finished(run) for run in first} == {"SUCCESS"}
    # On a machine that has other things to do, the daemon may give up on starting a run.
    assert "SUCCESS" in (live.finished(live.launch("train_model", model="net"), 300) for _ in range(2))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that fails half-way says so in the table."""
    report = yield
    found = report.get_result()  # type: ignore[attr-defined]
    row = item.funcargs.get("outcome") if hasattr(item, "funcargs") else None
    if row is not None and found.when == "call" and not found.passed:
        row.result = "skipped" if found.skipped else "FAILED"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if not _OUTCOMES:
        return
    write: Callable[[str], None] = terminalreporter.write_line
    write("")
    write("| fault | what was seen | seconds until the state was true | result |")
    write("|---|---|---|---|")
    for row in _OUTCOMES:
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        write(f"| {row.fault} | {'; '.join(row.seen)} | {seconds} | {row.result} |")
