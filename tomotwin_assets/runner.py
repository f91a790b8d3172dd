"""Runs the graph from the shell: stage by stage, partition by partition, only what is not up to date."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster_shared.error import SerializableErrorInfo
from rich.markup import escape

from tomotwin_assets import checks, progress
from tomotwin_assets.configs import PromotionConfig, op_config, recorded
from tomotwin_assets.currency import Currency
from tomotwin_assets.definitions import defs
from tomotwin_assets.instance import shell_tags
from tomotwin_assets.partitions import pair_key
from tomotwin_assets.production import PRODUCTION_MODEL, read_promotion
from tomotwin_assets.stages import CHECK, COMPARE, PICK, PREPARE, PRODUCE, STAGES, TRAIN, Stage
from tomotwin_lib.errors import InputError

# Dagster turns Ctrl+C into a failure of the step that was running.
_INTERRUPTED = {DagsterExecutionInterruptedError.__name__, KeyboardInterrupt.__name__}

PROMOTE = Stage("promote_model", (PRODUCTION_MODEL,), "Puts a model into production.")


def job(name: str) -> dg.JobDefinition:
    """A job by its name; Dagster rebuilds the job of a run from this function."""
    return defs.resolve_job_def(name)


@dataclass
class Runner:
    """Makes products and remembers what could not be made.

    Attributes
    ----------
    force : make everything that is asked for, up to date or not.
    failed : (asset, partition) of what failed.
    """

    currency: Currency
    force: bool = False
    failed: set[tuple[str, str | None]] = field(default_factory=set)
    made: int = 0

    def run(self, models: Iterable[str], tomograms: Iterable[str]) -> bool:
        """Make all products of the given models and tomograms; whether all succeeded."""
        models, tomograms = list(models), list(tomograms)
        pairs = [pair_key(model, tomogram) for tomogram in tomograms for model in models]
        self._stage(PREPARE, None, leave_out=set() if self._trains(models) else {"training_data"})
        for tomogram in tomograms:
            self._stage(CHECK, tomogram)
        for model in models:
            self._stage(TRAIN, model)
        for pair in pairs:
            self._stage(PICK, pair)
        self._stage(COMPARE, None)
        for tomogram in self._produced(tomograms):
            self._stage(PRODUCE, tomogram)
        return not self.failed

    def _produced(self, tomograms: list[str]) -> list[str]:
        """Tomograms that the production model has picked, or was to pick just now."""
        folder = self.currency.folder
        promotion = read_promotion(folder)
        if promotion is None:
            return []
        return [
            tomogram
            for tomogram in tomograms
            if folder.is_kept(folder.product("located_picks", promotion.model, tomogram))
            or ("located_picks", pair_key(promotion.model, tomogram)) in self.failed
        ]

    def promote(self, config: PromotionConfig) -> bool:
        """Materialise the production model with a person's word; whether that succeeded."""
        self._execute(PROMOTE, None, list(PROMOTE.assets), {PRODUCTION_MODEL: recorded(config)})
        return not self.failed

    def _trains(self, models: list[str]) -> bool:
        return any(self.currency.folder.model_file(model).suffix == ".json" for model in models)

    def _stage(self, stage: Stage, key: str | None, leave_out: set[str] | None = None) -> None:
        """Make what is not current of one stage, for one partition, in one run."""
        todo: list[str] = []
        for asset in (asset for asset in stage.assets if asset not in (leave_out or ())):
            parents = self.currency.needs(asset, key)
            if blocked := sorted(parent for parent in parents if self._has_failed(parent, asset, key)):
                self.failed.add((asset, key))
                reason = f"left out: {blocked[0]} could not be made"
                progress.line("[yellow]–[/]", asset, progress.partition_text(key), reason)
            elif self.force or parents & set(todo) or self.currency.why_not(asset, key) is not None:
                todo.append(asset)
            elif (problem := checks.blocking_failure(self.currency.instance, asset, key)) is not None:
                self.failed.add((asset, key))
                progress.line("[red]✗[/]", asset, progress.partition_text(key), f"[red]{escape(problem)}[/]")
            else:
                progress.line("[dim]·[/]", asset, progress.partition_text(key), "[dim]up to date[/]")
        if todo:
            self._execute(stage, key, todo)

    def _has_failed(self, parent: str, asset: str, key: str | None) -> bool:
        # The leaderboard's reports have keys that it has not: it gathers those that there are.
        return (parent, self.currency.parent_key(parent, asset, key)) in self.failed

    def _execute(
        self, stage: Stage, key: str | None, assets: list[str], given: dict[str, Any] | None = None
    ) -> None:
        tags = shell_tags()
        definition = job(stage.job)
        if key is not None:
            tags |= definition.get_tags_for_partition_key(key, None)
        result = dg.execute_job(
            dg.build_reconstructable_job(__name__, "job", reconstructable_args=(stage.job,)),
            instance=self.currency.instance,
            run_config=self._run_config(assets, given or {}),
            tags=tags,
            asset_selection=[dg.AssetKey(asset) for asset in assets],
        )
        finished = {event.step_key for event in result.all_events if event.is_step_success}
        self.made += len(finished & set(assets))
        stopped = {event.step_key for event in result.all_events if event.is_step_failure}
        for event in result.all_events:
            if event.is_step_failure and event.step_key is not None:
                error = event.step_failure_data.error
                if any(link.cls_name in _INTERRUPTED for link in chain(error)):
                    raise KeyboardInterrupt
                reason = explain(error)
                progress.line(
                    "[red]✗[/]", event.step_key, progress.partition_text(key), f"[red]{escape(reason)}[/]"
                )
        for asset in assets:
            if asset not in finished or f"{asset}{checks.STEP_SUFFIX}" in stopped:
                self.failed.add((asset, key))
        if not result.success and not stopped:  # failed outside the steps
            failure = next(event for event in result.all_events if event.is_job_failure)
            progress.console.print(f"[red]{escape(failure.message or 'the run failed')}[/]")
            self.failed.add((assets[0], key))

    def _run_config(self, assets: list[str], given: dict[str, Any]) -> dict[str, Any]:
        ops = op_config(assets, self.currency.settings)
        ops |= {asset: {"config": config} for asset, config in given.items()}
        return {"ops": ops, "loggers": {progress.NAME: {}}}


def chain(error: SerializableErrorInfo | None) -> list[SerializableErrorInfo]:
    """An error and its causes, the first cause last."""
    links = []
    while error is not None:
        links.append(error)
        error = error.cause
    return links


def explain(error: SerializableErrorInfo | None) -> str:
    """One line that says why a step failed: the message for the user where there is one."""
    links = chain(error)
    for link in links:
        if link.cls_name == InputError.__name__:
            return _message(link)
    if not links:
        return "failed"
    return f"{_message(links[-1])} (the traceback is in the run's log: tomotwin-platform ui)"


def _message(link: SerializableErrorInfo) -> str:
    text = link.message.strip()
    return text.partition(": ")[2] if link.cls_name == InputError.__name__ else text.splitlines()[0]


def overview(
    currency: Currency, models: Iterable[str], tomograms: Iterable[str]
) -> dict[str, tuple[int, int]]:
    """Asset → (products up to date, products there could be), for the given models and tomograms."""
    models, tomograms = list(models), list(tomograms)
    trains = any(currency.folder.model_file(model).suffix == ".json" for model in models)
    keys: dict[Stage, list[str | None]] = {
        PREPARE: [None],
        CHECK: [*tomograms],
        TRAIN: [*models],
        PICK: [pair_key(model, tomogram) for model in models for tomogram in tomograms],
        COMPARE: [None],
        PRODUCE: [*tomograms] if read_promotion(currency.folder) is not None else [],
    }
    # What is made from something stale is stale as well, though nothing newer is there yet.
    stale: set[tuple[str, str | None]] = set()
    for stage in STAGES:
        for key in keys[stage]:
            for asset in stage.assets:
                parents = currency.needs(asset, key)
                # The leaderboard is made from the reports of all partitions.
                made_from = (
                    {entry for entry in stale if entry[0] in parents}
                    if key is None
                    else stale & {(parent, currency.parent_key(parent, asset, key)) for parent in parents}
                )
                if made_from or currency.why_not(asset, key) is not None:
                    stale.add((asset, key))
    return {
        asset: (sum((asset, key) not in stale for key in keys[stage]), len(keys[stage]))
        for stage in STAGES
        for asset in stage.assets
        if keys[stage] and (trains or asset != "training_data")
    }
