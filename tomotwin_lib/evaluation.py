"""Picks scored against the particles that are known to be there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tomotwin_lib.boxes import class_of_reference
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, write_json
from tomotwin_lib.limits import limits_of_references
from tomotwin_lib.matching import Counts, best_thresholds
from tomotwin_lib.picking import Thresholds, keep_within
from tomotwin_lib.reference_matching import match_references

#: What :func:`evaluate_with_limits` adds to a table of scores.
LIMIT_COLUMNS = ["MIN_METRIC", "MIN_SIZE", "MAX_SIZE", "LIMITS_OF"]

_SHARES = [
    "F1", "Recall", "Precision", "TrueNegativeRate", "TruePositiveRate", "BalancedAccuracy", "O_METRIC",
    "MIN_METRIC",
]  # fmt: skip


def evaluate_positions(
    picks: pd.DataFrame,
    truth: pd.DataFrame,
    box_sizes: int | Mapping[str, int],
    *,
    fbeta: float = 1.0,
    optimise: bool = False,
    step: float = 0.05,
    within: float | None = None,
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
    within : where given, a pick finds a particle by its distance from the centre, at most this share of the
        particle's radius (half its box), in place of the overlap. With 0.5 and an ``fbeta`` of 4 that is the
        measure of the CryoET challenge of the Chan Zuckerberg Initiative.

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
    rows = []
    for found in match_references(picks, truth, box_sizes, within=within):
        row: dict[str, Any] = {"reference": found.reference, "class": found.class_name}
        if optimise:
            best, counts = best_thresholds(found.matching, found.metric, found.size, fbeta=fbeta, step=step)
            limits = {
                "O_METRIC": best.minimum_metric,
                "O_MIN_SIZE": best.minimum_size,
                "O_MAX_SIZE": best.maximum_size,
            }
            rows.append(row | _scores(counts, fbeta) | limits)
        else:
            rows.append(row | _scores(found.matching.counts(), fbeta))
    scores = pd.DataFrame(rows)
    scored, classes = set(scores["reference"]), set(scores["class"])
    scores.attrs = {
        "without_truth": [name for name in picks.attrs["references"] if name not in scored],
        "without_reference": sorted(set(truth["class"].astype(str)) - classes),
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
    limits = {
        row["reference"]: Thresholds(row["O_METRIC"], row["O_MIN_SIZE"], row["O_MAX_SIZE"])
        for row in scores.to_dict("records")
    }
    return keep_within(picks, limits)


def evaluate_with_limits(
    picks: pd.DataFrame,
    truth: pd.DataFrame,
    box_sizes: int | Mapping[str, int],
    limits: Mapping[str, Thresholds],
    *,
    fbeta: float = 1.0,
    source: str | Path = "limits",
) -> pd.DataFrame:
    """Score the picks within limits that were chosen elsewhere: what to expect where the truth is not known.

    Parameters
    ----------
    picks, truth, box_sizes, fbeta : as for :func:`evaluate_positions`.
    limits : what :func:`~tomotwin_lib.limits.read_limits` read from the scores of another tomogram. Each
        reference gets its own or those of its class
        (:func:`~tomotwin_lib.limits.limits_of_references`).
    source : the file of the limits, for complaints.

    Returns
    -------
    The columns and attributes of :func:`evaluate_positions`, then MIN_METRIC, MIN_SIZE, MAX_SIZE (0: no
    limit) and LIMITS_OF, which says in words whose limits they are.

    Raises
    ------
    InputError
        As :func:`evaluate_positions` does, and if there are no limits for a reference whose class is in the
        truth; the others need none.
    """
    classes = sorted(set(truth["class"]))
    scored = [name for name in picks.attrs.get("references", []) if class_of_reference(name, classes)]
    found = limits_of_references(scored, limits, source)
    kept = keep_within(picks, {reference: own.thresholds for reference, own in found.items()})
    scores = evaluate_positions(kept, truth, box_sizes, fbeta=fbeta)
    used = [found[reference] for reference in scores["reference"]]
    scores["MIN_METRIC"] = [own.thresholds.minimum_metric for own in used]
    scores["MIN_SIZE"] = [own.thresholds.minimum_size for own in used]
    scores["MAX_SIZE"] = [own.thresholds.maximum_size for own in used]
    scores["LIMITS_OF"] = [own.origin for own in used]
    return scores


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


def write_evaluation(
    folder: str | Path,
    scores: pd.DataFrame,
    optimised: bool = True,
    *,
    beside: Mapping[str, pd.DataFrame] | None = None,
) -> tuple[Path, Path]:
    """Write the scores as a table and as JSON, ``{reference: {column: value}}``.

    Parameters
    ----------
    folder : where to write.
    scores : the scores.
    optimised : whether they are a best case.
    beside : see :func:`write_scores`.

    Returns
    -------
    The two files: ``evaluation_optim.txt`` and ``evaluation_optim_dict.json``, as TomoTwin names them,
    ``evaluation_limits…`` where the scores are those of :func:`evaluate_with_limits`, or ``evaluation.txt``
    and ``evaluation_dict.json`` for all picks.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    limited = set(LIMIT_COLUMNS) <= set(scores.columns)
    kind = "_limits" if limited else "_optim" if optimised else ""
    return write_scores(folder, f"evaluation{kind}", scores, beside)


def write_scores(
    folder: str | Path, stem: str, scores: pd.DataFrame, beside: Mapping[str, pd.DataFrame] | None = None
) -> tuple[Path, Path]:
    """Write any table of scores by reference, as ``<stem>.txt`` and ``<stem>_dict.json``; returns the two.

    Parameters
    ----------
    folder, stem : where to write, and the files' name.
    scores : columns reference and class, and whatever was scored.
    beside : further scores of the same references by what they are, such as "as located". In the text they
        follow below; in the JSON as AS_LOCATED_F1 and so on, behind the keys that TomoTwin's readers know.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    text, columns = score_table(scores), _columns(scores)
    for name, others in (beside or {}).items():
        text += f"\n\n{name}:\n{score_table(others)}"
        columns = columns.join(_columns(others).add_prefix(f"{name.upper().replace(' ', '_')}_"))
    table, dictionary = Path(folder) / f"{stem}.txt", Path(folder) / f"{stem}_dict.json"
    with atomic_path(table) as path:
        path.write_text(text + "\n", encoding="utf-8")
    write_json(dictionary, columns.to_dict(orient="index"), indent=1)
    return table, dictionary


def _columns(scores: pd.DataFrame) -> pd.DataFrame:
    """What was scored, by reference."""
    return scores.set_index("reference").drop(columns="class")


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
