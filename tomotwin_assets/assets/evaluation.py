"""How good the picks are, wherever the truth is known."""

import dagster as dg
import pandas as pd

from tomotwin_assets import metadata
from tomotwin_assets.assets.sources import GROUND_TRUTH
from tomotwin_assets.configs import EvaluationConfig, recorded
from tomotwin_assets.partitions import pairs, split_key
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.values import EvaluationReport, ReferenceVolumes, read_report, rows
from tomotwin_lib.evaluation import best_case_picks, evaluate_positions
from tomotwin_lib.figures import leaderboard_bars, orthoslices_with_picks, score_bars
from tomotwin_lib.formats.ground_truth import read_particle_positions
from tomotwin_lib.formats.volumes import read_volume

SCORES = ("F1", "Recall", "Precision")
COLUMNS = [
    "model",
    "tomogram",
    "mean_f1",
    "mean_best_case_f1",
    "mean_best_case_recall",
    "mean_best_case_precision",
    "particle_kinds",
    "picks",
]


@dg.asset(partitions_def=pairs, deps=[GROUND_TRUTH], kinds={"json"}, code_version="1")
def evaluation_report(
    context: dg.AssetExecutionContext,
    config: EvaluationConfig,
    located_picks: pd.DataFrame,
    reference_volumes: ReferenceVolumes,
    data_folder: DataFolder,
) -> dg.MaterializeResult[EvaluationReport]:
    """Scores against `ground_truth/<tomogram>.txt`: of the picks as they are, and at their best thresholds.

    A pick finds a particle if their boxes overlap with an IoU above 0.6. A tomogram without ground truth
    gets a report without scores.
    """
    model, tomogram = split_key(context.partition_key)
    file = data_folder.ground_truth_file(tomogram)
    if file is None:
        report = EvaluationReport(model, tomogram, picks=len(located_picks))
        summary = f"not scored: there is no ground_truth/{tomogram}.txt"
        settings = dg.MetadataValue.json(recorded(config))
        return dg.MaterializeResult(
            value=report, metadata={"summary": summary, "scored": False, "settings": settings}
        )

    truth = read_particle_positions(file)
    as_picked, best_case = (
        evaluate_positions(
            located_picks,
            truth,
            reference_volumes.box_sizes,
            fbeta=config.fbeta,
            optimise=optimise,
            step=config.optimise_step,
        )
        for optimise in (False, True)
    )
    report = EvaluationReport(model, tomogram, len(located_picks), rows(as_picked), rows(best_case))
    means = {
        f"{name}_{score}".lower(): round(float(frame[score].mean()), 6)
        for name, frame in (("mean", as_picked), ("mean_best_case", best_case))
        for score in SCORES
    }
    volume = read_volume(data_folder.tomogram_file(tomogram))
    slices = orthoslices_with_picks(
        volume.data,
        best_case_picks(located_picks, best_case),
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
            "lowest_best_case_f1": float(best_case["F1"].min()),
            "dagster/row_count": len(best_case),
            "scores": metadata.table(as_picked),
            "best_case_scores": metadata.table(best_case),
            "best_case_bars": metadata.picture(
                score_bars(best_case, title=f"{model} on {tomogram}, best case")
            ),
            "best_case_picks_on_slices": metadata.picture(slices),
            "ground_truth": dg.MetadataValue.path(file),
            "particles": len(truth),
            "settings": dg.MetadataValue.json(recorded(config)),
        },
    )


@dg.asset(deps=[evaluation_report], kinds={"csv"}, code_version="1")
def leaderboard(data_folder: DataFolder) -> dg.MaterializeResult[pd.DataFrame]:
    """All models on all tomograms with ground truth, best first, from the reports that exist."""
    reports = [read_report(path) for path in data_folder.evaluation_reports()]
    scored = [
        {
            "model": report.model,
            "tomogram": report.tomogram,
            "mean_f1": report.mean("F1", best_case=False),
            "mean_best_case_f1": report.mean("F1", best_case=True),
            "mean_best_case_recall": report.mean("Recall", best_case=True),
            "mean_best_case_precision": report.mean("Precision", best_case=True),
            "particle_kinds": len(report.best_case),
            "picks": report.picks,
        }
        for report in reports
        if report.scored
    ]
    board = pd.DataFrame(scored, columns=COLUMNS).sort_values(
        "mean_best_case_f1", ascending=False, ignore_index=True
    )
    best = (
        f"best: {board['model'][0]} on {board['tomogram'][0]}" if len(board) else "nothing has ground truth"
    )
    return dg.MaterializeResult(
        value=board,
        metadata={
            "summary": f"{len(board)} of {len(reports)} reports have scores; {best}",
            "dagster/row_count": len(board),
            "without_ground_truth": len(reports) - len(board),
            "leaderboard": metadata.table(board),
            "bars": metadata.picture(leaderboard_bars(board, score="mean_best_case_f1")),
            **({"best_mean_best_case_f1": float(board["mean_best_case_f1"][0])} if len(board) else {}),
        },
    )
