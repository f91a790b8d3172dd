"""What the record of events says of all partitions at once: a few queries, however many there are.

Storage numbers order events: of two, the one with the higher number came later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    AUTO_RETRY_RUN_ID_TAG,
    WILL_RETRY_TAG,
)

from tomotwin_assets.graph import Graph
from tomotwin_assets.provenance import VERSION_TAG

UNFINISHED = (*IN_PROGRESS_RUN_STATUSES, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)
_CHUNK = 500
"""Runs asked for in one query: databases limit the length of it."""


@dataclass(frozen=True)
class Attempt:
    """The latest start of a product that has not ended with the product.

    Attributes
    ----------
    number : of its start, in the record of events.
    running : it is queued, at work, or will be tried again by Dagster.
    cancelled : somebody cancelled it.
    alone : the run was for this partition only.
    """

    number: int
    running: bool = False
    cancelled: bool = False
    alone: bool = True


def latest_numbers(graph: Graph, instance: dg.DagsterInstance) -> dict[str, dict[str | None, int]]:
    """Asset → partition → number of the event in which it was last made, or reported."""
    storage = instance.event_log_storage
    made: dict[str, dict[str | None, int]] = {}
    for asset, dimensions in graph.dimensions.items():
        if dimensions:
            numbers = storage.get_latest_storage_id_by_partition(
                dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION
            )
            made[asset] = dict(numbers.items())
    for asset, number in _numbers_without_partitions(graph, instance).items():
        made[asset] = {None: number}
    return made


def _numbers_without_partitions(graph: Graph, instance: dg.DagsterInstance) -> dict[str, int]:
    without = [dg.AssetKey(asset) for asset, dimensions in graph.dimensions.items() if not dimensions]
    entries = [record.asset_entry for record in instance.get_asset_records(without)]
    return {
        entry.asset_key.to_user_string(): entry.last_materialization_storage_id
        for entry in entries
        if entry.last_materialization_storage_id is not None
    }


def latest_attempts(graph: Graph, instance: dg.DagsterInstance) -> dict[str, dict[str | None, Attempt]]:
    """Starts without a product, and what became of their runs."""
    storage = instance.event_log_storage
    found: dict[str, dict[str | None, tuple[str, int]]] = {}
    for asset, dimensions in graph.dimensions.items():
        if dimensions:
            starts = storage.get_latest_asset_partition_materialization_attempts_without_materializations(
                dg.AssetKey(asset)
            )
            found[asset] = dict(starts.items())
    numbers = _numbers_without_partitions(graph, instance)
    for asset in (asset for asset, dimensions in graph.dimensions.items() if not dimensions):
        start = storage.get_latest_planned_materialization_info(dg.AssetKey(asset))
        if start is not None and start.storage_id > numbers.get(asset, 0):
            found[asset] = {None: (start.run_id, start.storage_id)}
    runs = _runs(instance, {run for keys in found.values() for run, _ in keys.values()})
    return {
        asset: {key: replace(runs[run], number=number) for key, (run, number) in keys.items() if run in runs}
        for asset, keys in found.items()
    }


_ended: dict[str, Attempt] = {}
"""Runs that cannot change any more, kept while the process lives: thousands may have failed."""


def _runs(instance: dg.DagsterInstance, ids: set[str]) -> dict[str, Attempt]:
    """What became of runs that have not made all they were to make; deleted ones are left out."""
    runs = {run: _ended[run] for run in ids if run in _ended}
    unknown = sorted(ids - set(runs))
    for start in range(0, len(unknown), _CHUNK):
        for run in instance.get_runs(dg.RunsFilter(run_ids=unknown[start : start + _CHUNK])):
            again = run.tags.get(WILL_RETRY_TAG) == "true" and AUTO_RETRY_RUN_ID_TAG not in run.tags
            attempt = runs[run.run_id] = Attempt(
                number=0,
                running=run.status in UNFINISHED or (run.status is dg.DagsterRunStatus.FAILURE and again),
                cancelled=run.status is dg.DagsterRunStatus.CANCELED,
                alone=run.tags.get(ASSET_PARTITION_RANGE_START_TAG)
                == run.tags.get(ASSET_PARTITION_RANGE_END_TAG),
            )
            if not attempt.running:
                _ended[run.run_id] = attempt
    return runs


def blocked(graph: Graph, instance: dg.DagsterInstance) -> frozenset[tuple[str, str | None]]:
    """What a blocking check has failed on as it is now, with an error and not a mere warning."""
    found: set[tuple[str, str | None]] = set()
    failed: dict[dg.AssetCheckKey, set[str | None]] = {}
    for info in instance.event_log_storage.get_asset_check_partition_info(list(graph.blocking_checks)):
        made = info.latest_materialization_storage_id or 0
        current = info.is_current or info.latest_check_event_storage_id > made
        if current and info.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED:
            failed.setdefault(info.check_key, set()).add(info.partition_key)
    for check, keys in failed.items():
        warned = _warnings(instance, check, most=2 * len(keys) + _CHUNK)
        found |= {(check.asset_key.to_user_string(), key) for key in keys - warned}
    return frozenset(found)


def _warnings(instance: dg.DagsterInstance, check: dg.AssetCheckKey, most: int) -> set[str | None]:
    """Partitions whose latest failure of a check is a warning, which stops nothing."""
    severity: dict[str | None, dg.AssetCheckSeverity] = {}
    for record in instance.event_log_storage.get_asset_check_execution_history(
        check, limit=most, status={AssetCheckExecutionRecordStatus.FAILED}
    ):
        if record.event is not None and record.event.dagster_event is not None:
            evaluation = record.event.dagster_event.asset_check_evaluation_data
            severity.setdefault(record.partition, evaluation.severity)  # the newest comes first
    return {key for key, found in severity.items() if found is dg.AssetCheckSeverity.WARN}


def unchanged_since(instance: dg.DagsterInstance, asset: str) -> int | None:
    """Number of the event since when an asset without partitions has had the content that it has now.

    Making it again without a change gives it a new event, which its children need not follow.
    """
    since, version, cursor = None, None, None
    while True:
        page = instance.fetch_materializations(dg.AssetKey(asset), limit=_CHUNK, cursor=cursor)
        for record in page.records:
            event = record.asset_materialization
            found = (event.tags or {}).get(VERSION_TAG) if event is not None else None
            if since is not None and (found is None or found != version):
                return since
            since, version = record.storage_id, found
        if not page.has_more:
            return since
        cursor = page.cursor
