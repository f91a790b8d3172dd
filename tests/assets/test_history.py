"""What the record of events says of all partitions at once."""

from collections.abc import Iterator

import dagster as dg
import pytest

from tomotwin_assets.graph import Graph
from tomotwin_assets.history import (
    Attempt,
    blocked,
    latest_attempts,
    latest_numbers,
    unchanged_since,
)

CHECK = dg.AssetCheckKey(dg.AssetKey("thing"), "usable")
GRAPH = Graph({}, {"thing": ("tomogram",), "whole": ()}, blocking_checks=(CHECK,))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def made(instance: dg.DagsterInstance, asset: str, key: str | None = None, version: str = "1") -> int:
    event = dg.AssetMaterialization(asset, partition=key, tags={"dagster/data_version": version})
    instance.report_runless_asset_event(event)
    return instance.fetch_materializations(dg.AssetKey(asset), limit=1).records[0].storage_id


def test_the_latest_number_of_each_partition(instance: dg.DagsterInstance) -> None:
    made(instance, "thing", "a")
    b = made(instance, "thing", "b")
    a = made(instance, "thing", "a")
    made(instance, "whole")
    whole = made(instance, "whole")
    assert latest_numbers(GRAPH, instance) == {"thing": {"a": a, "b": b}, "whole": {None: whole}}


def test_a_blocking_check_that_failed_with_an_error_blocks_until_the_next_making(
    instance: dg.DagsterInstance,
) -> None:
    def checked(
        key: str, passed: bool, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
    ) -> None:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=CHECK.asset_key,
                check_name=CHECK.name,
                passed=passed,
                severity=severity,
                partition=key,
            )
        )

    for key in "abc":
        made(instance, "thing", key)
    checked("a", passed=True)
    checked("b", passed=False)
    checked("c", passed=False, severity=dg.AssetCheckSeverity.WARN)
    assert blocked(GRAPH, instance) == {("thing", "b")}
    made(instance, "thing", "b")
    assert blocked(GRAPH, instance) == frozenset()


def test_since_when_the_content_is_what_it_is(instance: dg.DagsterInstance) -> None:
    assert unchanged_since(instance, "whole") is None
    made(instance, "whole", version="old")
    made(instance, "whole", version="new")
    made(instance, "whole", version="old")
    since = made(instance, "whole", version="new")
    made(instance, "whole", version="new")
    assert unchanged_since(instance, "whole") == since


def test_attempts_are_starts_without_a_product_and_know_how_they_ended(instance: dg.DagsterInstance) -> None:
    bad = {"b"}

    @dg.asset(
        partitions_def=dg.StaticPartitionsDefinition(list("abcd")),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def thing(context: dg.AssetExecutionContext) -> None:
        if bad & set(context.partition_keys):
            raise ValueError("bad")

    @dg.asset
    def whole() -> None:
        raise ValueError("bad")

    def run(asset: dg.AssetsDefinition, **options: object) -> None:
        dg.materialize([asset], instance=instance, raise_on_error=False, **options)  # type: ignore[arg-type]

    ends = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}
    run(thing, tags=ends)
    run(thing, partition_key="b")
    run(thing, partition_key="a")
    run(whole)
    attempts = latest_attempts(GRAPH, instance)
    assert {key: (attempt.alone, attempt.running) for key, attempt in attempts["thing"].items()} == {
        "b": (True, False),
        "c": (False, False),
    }
    assert attempts["whole"][None].alone and not attempts["whole"][None].running

    job = dg.define_asset_job("job", selection=[thing]).resolve(
        asset_graph=dg.Definitions([thing]).get_repository_def().asset_graph
    )
    started = instance.create_run_for_job(
        job,
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "d"},
    )
    assert latest_attempts(GRAPH, instance)["thing"]["d"].running
    instance.report_run_canceled(started)
    found = latest_attempts(GRAPH, instance)["thing"]["d"]
    assert found == Attempt(found.number, running=False, cancelled=True, alone=True)
