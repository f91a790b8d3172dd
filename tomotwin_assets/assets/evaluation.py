"""How good the picks are, wherever the truth is known."""

import time
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd

from tomotwin_assets import metadata, provenance
from tomotwin_assets.assets.sources import GROUND_TRUTH
from tomotwin_assets.batches import SEVERAL_A_RUN, each_partition
from tomotwin_assets.benchmark import read_benchmark
from tomotwin_assets.configs import EvaluationConfig, recorded
from tomotwin_assets.partitions import pairs, split_key
from tomotwin_assets.production import read_promotion
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.retries import with_second_tries
from tomotwin_assets.values import EvaluationReport, ReferenceVolumes, rows
from tomotwin_lib.centring import centring_distances, centring_table, mean_distance
from tomotwin_lib.confusion import confusion
from tomotwin_lib.evaluation import best_case_picks, evaluate_positions
from tomotwin_lib.figures import (
    leaderboard_chart,
    orthoslices_with_picks,
    precision_recall_chart,
    score_bars,
)
from tomotwin_lib.files import atomic_path
from tomotwin_lib.formats.ground_truth import read_particle_positions
from tomotwin_lib.formats.volumes import read_volume
from tomotwin_lib.honest_evaluation import BETA, WITHIN
from tomotwin_lib.leaderboard import leaderboard as board_of
from tomotwin_lib.leaderboard import leaderboard_by_class
from tomotwin_lib.precision_recall import precision_recall
from tomotwin_lib.thresholds import curve_record, threshold_curves

SCORES = ("F1", "Recall", "Precision")


@dg.asset(
    partitions_def=pairs, deps=[GROUND_TRUTH], kinds={"json"}, backfill_policy=SEVERAL_A_RUN, code_version="1"
)
@each_partition
def evaluation_report(
    context: dg.AssetExecutionContext,
    config: EvaluationConfig,
    located_picks: pd.DataFrame,
    reference_volumes: ReferenceVolumes,
    data_folder: DataFolder,
) -> dg.MaterializeResult[EvaluationReport]:
    """Scores against `ground_truth/<tomogram>.txt`: of the picks as they are, and at their best thresholds.

    A pick finds a particle if their boxes overlap with an IoU above 0.6. The report also holds the picks
    counted by threshold, from which the leaderboard works out what thresholds of other tomograms would give.
    A tomogram without ground truth gets a report without scores.
    """
    started = time.perf_counter()
    model, tomogram = split_key(context.partition_key)
    about: dict[str, Any] = {
        "picks": len(located_picks),
        "fbeta": config.fbeta,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model_md5": str(located_picks.attrs.get("modelmd5", "")),
        **_embedding_time(context.instance, context.partition_key),
    }
    file = data_folder.ground_truth_file(tomogram)
    if file is None:
        report = EvaluationReport(model, tomogram, **about)
        summary = f"not scored: there is no ground_truth/{tomogram}.txt"
        settings = dg.MetadataValue.json(recorded(config))
        return dg.MaterializeResult(
            value=report,
            metadata={
                "summary": summary,
                "scored": False,
                "settings": settings,
                **provenance.about(context, started),
            },
            data_version=provenance.data_version(context, config),
        )

    truth, boxes = read_particle_positions(file), reference_volumes.box_sizes
    as_picked, best_case = (
        evaluate_positions(
            located_picks,
            truth,
            boxes,
            fbeta=config.fbeta,
            optimise=optimise,
            step=config.optimise_step,
        )
        for optimise in (False, True)
    )
    curves = threshold_curves(located_picks, truth, boxes, config.optimise_step)
    report = EvaluationReport(
        model,
        tomogram,
        as_picked=rows(as_picked),
        best_case=rows(best_case),
        curves=[curve_record(curve) for curve in curves],
        **about,
    )
    means = {
        f"{name}_{score}".lower(): round(float(frame[score].mean()), 6)
        for name, frame in (("mean", as_picked), ("mean_best_case", best_case))
        for score in SCORES
    }
    best_picks = best_case_picks(located_picks, best_case)
    by_distance = evaluate_positions(
        located_picks, truth, boxes, fbeta=BETA, optimise=True, step=config.optimise_step, within=WITHIN
    )
    distances = centring_distances(best_picks, truth, boxes)
    centring = centring_table(distances, dict(zip(best_case["reference"], best_case["class"], strict=True)))
    measured = {"mean_best_case_f4_by_distance": round(float(by_distance["F1"].mean()), 6)}
    if (error := mean_distance(distances)) is not None:
        measured["mean_centring_error_in_voxels"] = round(error, 6)
    volume = read_volume(data_folder.tomogram_file(tomogram))
    slices = orthoslices_with_picks(
        volume.data,
        best_picks,
        voxel_size_in_angstrom=volume.voxel_size_in_angstrom,
        title=f"{tomogram}, picked with {model}, best thresholds",
    )
    return dg.MaterializeResult(
        value=report,
        metadata={
            "summary": f"mean F1 {means['mean_f1']:.3f}, best case {means['mean_best_case_f1']:.3f} "
            f"of {len(best_case)} kinds of particle",
            "scored": True,
            **means,
            **measured,
            "lowest_best_case_f1": float(best_case["F1"].min()),
            "dagster/row_count": len(best_case),
            "scores": metadata.table(as_picked),
            "best_case_scores": metadata.table(best_case),
            **metadata.pictures(
                data_folder,
                ("evaluation_report", model, tomogram),
                best_case_bars=score_bars(best_case, title=f"{model} on {tomogram}, best case"),
                precision_recall=precision_recall_chart(
                    precision_recall([curves]), title=f"{model} on {tomogram}"
                ),
                best_case_picks_on_slices=slices,
            ),
            "best_case_scores_by_distance": metadata.table(by_distance),
            "centring_at_best_case": metadata.table(centring),
            "confusion_at_best_case": metadata.table(confusion(best_picks, truth, boxes)),
            "ground_truth": dg.MetadataValue.path(file),
            "particles": len(truth),
            "settings": dg.MetadataValue.json(recorded(config)),
            **provenance.about(context, started),
        },
        data_version=provenance.data_version(context, config),
    )


@dg.asset(deps=[evaluation_report], kinds={"csv"}, code_version="1")
@with_second_tries
def leaderboard(
    context: dg.AssetExecutionContext, data_folder: DataFolder
) -> dg.MaterializeResult[pd.DataFrame]:
    """All models on all tomograms with ground truth, best first, from the reports that exist.

    Honest scores are those of each tomogram at the thresholds that are best on the other ones; best-case
    scores those at its own best thresholds. `leaderboard_by_class.csv`, beside it, has the same by class.
    """
    started = time.perf_counter()
    benchmark = read_benchmark(data_folder)
    for problem in benchmark.problems:
        context.log.warning(str(problem))
    promotion = read_promotion(data_folder)
    production = promotion.model if promotion is not None else None
    board = board_of(benchmark.scores, benchmark.evaluated)
    board.insert(1, "production", board["model"] == production)
    classes = leaderboard_by_class(benchmark.scores)
    by_class = data_folder.product("leaderboard").with_name("leaderboard_by_class.csv")
    with atomic_path(by_class) as temporary:
        classes.to_csv(temporary, index=False)
    data_folder.keep(by_class)
    best: dict[str, Any] = {}
    if len(board):
        names = ("mean_honest_f1", "mean_best_case_f1")
        best = {f"best_{name}": float(board[name].max()) for name in names if board[name].notna().any()}
    return dg.MaterializeResult(
        value=board,
        metadata={
            "summary": f"{len(board)} models on {len(benchmark.tomograms)} tomograms with ground truth, "
            f"{len(benchmark.reports)} reports; "
            + (f"best: {board['model'][0]}" if len(board) else "nothing has been scored"),
            "dagster/row_count": len(board),
            "benchmark_tomograms": len(benchmark.tomograms),
            "reports_left_out": benchmark.left_out,
            "unreadable_reports": len(benchmark.problems),
            "fbeta": benchmark.fbeta,
            "leaderboard": metadata.table(board),
            "by_class": metadata.table(classes),
            "chart": metadata.picture(leaderboard_chart(board, production)),
            "by_class_path": dg.MetadataValue.path(by_class),
            **best,
            **provenance.about(context, started),
        },
    )


def _embedding_time(instance: dg.DagsterInstance, key: str) -> dict[str, Any]:
    """How many positions were embedded in how many seconds, as the history tells; empty where it does not."""
    # Where vectors are not stored, it is the similarity map that takes the time.
    for asset in ("tomogram_embeddings", "similarity_map"):
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
        records = instance.fetch_materializations(wanted, limit=1).records
        event = records[0].asset_materialization if records else None
        told = event.metadata if event is not None else {}
        positions, seconds = (
            getattr(told.get(name), "value", None) for name in ("dagster/row_count", "seconds")
        )
        if isinstance(positions, int) and positions and isinstance(seconds, int | float):
            return {"positions": positions, "seconds": float(seconds)}
    return {}
