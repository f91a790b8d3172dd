"""Checks of every product, partition by partition, with what to do when one fails.

One step an asset evaluates all of its checks, for one partition or for as many as the run has. A blocking one
that fails stops what would be made from the product.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.base import PartitionKeyFilter

from tomotwin_assets import verdicts
from tomotwin_assets.batch_records import REASON, BatchRecords
from tomotwin_assets.batches import failure, more_is_made, tells
from tomotwin_assets.partitions import models, pairs, split_key, tomograms
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.verdicts import Subject, Verdict
from tomotwin_lib.errors import InputError

STEP_SUFFIX = "_checks"
"""The step that checks an asset is called after it."""


@dataclass(frozen=True)
class Check:
    """One check: what it looks at, as the UI describes it, and whether work stops when it fails."""

    name: str
    measure: Callable[[Subject], Verdict]
    description: str
    blocking: bool = False


CHECKS: dict[str, tuple[dg.PartitionsDefinition, tuple[Check, ...]]] = {
    "tomogram": (
        tomograms,
        (
            Check(
                "readable",
                verdicts.readable,
                "The file is an MRC volume and as long as its header says. If not: copy or reconstruct it "
                "again.",
                blocking=True,
            ),
            Check(
                "has_density",
                verdicts.has_density,
                "Every voxel is a number and not all are alike. If not: reconstruct the tomogram again.",
                blocking=True,
            ),
            Check(
                "large_enough",
                verdicts.large_enough,
                "It is at least one window of the networks thick. If not: its borders are reflected into "
                "every window; look at the picks with care.",
            ),
            Check(
                "voxel_size_like_the_models",
                verdicts.voxel_size_like_the_models,
                "Its voxel size is within a tenth of that of the references and training subvolumes. If not: "
                "rescale it, or correct the header that is wrong.",
            ),
            Check(
                "contrast_is_dark",
                verdicts.contrast_is_dark,
                "Particles are dark, told by the skewness of the band-passed density. If they are bright: "
                "multiply the tomogram by −1. Passes where noise leaves it uncertain.",
            ),
        ),
    ),
    "reference_embeddings": (
        models,
        (
            Check(
                "finite_and_of_unit_norm",
                verdicts.vectors_are_unit,
                "The references' vectors are numbers and of norm 1. If not: train the network again or "
                "import another one.",
                blocking=True,
            ),
            Check(
                "references_differ",
                verdicts.references_differ,
                "No two kinds of particle have a similarity above 0.98. If they have: leave one out, or "
                "train with subvolumes of both.",
            ),
        ),
    ),
    "tomogram_embeddings": (
        pairs,
        (
            Check(
                "finite_and_of_unit_norm",
                verdicts.vectors_are_unit,
                "A sample of 4,096 vectors is finite and of norm 1. If not: train the network again or "
                "import another one.",
                blocking=True,
            ),
            Check(
                "not_all_alike",
                verdicts.vectors_differ,
                "Vectors lie at least 1° from their mean. If not, the network tells nothing apart: train it "
                "longer, or import another one. It does not block: the leaderboard should know.",
            ),
        ),
    ),
    "similarity_map": (
        pairs,
        (
            Check(
                "references_stand_out",
                verdicts.references_stand_out,
                "Less than a tenth of all positions has a similarity above 0.8 to any reference. If more: "
                "take another subvolume as reference, or train on such particles.",
            ),
        ),
    ),
    "located_picks": (
        pairs,
        (
            Check(
                "counts_within_reason",
                verdicts.counts_are_plausible,
                "There are picks, and no more than balls as wide as their boxes have room. If not: change "
                "lowest_similarity or the box sizes.",
            ),
        ),
    ),
    "evaluation_report": (
        pairs,
        (
            Check(
                "f1_not_worse",
                verdicts.f1_is_not_worse,
                "The mean best-case F1 is at most 0.05 below that of the report before and of the production "
                "model. If it is lower: see what has changed before the model is promoted.",
            ),
        ),
    ),
}
"""Asset → (its partitions, its checks)."""


def report_failure(context: dg.AssetExecutionContext, asset: str, name: str, error: InputError) -> None:
    """Record a blocking check as failed, for a product that is refused before it is made.

    The step that checks it never runs then, and the UI would show that nobody looked.
    """
    found = next(check for check in CHECKS[asset][1] if check.name == name)
    context.log_event(_evaluation(asset, found, _refused(error), context.partition_key, None))


def evaluate(
    asset: str, folder: DataFolder, instance: dg.DagsterInstance, key: str, names: Iterable[str] | None = None
) -> list[dg.AssetCheckEvaluation]:
    """Look at one product that has been made.

    Parameters
    ----------
    asset, key : the product: one of ``CHECKS``, and its partition.
    names : which of its checks; all where ``None``.
    """
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
    records = instance.fetch_materializations(wanted, limit=2).records
    latest, before = [verdicts.told(record.asset_materialization) for record in records] + [{}] * (
        2 - len(records)
    )
    subject = Subject(folder, asset, split_key(_pair(asset, key)), latest, before)
    target = (
        AssetCheckEvaluationTargetMaterializationData(
            run_id=records[0].run_id, storage_id=records[0].storage_id, timestamp=records[0].timestamp
        )
        if records
        else None
    )
    evaluations = []
    for check in CHECKS[asset][1]:
        if names is not None and check.name not in names:
            continue
        try:
            verdict = check.measure(subject)
        except InputError as error:
            verdict = _refused(error)
        evaluations.append(_evaluation(asset, check, verdict, key, target))
    return evaluations


def blocking_failure(instance: dg.DagsterInstance, asset: str, key: str | None) -> str | None:
    """What a blocking check last said of a product, if that was that it cannot be used."""
    if asset not in CHECKS or key is None:
        return None
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), check.name) for check in CHECKS[asset][1] if check.blocking]
    if not keys:
        return None
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        keys, partition_filter=PartitionKeyFilter(key=key)
    )
    for record in latest.values():
        if record.status == AssetCheckExecutionRecordStatus.FAILED and record.evaluation is not None:
            return f"check {record.key.name}: {record.evaluation.description}"
    return None


def _evaluation(
    asset: str,
    check: Check,
    verdict: Verdict,
    key: str,
    target: AssetCheckEvaluationTargetMaterializationData | None,
) -> dg.AssetCheckEvaluation:
    severe = verdict.serious or check.blocking
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=check.name,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
        description=verdict.text,
        metadata={name: value for name, value in verdict.numbers.items() if value is not None},
        target_materialization_data=target,
        blocking=check.blocking,
        partition=key,
    )


def _refused(error: InputError) -> Verdict:
    """What is said of a product that cannot even be read."""
    return Verdict(False, error.problem.rstrip("."), error.remedy.rstrip("."), serious=True)


def _pair(asset: str, key: str) -> str:
    """The key of a pair with its two parts, which a plain string has not."""
    if CHECKS[asset][0] == pairs and not isinstance(key, dg.MultiPartitionKey):
        return pairs.get_partition_key_from_str(key)
    return key


def _checks_of(asset: str) -> dg.AssetChecksDefinition:
    """The step that evaluates the checks of one asset."""
    partitions, checks = CHECKS[asset]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=dg.PreviewWarning, message=".*partitions_def.*")
        specs = [
            dg.AssetCheckSpec(
                check.name,
                asset=asset,
                description=check.description,
                blocking=check.blocking,
                partitions_def=partitions,
            )
            for check in checks
        ]

    # Dagster's own results know one partition a step. What is logged here knows which one it is about, so a
    # run of several partitions works alike.
    @dg.multi_asset_check(name=f"{asset}{STEP_SUFFIX}", specs=specs, can_subset=True)
    @tells
    def step(context: dg.AssetCheckExecutionContext, data_folder: DataFolder) -> Iterator[Any]:
        log = context.op_execution_context.log_event
        running = context.op_execution_context.get_step_execution_context()
        selected = {key.name for key in context.selected_asset_check_keys}
        keys = context.partition_keys
        bad = BatchRecords.of(running).failed if len(keys) > 1 else {}
        refused: dict[str, str] = {}
        for key in (key for key in keys if key not in bad):
            for found in evaluate(asset, data_folder, context.instance, key, selected):
                log(found)  # type: ignore[arg-type]
                if found.blocking and not found.passed:
                    refused[key] = f"{found.check_name}: {found.description}"
        if len(keys) == 1 and refused:
            raise InputError(
                asset, refused[keys[0]].rstrip("."), "What is made from it waits until that is mended"
            )
        for key, why in refused.items():
            log(dg.AssetObservation(asset, partition=key, metadata={REASON: why}))
        bad = bad | refused
        if bad and (len(bad) == len(keys) or not more_is_made(running, asset)):
            raise failure(bad, len(keys))
        for spec in specs:
            if spec.name in selected:
                yield dg.Output(None, output_name=spec.get_python_identifier())

    return step


definitions = [_checks_of(asset) for asset in CHECKS]
