"""What a run of several partitions does when something goes wrong, on a graph that only writes words."""

# No postponed annotations: Dagster reads those of assets.

from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch

from tomotwin_assets import retries
from tomotwin_assets.batches import LATER, each_partition, is_batch

KEYS = ["a", "b", "c"]
words = dg.StaticPartitionsDefinition(KEYS)
calls: Counter[str] = Counter()
"""How often each asset was called for each partition."""
faults: dict[str, list[Exception | type[BaseException]]] = {}
"""What the next calls raise."""
BATCH = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}


class Store(dg.ConfigurableIOManager):
    """Keeps words in files of a folder."""

    folder: str

    def _path(self, context: Any) -> Path:
        return Path(self.folder) / f"{context.asset_key.to_user_string()}_{context.asset_partition_key}"

    def handle_output(self, context: dg.OutputContext, obj: str) -> None:
        self._path(context).write_text(obj)

    def load_input(self, context: dg.InputContext) -> Any:
        return LATER if is_batch(context.step_context) else self._path(context).read_text()


def work(context: dg.AssetExecutionContext) -> None:
    name = f"{context.asset_key.to_user_string()} {context.partition_key}"
    calls[name] += 1
    if faults.get(name):
        raise faults[name].pop(0)


@dg.asset(partitions_def=words)
@each_partition
def first(context: dg.AssetExecutionContext) -> dg.MaterializeResult[str]:
    """A word."""
    work(context)
    return dg.MaterializeResult(value=context.partition_key)


@dg.asset(partitions_def=words, check_specs=[dg.AssetCheckSpec("short", asset="second", blocking=True)])
@each_partition
def second(context: dg.AssetExecutionContext, first: str):  # Dagster wants no type where there are checks
    """A longer word, which must not begin with x."""
    work(context)
    short = dg.AssetCheckResult(passed=not faults.get(f"check {first}"), metadata={"word": first})
    return dg.MaterializeResult(value=first * 2, check_results=[short])


@dg.asset(partitions_def=words)
@each_partition
def third(context: dg.AssetExecutionContext, second: str) -> dg.MaterializeResult[str]:
    """A still longer word."""
    work(context)
    return dg.MaterializeResult(value=second * 2)


@dg.asset_check(asset=third, partitions_def=words)
@each_partition
def long(context: dg.AssetCheckExecutionContext, third: str) -> dg.AssetCheckResult:
    """Whether the word is long."""
    calls[f"long {third[0]}"] += 1
    return dg.AssetCheckResult(passed=len(third) == 4)


def graph(*checks: Any) -> dg.JobDefinition:
    """The graph as one job; its words lie in the folder that WORDS names."""
    definitions = dg.Definitions(
        [first, second, third],
        asset_checks=checks,
        resources={"io_manager": Store(folder=dg.EnvVar("WORDS"))},
        jobs=[dg.define_asset_job("all_words")],
        executor=dg.in_process_executor,
    )
    return definitions.resolve_job_def("all_words")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    faults.clear()
    monkeypatch.setattr(retries, "SECONDS_TO_WAIT", 0.0)


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORDS", str(tmp_path))
    return tmp_path


def run(instance: dg.DagsterInstance, *checks: Any) -> dg.ExecuteInProcessResult:
    return graph(*checks).execute_in_process(instance=instance, tags=BATCH, raise_on_error=False)


def made(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def everything() -> set[str]:
    return {f"{asset}_{key}" for asset in ("first", "second", "third") for key in KEYS}


def test_all_is_well(folder: Path, instance: dg.DagsterInstance) -> None:
    result = run(instance, long)
    assert result.success
    assert made(folder) == everything()
    assert (folder / "third_b").read_text() == "bbbb"
    assert set(calls.values()) == {1} and len(calls) == 12
    evaluated = [check for check in result.get_asset_check_evaluations() if check.check_name == "long"]
    assert len(evaluated) == 3 and all(check.passed for check in evaluated)


def test_bad_input_is_not_tried_again(folder: Path, instance: dg.DagsterInstance) -> None:
    faults["first b"] = [ValueError("no such word")]
    result = run(instance)
    assert not result.success
    assert calls["first b"] == 1
    assert made(folder) == {name for name in everything() if not name.endswith("_b")}
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_key == "third"
    assert failed.step_failure_data.error is not None
    assert "b: first: ValueError: no such word" in failed.step_failure_data.error.message


def test_a_full_device_is_tried_again_and_the_others_are_not(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    faults["second b"] = [torch.OutOfMemoryError("CUDA out of memory"), OSError(5, "Input/output error")]
    faults["second c"] = [ValueError("a bad word")]
    result = run(instance)
    assert not result.success  # because of c
    assert {key: calls[f"second {key}"] for key in KEYS} == {"a": 1, "b": 3, "c": 1}
    assert made(folder) == everything() - {"second_c", "third_c"}


def test_it_is_given_up_after_two_more_tries(folder: Path, instance: dg.DagsterInstance) -> None:
    faults["third a"] = [OSError(28, "No space left on device")] * 5
    result = run(instance)
    assert not result.success
    assert calls["third a"] == 3
    assert made(folder) == everything() - {"third_a"}
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "No space left on device" in str(failed.step_failure_data.error)


def test_all_bad_fails_at_once(folder: Path, instance: dg.DagsterInstance) -> None:
    for key in KEYS:
        faults[f"first {key}"] = [ValueError("no such word")]
    result = run(instance)
    assert [event.step_key for event in result.all_events if event.is_step_failure] == ["first"]
    assert made(folder) == set()


def test_a_blocking_check_holds_back_its_partition_alone(folder: Path, instance: dg.DagsterInstance) -> None:
    faults["check b"] = [ValueError()]
    result = run(instance)
    assert not result.success
    assert made(folder) == everything() - {"third_b"}
    evaluated = result.get_asset_check_evaluations()
    assert sorted((str(check.metadata["word"].value), check.passed) for check in evaluated) == [
        ("a", True),
        ("b", False),
        ("c", True),
    ]


def test_an_interruption_stops_all_and_the_next_run_makes_what_is_missing(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    faults["first c"] = [ValueError("a bad word")]
    faults["second b"] = [KeyboardInterrupt]
    stopped = run(instance)
    assert not stopped.success
    assert made(folder) == {"first_a", "first_b", "second_a"}
    # As Dagster's daemon goes on with a run whose process has died.
    result = dg.execute_job(
        dg.build_reconstructable_job(__name__, "graph"),
        instance=instance,
        tags={**BATCH, "dagster/is_resume_retry": "true"},
        reexecution_options=dg.ReexecutionOptions.from_failure(stopped.run_id, instance),
    )
    assert not result.success
    assert made(folder) == {name for name in everything() if not name.endswith("_c")}
    assert {name: calls[name] for name in ("first a", "second a", "second b", "second c")} == {
        "first a": 1,
        "second a": 1,
        "second b": 2,
        "second c": 0,
    }
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_key == "third"
    assert "c: first: ValueError: a bad word" in str(failed.step_failure_data.error)


def test_a_generator_or_a_function_without_context_is_refused() -> None:
    with pytest.raises(TypeError, match="must take context first"):
        each_partition(lambda: None)
