"""The state of the platform at one moment, as ``plan`` needs it: a few queries, however many partitions.

Nothing is remembered from one look to the next, so restarting changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    AUTO_RETRY_RUN_ID_TAG,
    WILL_RETRY_TAG,
)

from tomotwin_assets.instance import SHELL_TAG
from tomotwin_assets.partitions import MODEL, TOMOGRAM, models, tomograms
from tomotwin_assets.production import read_promotion
from tomotwin_assets.registration import VERSION_TAG, keyed
from tomotwin_assets.resources import SUFFIXES, DataFolder

PRODUCTION_MODEL = "production_model"
WHY_TAG = "tomotwin/why"
"""Tag of the runs that the sensor asks for: the reason, in words."""
UNFINISHED = (*IN_PROGRESS_RUN_STATUSES, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)
_CHUNK = 500
"""Runs asked for in one query: databases limit the length of it."""


@dataclass(frozen=True)
class Graph:
    """The shape of the graph.

    Attributes
    ----------
    parents : asset → what it is made from.
    dimensions : asset → the names of its partitions' dimensions, in the order of the folders.
    most_partitions : asset → most partitions in one run, ``None`` where there is no limit.
    blocking_checks : checks that stop what comes after them.
    """

    parents: Mapping[str, frozenset[str]]
    dimensions: Mapping[str, tuple[str, ...]]
    most_partitions: Mapping[str, int | None] = field(default_factory=dict)
    blocking_checks: tuple[dg.AssetCheckKey, ...] = ()

    @classmethod
    def of(cls, graph: AssetGraph) -> Graph:
        """Read it from Dagster's."""
        nodes = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}
        return cls(
            parents={
                name: frozenset(parent.to_user_string() for parent in node.parent_keys)
                for name, node in nodes.items()
            },
            dimensions={name: _dimensions(node.partitions_def) for name, node in nodes.items()},
            most_partitions={
                name: node.backfill_policy.max_partitions_per_run if node.backfill_policy else 1
                for name, node in nodes.items()
            },
            blocking_checks=tuple(
                key for key in sorted(graph.asset_check_keys, key=str) if graph.get_check_spec(key).blocking
            ),
        )


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


@dataclass(frozen=True)
class Snapshot:
    """What there is. Keys are Dagster's partition keys, ``None`` for assets without partitions.

    Attributes
    ----------
    models, tomograms : partitions whose files are there, in Dagster's order.
    to_train : those models that are trained here, not imported.
    benchmark : tomograms whose true positions are known and reported.
    production : the model in production.
    promoted : number of the event since when it is in production as it is.
    made : asset → key → number of the latest making (or, of a source, of the latest report).
    there : asset → (), (key,) or (model, tomogram) of the products whose files exist.
    attempts : asset → key → latest start without a product.
    blocked : (asset, key) of which a blocking check has failed.
    expected : sources without which nothing must be made from them, as they are there or will be.
    order : all tomograms that are partitions, with or without files, in Dagster's order.
    own_runs : runs that the sensor asked for and that have not ended.
    shell : whether ``tomotwin-platform run`` is at work.
    """

    graph: Graph
    models: list[str] = field(default_factory=list)
    tomograms: list[str] = field(default_factory=list)
    to_train: frozenset[str] = frozenset()
    benchmark: frozenset[str] = frozenset()
    production: str | None = None
    promoted: int | None = None
    made: Mapping[str, Mapping[str | None, int]] = field(default_factory=dict)
    there: Mapping[str, set[tuple[str, ...]]] = field(default_factory=dict)
    attempts: Mapping[str, Mapping[str | None, Attempt]] = field(default_factory=dict)
    blocked: frozenset[tuple[str, str | None]] = frozenset()
    expected: frozenset[str] = frozenset()
    order: list[str] = field(default_factory=list)
    own_runs: int = 0
    shell: bool = False


def take_snapshot(graph: Graph, instance: dg.DagsterInstance, folder: DataFolder) -> Snapshot:
    """Look at the data folder and at the record of events.

    Raises
    ------
    InputError
        If there is no data folder, or the record of the production model cannot be read.
    """
    folder = DataFolder(root=str(folder.path))  # settings are read once
    promotion = read_promotion(folder)
    model_files = keyed(folder.model_files(), [])
    tomogram_files = keyed(folder.tomogram_files(), [])
    order = list(instance.get_dynamic_partitions(str(tomograms.name)))
    made = _made(graph, instance)
    running = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    reported_truths = made.get("ground_truth", {})
    subvolumes = folder.training.is_dir() and next(folder.training.rglob("*.mrc"), None) is not None
    return Snapshot(
        graph=graph,
        models=[m for m in instance.get_dynamic_partitions(str(models.name)) if m in model_files],
        tomograms=[key for key in order if key in tomogram_files],
        to_train=frozenset(key for key, path in model_files.items() if path.suffix == ".json"),
        benchmark=frozenset(p.stem for p in folder.ground_truth_files() if p.stem in reported_truths),
        production=promotion.model if promotion is not None else None,
        promoted=_unchanged_since(instance, PRODUCTION_MODEL) if promotion is not None else None,
        made=made,
        there={asset: _there(folder, asset, graph.dimensions[asset]) for asset in SUFFIXES},
        attempts=_attempts(graph, instance),
        blocked=_blocked(graph, instance),
        expected=frozenset({"models", "tomograms", "references"} | ({"subvolumes"} if subvolumes else set())),
        order=order,
        own_runs=sum(WHY_TAG in run.tags for run in running),
        shell=any(SHELL_TAG in run.tags for run in running),
    )


def _dimensions(partitions: dg.PartitionsDefinition | None) -> tuple[str, ...]:
    if partitions is None:
        return ()
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return (MODEL, TOMOGRAM)
    return (MODEL,) if partitions == models else (TOMOGRAM,)


def _made(graph: Graph, instance: dg.DagsterInstance) -> dict[str, dict[str | None, int]]:
    storage = instance.event_log_storage
    made: dict[str, dict[str | None, int]] = {}
    for asset, dimensions in graph.dimensions.items():
        if dimensions:
            numbers = storage.get_latest_storage_id_by_partition(
                dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION
            )
            made[asset] = dict(numbers.items())
    for record in instance.get_asset_records([dg.AssetKey(a) for a, d in graph.dimensions.items() if not d]):
        entry = record.asset_entry
        if (number := entry.last_materialization_storage_id) is not None:
            made[entry.asset_key.to_user_string()] = {None: number}
    return made


def _attempts(graph: Graph, instance: dg.DagsterInstance) -> dict[str, dict[str | None, Attempt]]:
    """Starts without a product, and what became of their runs."""
    storage = instance.event_log_storage
    found: dict[str, dict[str | None, tuple[str, int]]] = {}
    for asset, dimensions in graph.dimensions.items():
        if dimensions:
            starts = storage.get_latest_asset_partition_materialization_attempts_without_materializations(
                dg.AssetKey(asset)
            )
            found[asset] = dict(starts.items())
    without = [dg.AssetKey(asset) for asset, dimensions in graph.dimensions.items() if not dimensions]
    for record in instance.get_asset_records(without):
        entry = record.asset_entry
        run, number = entry.last_planned_materialization_run_id, entry.last_planned_materialization_storage_id
        if run and number and number > (entry.last_materialization_storage_id or 0):
            found[entry.asset_key.to_user_string()] = {None: (run, number)}
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


def _there(folder: DataFolder, asset: str, dimensions: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The products of an asset whose files exist, by listing folders rather than asking for each file."""
    root, suffix = folder.path / "products" / asset, SUFFIXES[asset]
    if not dimensions:
        return {()} if folder.product(asset).exists() else set()
    if len(dimensions) == 1:
        return {(name,) for name in _names(root, suffix)}
    return {(model, name) for model in _names(root, "") for name in _names(root / model, suffix)}


def _names(folder: Path, suffix: str) -> Iterable[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are all that is needed of thousands
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [
        name[: len(name) - len(suffix)]
        for name in names
        if name.endswith(suffix) and not name.startswith(".")
    ]


def _blocked(graph: Graph, instance: dg.DagsterInstance) -> frozenset[tuple[str, str | None]]:
    """What a blocking check has failed on as it is now, with an error and not a mere warning."""
    blocked: set[tuple[str, str | None]] = set()
    failed: dict[dg.AssetCheckKey, set[str | None]] = {}
    for info in instance.event_log_storage.get_asset_check_partition_info(list(graph.blocking_checks)):
        made = info.latest_materialization_storage_id or 0
        current = info.is_current or info.latest_check_event_storage_id > made
        if current and info.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED:
            failed.setdefault(info.check_key, set()).add(info.partition_key)
    for check, keys in failed.items():
        warned = _warnings(instance, check, most=2 * len(keys) + _CHUNK)
        blocked |= {(check.asset_key.to_user_string(), key) for key in keys - warned}
    return frozenset(blocked)


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


def _unchanged_since(instance: dg.DagsterInstance, asset: str) -> int | None:
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
