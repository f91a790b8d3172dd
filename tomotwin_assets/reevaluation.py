"""What has to be made to evaluate all models again: plain functions, and a handful of queries."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg

from tomotwin_assets.assets.embeddings import tomogram_embeddings
from tomotwin_assets.assets.evaluation import evaluation_report
from tomotwin_assets.assets.picking import located_picks, similarity_map
from tomotwin_assets.benchmark import benchmark_tomograms
from tomotwin_assets.partitions import models, pair_key, tomograms
from tomotwin_assets.resources import DataFolder

CHAIN: dict[str, dg.AssetsDefinition] = {
    "tomogram_embeddings": tomogram_embeddings,
    "similarity_map": similarity_map,
    "located_picks": located_picks,
    "evaluation_report": evaluation_report,
}
"""From a checked tomogram to its scores, in order."""

BY_MODEL = ("trained_model", "reference_embeddings")
BY_TOMOGRAM = ("tomogram",)
FOR_ALL = ("reference_volumes",)

MOST = min(
    (definition.backfill_policy.max_partitions_per_run or 8 if definition.backfill_policy else 1)
    for definition in CHAIN.values()
)
"""Tomograms in one run: as many as all of the assets take."""


@dataclass(frozen=True)
class Events:
    """Numbers of the latest making of everything that the chain is made from and makes.

    Attributes
    ----------
    by_key : asset → partition key (``""`` without partitions) → number in the record of events.
    gone : (asset, model, tomogram) of products whose files are not there.
    """

    by_key: Mapping[str, Mapping[str, int]]
    gone: set[tuple[str, str, str]] = field(default_factory=set)

    def number(self, asset: str, model: str, tomogram: str) -> int | None:
        """The latest making of the partition of ``asset`` that belongs to a model and a tomogram."""
        if asset in CHAIN:
            key: str = pair_key(model, tomogram)
        elif asset in BY_MODEL:
            key = model
        else:
            key = tomogram if asset in BY_TOMOGRAM else ""
        return self.by_key.get(asset, {}).get(key)


@dataclass(frozen=True)
class Evaluation:
    """What one run is to make: assets of one model, for tomograms that are neighbours in Dagster's order."""

    model: str
    tomograms: tuple[str, ...]
    assets: tuple[str, ...]


def wanted(
    events: Events, models: Iterable[str], benchmark: Iterable[str], order: Iterable[str], most: int = MOST
) -> Iterator[Evaluation]:
    """A new report of every model and benchmark tomogram, and before it whatever is out of date.

    Parameters
    ----------
    events : see there.
    models : trained models.
    benchmark : tomograms with ground truth. Those that have not been checked yet are left out.
    order : all tomograms in Dagster's order, in which those of one run have to be neighbours.
    most : tomograms in one run.
    """
    benchmark = set(benchmark)
    for model in models:
        run: Evaluation | None = None
        for tomogram in order:
            assets = _out_of_date(events, model, tomogram) if tomogram in benchmark else ()
            if run is not None and (assets != run.assets or len(run.tomograms) == most):
                yield run
                run = None
            if assets:
                run = Evaluation(model, (*(run.tomograms if run else ()), tomogram), assets)
        if run is not None:
            yield run


def _out_of_date(events: Events, model: str, tomogram: str) -> tuple[str, ...]:
    """What of the chain has to be made, always with the report; nothing where the inputs are not there."""
    made: list[str] = []
    for asset, definition in CHAIN.items():
        own = events.number(asset, model, tomogram)
        parents = {key.to_user_string() for key in definition.dependency_keys}
        stale = own is None or (asset, model, tomogram) in events.gone or bool(parents & set(made))
        for parent in parents & {*CHAIN, *BY_MODEL, *BY_TOMOGRAM, *FOR_ALL}:
            number = events.number(parent, model, tomogram)
            if number is None and parent not in made:
                return ()
            stale = stale or (number or 0) > (own or 0)
        if stale or asset == "evaluation_report":
            made.append(asset)
    return tuple(made)


def read_events(folder: DataFolder, instance: dg.DagsterInstance) -> Events:
    """Ask once an asset, however many partitions there are."""
    by_key: dict[str, Mapping[str, int]] = {}
    for asset in (*CHAIN, *BY_MODEL, *BY_TOMOGRAM):
        by_key[asset] = instance.event_log_storage.get_latest_storage_id_by_partition(
            dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION
        )
    for record in instance.get_asset_records([dg.AssetKey(asset) for asset in FOR_ALL]):
        number = record.asset_entry.last_materialization_storage_id
        if number is not None:
            by_key[record.asset_entry.asset_key.to_user_string()] = {"": number}
    gone = {
        (asset, model, tomogram)
        for asset in CHAIN
        for model in instance.get_dynamic_partitions(str(models.name))
        for tomogram in benchmark_tomograms(folder)
        if pair_key(model, tomogram) in by_key[asset]
        and not folder.is_kept(folder.product(asset, model, tomogram))
    }
    return Events(by_key, gone)


def evaluations(folder: DataFolder, instance: dg.DagsterInstance) -> list[Evaluation]:
    """Everything that evaluating all trained models again takes.

    Raises
    ------
    InputError
        If there is no data folder.
    """
    folder = DataFolder(root=str(folder.path))  # settings are read once
    known = instance.get_dynamic_partitions(str(models.name))
    trained = [model for model in known if folder.is_kept(folder.product("trained_model", model))]
    order = instance.get_dynamic_partitions(str(tomograms.name))
    return list(wanted(read_events(folder, instance), trained, benchmark_tomograms(folder), order))
