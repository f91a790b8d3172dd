"""What a product was made from and with: versions of its inputs, of the programs, and its own."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg
import torch
from dagster._core.errors import DagsterInvalidPropertyError

from tomotwin_assets.configs import recorded
from tomotwin_assets.partitions import models, pairs, split_key, tomograms

VERSION_TAG = "dagster/data_version"
_SHORT = 12
"""Characters of a hash that the UI shows: enough to tell versions apart by eye."""


def inputs(context: dg.AssetExecutionContext) -> dict[str, str]:
    """Data version of each asset that the one at hand is made from, as it was last made or reported.

    Parents that have not been recorded, and those of which all partitions count, are left out. They are asked
    for once, however often a product tells of them: a database may take a tenth of a second for each.
    """
    if context not in _asked:
        _asked[context] = _inputs(context)
    return _asked[context]


_asked: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()


def _inputs(context: dg.AssetExecutionContext) -> dict[str, str]:
    graph = _graph(context)
    if graph is None:
        return {}
    key = context.partition_key if context.has_partition_key else None
    found = {}
    for parent in sorted(graph.get(context.asset_key).parent_keys, key=str):
        partition = _partition_of(graph.get(parent).partitions_def, key)
        if graph.get(parent).partitions_def is not None and partition is None:
            continue
        known = recorded_version(context.instance, parent, partition)
        if known is not None:
            found[parent.to_user_string()] = known
    return found


def data_version(
    context: dg.AssetExecutionContext, *settings: dg.Config, files: Sequence[str] = ()
) -> dg.DataVersion:
    """A version that changes with the code, the inputs, the settings and files beside the graph (MD5s).

    Dagster's own knows nothing of settings: what is made from a product that a person makes again with other
    ones would still count as up to date.
    """
    graph = _graph(context)
    code_version = graph.get(context.asset_key).code_version if graph is not None else None
    content = [code_version, inputs(context), [recorded(config) for config in settings], *files]
    return dg.DataVersion(hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())


def about(
    context: dg.AssetExecutionContext, started: float | None = None, device: str | None = None
) -> dict[str, Any]:
    """What every product tells of how it was made.

    Parameters
    ----------
    started : ``time.perf_counter()`` when the work began, for its seconds.
    device : where a network ran; left out where none did.
    """
    told: dict[str, Any] = {
        "inputs": dg.MetadataValue.json({name: known[:_SHORT] for name, known in inputs(context).items()}),
        "versions": dg.MetadataValue.json(versions()),
    }
    if started is not None:
        told["seconds"] = round(time.perf_counter() - started, 2)
    if device is not None:
        told["device"] = device
    return told


def versions() -> dict[str, str]:
    """Of the platform and what it computes with."""
    return {
        "tomotwin-assets": _installed("tomotwin-assets"),
        "torch": torch.__version__,
        "dagster": dg.__version__,
        "python": platform.python_version(),
    }


def _graph(context: dg.AssetExecutionContext) -> Any:
    """The graph that the run belongs to; ``None`` where an asset is called as a plain function."""
    try:
        return context.job_def.asset_layer.asset_graph
    except DagsterInvalidPropertyError:
        return None


def _partition_of(partitions: dg.PartitionsDefinition | None, key: str | None) -> str | None:
    """The part of ``key`` (of a pair, or of one kind) that names a partition of a parent."""
    if partitions is None or key is None:
        return None
    parts = split_key(key)
    if partitions == pairs or len(parts) == 1:
        return key
    return parts[0] if partitions == models else parts[1] if partitions == tomograms else None


def recorded_version(instance: dg.DagsterInstance, asset: dg.AssetKey, key: str | None = None) -> str | None:
    """The data version with which an asset, or a partition of it, was last made or reported."""
    if key is not None:
        # Tags alone: whole events hold the pictures.
        tags = instance.event_log_storage.get_latest_tags_by_partition(
            asset, dg.DagsterEventType.ASSET_MATERIALIZATION, [VERSION_TAG], asset_partitions=[key]
        )
        return tags.get(key, {}).get(VERSION_TAG)
    event = instance.get_latest_materialization_event(asset)
    made = event.asset_materialization if event is not None else None
    return (made.tags or {}).get(VERSION_TAG) if made is not None else None


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "from its source folder"
