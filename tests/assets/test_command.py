"""The shell command: exit codes, and one line for what is wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from tiny_platform import Platform

from tomotwin_assets.instance import HOME_VARIABLE, home, open_instance, shell_tags
from tomotwin_assets.settings import DATA_VARIABLE
from tomotwin_lib.errors import InputError


def only_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    return line


def test_without_a_data_folder(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ[DATA_VARIABLE] = "/nowhere"
    assert platform.call("run") == 2
    assert only_line(capsys.readouterr().out).startswith("/nowhere: the data folder does not exist.")


def test_names_that_are_not_there(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    assert platform.call("run", "--model", "nett") == 2
    assert only_line(capsys.readouterr().out) == "--model: there is no model 'nett'. There are net."


def test_a_folder_without_tomograms(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (platform.data / "tomograms").iterdir():
        path.unlink()
    assert platform.call("run") == 2
    assert "there is no tomogram" in only_line(capsys.readouterr().out)


def test_register_lists_what_is_there(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    assert platform.call("register") == 0
    assert "1 model (net); 2 tomograms (one, two)" in capsys.readouterr().out


def test_the_instance_is_quiet_and_lies_with_the_data(platform: Platform) -> None:
    assert home(platform.data) == platform.data / ".dagster_home"
    with open_instance(platform.data) as instance:
        assert instance.telemetry_enabled is False
        assert instance.nux_enabled is False
        assert instance.is_persistent
        assert instance.event_log_storage.get_pool_config().default_pool_limit == 1
        concurrency = instance.get_concurrency_config()
        assert concurrency.run_queue_config is not None
        assert concurrency.run_queue_config.max_concurrent_runs == 2
        assert concurrency.run_queue_config.op_concurrency_slot_buffer == 1
        assert concurrency.run_queue_config.max_user_code_failure_retries == 3


def test_each_data_folder_has_its_own_history(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert home(platform.data) != home(tmp_path / "other")
    os.environ[HOME_VARIABLE] = str(tmp_path / "mine")
    try:
        assert home(platform.data) == home(tmp_path / "other") == tmp_path / "mine"
    finally:
        del os.environ[HOME_VARIABLE]


def test_two_shells_do_not_work_on_one_history(platform: Platform) -> None:
    with (
        open_instance(platform.data),
        pytest.raises(InputError, match="another tomotwin-platform is at work"),
        open_instance(platform.data),
    ):
        pass


def test_runs_of_a_killed_shell_are_closed(platform: Platform) -> None:
    @dg.job
    def nothing() -> None:
        pass

    with open_instance(platform.data) as instance:
        run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED, tags=shell_tags())
    with open_instance(platform.data) as instance:
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.FAILURE


def test_the_ui_opens_the_same_history(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def replaced(program: str, arguments: list[str]) -> None:
        called.append(arguments)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", replaced)
    monkeypatch.setenv(HOME_VARIABLE, "")
    with pytest.raises(SystemExit):
        platform.call("ui", "--port", "3456")
    assert os.environ[HOME_VARIABLE] == str(platform.data / ".dagster_home")
    (arguments,) = called
    assert arguments[1:6] == ["-m", "dagster", "dev", "-m", "tomotwin_assets.definitions"]
    assert arguments[-2:] == ["-p", "3456"]


def test_the_ui_says_that_its_port_is_taken(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert platform.call("ui", "--port", str(port)) == 2
    assert f"--port {port}" in only_line(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("[picking]\nlowest_simlarity = 0.6\n", "unknown settings: lowest_simlarity"),
        ("[picking]\nlowest_similarity = 6\n", "lowest_similarity is 6"),
        ("[picking\n", "the settings cannot be read"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(tmp_path: Path, settings: str, problem: str) -> None:
    (tmp_path / "tomotwin.toml").write_text(settings)
    # The graph reads the settings when it is imported, which in this process it has been.
    outcome = subprocess.run(
        [sys.executable, "-m", "tomotwin_assets.command", "status"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert outcome.returncode == 2
    assert "Traceback" not in outcome.stderr
    line = only_line(outcome.stdout)
    assert line.startswith(str(tmp_path / "tomotwin.toml")) and problem in line


def test_an_interrupted_step_ends_the_command(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("tomotwin_assets.assets.embeddings.require_usable", interrupted)
    assert platform.call("run") == 130
    out = capsys.readouterr().out
    assert "Interrupted; what was finished is kept." in out
    assert "tomogram_embeddings" not in out


def test_a_failure_that_is_no_input_error_is_one_line_too(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("by [nothing]")

    monkeypatch.setattr("tomotwin_assets.assets.embeddings.find_volumes", broken)
    assert platform.call("run", "--tomogram", "one") == 1
    out = capsys.readouterr().out
    (failure,) = [line for line in out.splitlines() if "✗" in line]
    assert "ZeroDivisionError: by [nothing]" in failure
    assert "Traceback" not in out
