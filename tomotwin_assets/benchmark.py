"""The benchmark: the tomograms whose particles are known, and what all models scored on them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from tomotwin_assets.partitions import check_key
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.values import EvaluationReport, read_report
from tomotwin_lib.errors import InputError
from tomotwin_lib.leaderboard import Evaluated, benchmark_scores


@dataclass(frozen=True)
class Benchmark:
    """The reports that count, and the scores that follow from them.

    Attributes
    ----------
    tomograms : those with ground truth whose files are in the data folder.
    reports : of these tomograms, with scores.
    evaluated : the same, in their order, as the library takes them.
    scores : of each model, tomogram and reference (:data:`~tomotwin_lib.leaderboard.SCORE_COLUMNS`).
    left_out : reports that do not count: without scores, or of tomograms that are no longer there.
    fbeta : the weight of recall in all scores.
    """

    tomograms: list[str]
    reports: list[EvaluationReport]
    evaluated: list[Evaluated]
    scores: pd.DataFrame
    left_out: int
    fbeta: float = 1.0
    problems: list[InputError] = field(default_factory=list)


def benchmark_tomograms(folder: DataFolder) -> list[str]:
    """The tomograms with ground truth, sorted."""
    keys = {path.stem for path in folder.tomogram_files()}
    found = []
    for path in folder.ground_truth_files():
        try:
            key = check_key(path.stem, str(path))
        except InputError:
            continue  # No partition can have this name; registration says so of the tomogram.
        if key in keys:
            found.append(key)
    return found


def read_benchmark(folder: DataFolder, weights: dict[str, str] | None = None) -> Benchmark:
    """Read all reports, and score all models alike.

    Parameters
    ----------
    folder : the data folder.
    weights : model → MD5 of the checkpoint; where given, only reports of these models and weights count (or
        of unknown weights, as those of earlier versions are).

    Notes
    -----
    Reports made with different ``fbeta`` are scored with that of the latest one. A report that cannot be read
    is among the ``problems`` and keeps nobody from comparing the others.
    """
    folder = DataFolder(root=str(folder.path))  # settings are read once, not for every file
    tomograms = benchmark_tomograms(folder)
    reports, evaluated, left_out = [], [], 0
    problems: list[InputError] = []
    for path in folder.evaluation_reports():
        try:
            report = read_report(path)
            entry = report.evaluated()
        except InputError as error:
            problems.append(error)
            continue
        except (KeyError, ValueError, TypeError) as error:
            problem = f"its curves cannot be read ({error})"
            problems.append(InputError(path, problem, "Materialise evaluation_report again"))
            continue
        if not report.scored or report.tomogram not in tomograms or not _counts(report, weights):
            left_out += 1
            continue
        reports.append(report)
        evaluated.append(entry)
    fbeta = max(reports, key=lambda report: report.date).fbeta if reports else 1.0
    scores = benchmark_scores(evaluated, fbeta=fbeta)
    return Benchmark(tomograms, reports, evaluated, scores, left_out, fbeta, problems)


def _counts(report: EvaluationReport, weights: dict[str, str] | None) -> bool:
    if weights is None:
        return True
    return report.model in weights and report.model_md5 in ("", weights[report.model])
