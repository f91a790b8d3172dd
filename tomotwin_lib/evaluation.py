"""Picks scored against the particles that are known to be there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tomotwin_lib.boxes import box_size_of, class_of_reference
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, write_json
from tomotwin_lib.matching import Counts, Matching, best_thresholds
from tomotwin_lib.picking import keep_picks

_SHARES = [
    "F1", "Recall", "Precision", "TrueNegativeRate", "TruePositiveRate", "BalancedAccuracy", "O_METRIC",
]  # fmt: skip


def evaluate_positions(
    picks: pd.DataFrame,
    truth: pd.DataFrame,
    box_sizes: int | Mapping[str, int],
    *,
    fbeta: float = 1.0,
    optimise: bool = False,
    step: float = 0.05,
) -> pd.DataFrame:
    """Score the picks of each reference against the particles of its class.

    A particle is found if the cube of a pick overlaps its cube with an intersection over union above 0.6,
    both with the edge length of the class.

    Parameters
    ----------
    picks : located picks; their attribute ``references`` names the references.
    truth : columns class (lower case), X, Y, Z in voxels.
    box_sizes : edge length of the particles' cubes, in voxels: one for all, or by file name or label.
    fbeta : how many times as much as precision recall weighs in the column F1.
    optimise : whether to choose the thresholds that score best *on these very data*
        (:func:`~tomotwin_lib.matching.best_thresholds`): a best case, no forecast.
    step : distance of the similarity thresholds that are tried.

    Returns
    -------
    One row a reference: reference, class, F1, Recall, Precision, TruePositiveRate, TP, FP, FN, and where
    optimised O_METRIC, O_MIN_SIZE and O_MAX_SIZE (0: no limit), as
    :func:`~tomotwin_lib.picking.keep_picks` takes them. The attribute ``without_truth`` lists the references
    whose class the truth does not hold (they have no row), ``without_reference`` the classes that no
    reference looks for.

    Raises
    ------
    InputError
        If no reference's class is in the truth, a box size is missing or an option is out of range.
    """
    if not (fbeta > 0 and math.isfinite(fbeta)):
        raise InputError("fbeta", f"{fbeta} is no weight above 0", "Give 1 to weigh recall like precision")
    if not 0 < step <= 1:
        raise InputError("step", f"{step} is no step between thresholds", "Give a number above 0, up to 1")
    references = list(picks.attrs.get("references", []))
    classes = sorted(set(truth["class"]))
    class_of = {reference: class_of_reference(reference, classes) for reference in references}
    rows = []
    for number, reference in enumerate(references):
        name = class_of[reference]
        if name is None:
            continue
        own = picks[picks["predicted_class"] == number]
        matching = Matching(
            truth.loc[truth["class"] == name, ["X", "Y", "Z"]].to_numpy(np.float64),
            own[["X", "Y", "Z"]].to_numpy(np.float64),
            box_size_of(reference, box_sizes),
        )
        row: dict[str, Any] = {"reference": reference, "class": name}
        if optimise:
            best, counts = best_thresholds(
                matching,
                own["metric_best"].to_numpy(),
                own["size"].to_numpy(np.int64),
                fbeta=fbeta,
                step=step,
            )
            limits = {
                "O_METRIC": best.minimum_metric,
                "O_MIN_SIZE": best.minimum_size,
                "O_MAX_SIZE": best.maximum_size,
            }
            rows.append(row | _scores(counts, fbeta) | limits)
        else:
            rows.append(row | _scores(matching.counts(), fbeta))
    if not rows:
        raise InputError(
            "ground truth",
            f"it holds none of the references {', '.join(references) or '(the picks name none)'}; "
            f"its classes are {', '.join(classes) or 'none'}",
            "Name the references after the classes, for example by a PDB code",
        )
    scores = pd.DataFrame(rows)
    scores.attrs = {
        "without_truth": [reference for reference in references if class_of[reference] is None],
        "without_reference": [name for name in classes if name not in class_of.values()],
    }
    return scores


def best_case_picks(picks: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The picks that the optimised limits keep, each reference by its own.

    Parameters
    ----------
    picks, scores : what :func:`evaluate_positions` took, and what it returned with ``optimise``.

    Returns
    -------
    A frame with the columns and attributes of ``picks``; picks of references without scores are left out.
    """
    references = picks.attrs["references"]
    kept = [
        keep_picks(
            picks[picks["predicted_class"] == references.index(row["reference"])],
            minimum_metric=row["O_METRIC"],
            minimum_size=row["O_MIN_SIZE"],
            maximum_size=row["O_MAX_SIZE"],
        )
        for row in scores.to_dict("records")
    ]
    chosen = pd.concat(kept, ignore_index=True)
    chosen.attrs = dict(picks.attrs)
    return chosen


def mean_f1(scores: pd.DataFrame) -> float:
    """Mean of the references' F1, each with the same weight."""
    return float(scores["F1"].mean())


def score_table(scores: pd.DataFrame) -> str:
    """The scores as a table of text, three decimals, with the mean below and notes on what was left out."""
    shares = scores.columns.intersection(_SHARES)
    lines = [
        scores.to_string(index=False, formatters=dict.fromkeys(shares, "{:.3f}".format)),
        f"mean F1 {mean_f1(scores):.3f} over {len(scores)} reference{'s' * (len(scores) != 1)}",
    ]
    if missing := scores.attrs.get("without_truth"):
        lines.append(f"not scored, no ground truth of their class: {', '.join(missing)}")
    if missing := scores.attrs.get("without_reference"):
        lines.append(f"classes that no reference looks for: {', '.join(missing)}")
    return "\n".join(lines)


def write_evaluation(folder: str | Path, scores: pd.DataFrame, optimised: bool = True) -> tuple[Path, Path]:
    """Write the scores as a table and as JSON, ``{reference: {column: value}}``.

    Returns
    -------
    The two files: ``evaluation_optim.txt`` and ``evaluation_optim_dict.json``, as TomoTwin names them, or
    ``evaluation.txt`` and ``evaluation_dict.json`` where the thresholds were not ``optimised``.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    return write_scores(folder, "evaluation_optim" if optimised else "evaluation", scores)


def write_scores(folder: str | Path, stem: str, scores: pd.DataFrame) -> tuple[Path, Path]:
    """Write any table of scores by reference, as ``<stem>.txt`` and ``<stem>_dict.json``; returns the two.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    table, dictionary = Path(folder) / f"{stem}.txt", Path(folder) / f"{stem}_dict.json"
    with atomic_path(table) as path:
        path.write_text(score_table(scores) + "\n", encoding="utf-8")
    columns = scores.set_index("reference").drop(columns="class")
    write_json(dictionary, columns.to_dict(orient="index"), indent=1)
    return table, dictionary


def _scores(counts: Counts, fbeta: float) -> dict[str, float | int]:
    return {
        "F1": counts.f_score(fbeta),
        "Recall": counts.recall,
        "Precision": counts.precision,
        "TruePositiveRate": counts.recall,
        "TP": counts.tp,
        "FP": counts.fp,
        "FN": counts.fn,
    }
