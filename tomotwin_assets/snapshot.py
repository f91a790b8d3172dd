"""The state of the platform at one moment, as ``plan`` needs it.

Nothing is remembered from one look to the next, so restarting changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from tomotwin_assets import history
from tomotwin_assets.assets.sources import GROUND_TRUTH, MODELS, REFERENCES, SUBVOLUMES, TOMOGRAMS
from tomotwin_assets.graph import Graph
from tomotwin_assets.history import UNFINISHED, Attempt
from tomotwin_assets.instance import SHELL_TAG
from tomotwin_assets.partitions import models, tomograms
from tomotwin_assets.production import PRODUCTION_MODEL, read_promotion
from tomotwin_assets.registration import keyed
from tomotwin_assets.resources import SUFFIXES, DataFolder

WHY_TAG = "tomotwin/why"
"""Tag of the runs that the sensor asks for: the reason, in words."""


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
    made = history.latest_numbers(graph, instance)
    running = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    reported_truths = made.get(GROUND_TRUTH, {})
    subvolumes = folder.training.is_dir() and next(folder.training.rglob("*.mrc"), None) is not None
    return Snapshot(
        graph=graph,
        models=[m for m in instance.get_dynamic_partitions(str(models.name)) if m in model_files],
        tomograms=[key for key in order if key in tomogram_files],
        to_train=frozenset(key for key, path in model_files.items() if path.suffix == ".json"),
        benchmark=frozenset(p.stem for p in folder.ground_truth_files() if p.stem in reported_truths),
        production=promotion.model if promotion is not None else None,
        promoted=history.unchanged_since(instance, PRODUCTION_MODEL) if promotion is not None else None,
        made=made,
        there={asset: _there(folder, asset, graph.dimensions[asset]) for asset in SUFFIXES},
        attempts=history.latest_attempts(graph, instance),
        blocked=history.blocked(graph, instance),
        expected=frozenset({MODELS, TOMOGRAMS, REFERENCES, *([SUBVOLUMES] if subvolumes else [])}),
        order=order,
        own_runs=sum(WHY_TAG in run.tags for run in running),
        shell=any(SHELL_TAG in run.tags for run in running),
    )


def _there(folder: DataFolder, asset: str, dimensions: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The products of an asset whose files exist, by listing folders rather than asking for each file."""
    root, suffix = folder.path / "products" / asset, SUFFIXES[asset]
    if not dimensions:
        return {()} if folder.is_kept(folder.product(asset)) else set()
    if store := folder.store():
        parts = (path.relative_to(root).parts[: len(dimensions)] for path in store.list(root))
        return {(*first, last.removesuffix(suffix)) for *first, last in parts if last.endswith(suffix)}
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
