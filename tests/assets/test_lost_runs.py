"""Runs whose process has died are ended; the others are left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.events import EngineEventData
from dagster._core.instance.ref import InstanceRef
from dagster._core.utils import make_new_run_id
from tiny_platform import Platform, make_platform

from tomotwin_assets.definitions import defs
from tomotwin_assets.instance import home, open_instance, shell_tags
from tomotwin_assets.lost_runs import end_lost_runs, is_alive, lost_runs, release_killed_runs, sweep
from tomotwin_lib.files import atomic_path

HERE = {".dagster/grpc_info": '{"host": "localhost", "socket": "/somewhere"}'}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield make_platform(tmp_path_factory.mktemp("lost"), monkeypatch)


@pytest.fixture(scope="module")
def instance(platform: Platform) -> Iterator[dg.DagsterInstance]:
    """An instance as the shell makes it."""
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home(platform.data)))) as instance:
        yield instance


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until the test ends or kills it."""
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield sleeping
    sleeping.kill()
    sleeping.wait()


def start_run(instance: dg.DagsterInstance, pid: int, tags: dict[str, str] = HERE) -> dg.DagsterRun:
    """A run in progress, as the process ``pid`` of a code server has begun it."""
    run = instance.create_run_for_job(
        defs.resolve_job_def("check_tomogram"),
        run_id=make_new_run_id(),
        status=dg.DagsterRunStatus.STARTED,
        tags=tags,
    )
    message = f"Started process for run (pid: {pid})."
    instance.report_engine_event(message, run, EngineEventData.in_process(pid))
    return run


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    again = instance.get_run_by_id(run.run_id)
    assert again is not None
    return again.status


def kill(process: subprocess.Popen[bytes]) -> int:
    process.kill()
    process.wait()
    return process.pid


def test_a_killed_one_is_ended_and_will_be_tried_again(
    instance: dg.DagsterInstance, process: subprocess.Popen[bytes]
) -> None:
    dead, alive = start_run(instance, process.pid), start_run(instance, os.getpid())
    assert end_lost_runs(instance) == []
    kill(process)
    (ended,) = end_lost_runs(instance)
    assert (ended.run.run_id, ended.pid) == (dead.run_id, process.pid)
    assert status(instance, dead) is dg.DagsterRunStatus.FAILURE
    assert status(instance, alive) is dg.DagsterRunStatus.STARTED
    assert end_lost_runs(instance) == []
    again = instance.get_run_by_id(dead.run_id)
    assert again is not None and again.tags["dagster/will_retry"] == "true"


def test_what_failed_in_a_step_is_not_tried_again(instance: dg.DagsterInstance) -> None:
    assert instance.run_retries_enabled and instance.run_retries_max_retries == 2
    assert not instance.run_retries_retry_on_asset_or_op_failure


@pytest.mark.parametrize(
    "tags", [{}, {".dagster/grpc_info": '{"host": "203.0.113.7", "port": 4000}'}], ids=["none", "elsewhere"]
)
def test_runs_of_other_machines_are_left_alone(
    instance: dg.DagsterInstance, process: subprocess.Popen[bytes], tags: dict[str, str]
) -> None:
    run = start_run(instance, kill(process), tags)
    assert end_lost_runs(instance) == []
    assert status(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_number_that_is_used_again_is_another_process() -> None:
    began = psutil.Process().create_time()
    assert is_alive(os.getpid(), began + 1)
    assert not is_alive(os.getpid(), began - 3600)


def test_its_place_in_the_pool_is_free_again(
    instance: dg.DagsterInstance, process: subprocess.Popen[bytes]
) -> None:
    storage = instance.event_log_storage
    storage.set_concurrency_slots("gpu", 1)
    run = start_run(instance, process.pid)
    assert storage.claim_concurrency_slot("gpu", run.run_id, "trained_model").is_claimed
    assert not storage.claim_concurrency_slot("gpu", "other", "trained_model").is_claimed
    before = time.time()
    kill(process)
    assert release_killed_runs(instance, before) == []
    end_lost_runs(instance)
    assert [lost.run.run_id for lost in release_killed_runs(instance, before)] == [run.run_id]
    assert storage.claim_concurrency_slot("gpu", "other", "trained_model").is_claimed


def test_only_runs_whose_process_was_killed_are_tidied_up_after(
    instance: dg.DagsterInstance, process: subprocess.Popen[bytes]
) -> None:
    began = time.time()
    killed, in_order, alive, elsewhere = (
        start_run(instance, process.pid),
        start_run(instance, process.pid),
        start_run(instance, os.getpid()),
        start_run(instance, process.pid, {}),
    )
    instance.report_engine_event(f"Process for run exited (pid: {process.pid}).", in_order)
    kill(process)
    for run in (killed, in_order, alive, elsewhere):  # as the code server does when it notices
        instance.report_run_failed(run)
    assert [lost.run.run_id for lost in release_killed_runs(instance, began)] == [killed.run_id]
    assert release_killed_runs(instance, time.time() + 1) == []


@pytest.mark.parametrize("noticed_by", ["nobody", "code server"])
def test_the_sensor_ends_runs_and_removes_what_they_left(
    platform: Platform, instance: dg.DagsterInstance, process: subprocess.Popen[bytes], noticed_by: str
) -> None:
    folder = platform.data / "products" / "similarity_map" / "net"
    with atomic_path(folder / "one.tmap") as own:
        own.touch()
        left = own.with_name(own.name.replace(str(os.getpid()), str(process.pid)))
        left.touch()
        run = start_run(instance, process.pid)
        kill(process)
        if noticed_by == "code server":
            instance.report_run_failed(run)
        context = dg.build_sensor_context(
            instance,
            cursor=json.dumps([time.time(), time.time()]),
            resources={"data_folder": platform.folder},
        )
        result = lost_runs(context)
        assert isinstance(result, dg.SensorResult)
        assert str(left) in str(result.skip_reason)
        assert status(instance, run) is dg.DagsterRunStatus.FAILURE
        assert not left.exists() and own.exists()
    assert (folder / "one.tmap").exists()


def test_runs_of_a_shell_that_was_killed_are_ended_unless_one_is_at_work(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    context = dg.build_sensor_context(instance, resources={"data_folder": platform.folder})
    with open_instance(platform.data):
        run = start_run(instance, os.getpid(), shell_tags())
        lost_runs(context)
        assert status(instance, run) is dg.DagsterRunStatus.STARTED
    lost_runs(context)
    assert status(instance, run) is dg.DagsterRunStatus.FAILURE


def test_only_old_temporaries_of_unknown_processes_are_removed(tmp_path: Path) -> None:
    old, new = tmp_path / "a" / ".one.tmap.99.tmp.tmap", tmp_path / "a" / ".two.tmap.99.tmp.tmap"
    aside = tmp_path / ".net.7.old"
    others = [tmp_path / name for name in (".hidden", "one.tmp", ".one.tmp")]
    aside.mkdir()
    (aside / "best.pth").touch()
    old.parent.mkdir()
    for path in (old, new, *others):
        path.touch()
    for path in (old, aside, *others):
        os.utime(path, (0, time.time() - 2 * 24 * 3600))
    assert set(sweep(tmp_path, set())) == {old, aside}
    assert new.exists() and all(path.exists() for path in others)
    assert sweep(tmp_path, {99}) == [new]
    assert sweep(tmp_path / "nowhere", set()) == []
