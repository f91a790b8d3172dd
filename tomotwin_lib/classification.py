"""How well subvolumes were assigned to references: each class against all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import multilabel_confusion_matrix

from tomotwin_lib.boxes import class_of_reference, names_of_class
from tomotwin_lib.errors import InputError

# Number of the class of subvolumes that were assigned to no reference.
VOID = -1


def evaluate_classification(
    subvolumes: Sequence[str], assigned: Sequence[int], references: Sequence[str], fbeta: float = 1.0
) -> pd.DataFrame:
    """Score an assignment of labelled subvolumes to references.

    Parameters
    ----------
    subvolumes : their file names, which hold their class, such as a PDB code.
    assigned : for each of them the number of a reference, or −1 for none.
    references : file names, in the order of the numbers.
    fbeta : weight of recall relative to precision.

    Returns
    -------
    A row for each reference whose class some subvolume has: reference, class, F1, Recall, Precision,
    TrueNegativeRate, TruePositiveRate, BalancedAccuracy. ``attrs``: ``void`` is the number of subvolumes that
    were assigned to none, ``without_reference`` the names of those whose class no reference has; they count
    as negatives of all.

    Raises
    ------
    InputError
        If there is no subvolume, a number belongs to no reference, two references are of one class, or no
        subvolume is of the class of a reference.
    """
    numbers = np.asarray(assigned, dtype=np.int64)
    if not len(numbers):
        raise InputError("subvolumes", "there is none", "Give the file of a classification")
    strangers = numbers[(numbers < VOID) | (numbers >= len(references))]
    if len(strangers):
        raise InputError(
            "predicted_class",
            f"{strangers[0]} is the number of no reference: there are {len(references)}, counted from 0",
            "Give the references that the classification was made with",
        )
    # The label in the name, or the name without its ending where that holds none.
    names = [names_of_class(name)[-1] for name in references]
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise InputError("references", f"more than one is of class {double}", "Give one of each class")
    own = [class_of_reference(name, names) for name in subvolumes]
    truth = np.array([names.index(name) if name is not None else len(references) for name in own])
    present = [number for number in range(len(references)) if (truth == number).any()]
    if not present:
        raise InputError(
            "subvolumes",
            f"none is of the classes {', '.join(names)}",
            "Give the references of these subvolumes",
        )
    tables = multilabel_confusion_matrix(truth, numbers, labels=present)
    scores = pd.DataFrame(
        [
            {"reference": references[number], "class": names[number], **_scores(table, fbeta)}
            for number, table in zip(present, tables, strict=True)
        ]
    )
    scores.attrs = {
        "void": int((numbers == VOID).sum()),
        "without_reference": [name for name, label in zip(subvolumes, own, strict=True) if label is None],
    }
    return scores


def _scores(table: np.ndarray, fbeta: float) -> dict[str, float]:
    (tn, fp), (fn, tp) = table.tolist()
    recall = tp / (tp + fn)
    precision = tp / (tp + fp) if tp + fp else 0.0
    weight = fbeta**2
    f_score = (1 + weight) * precision * recall / (weight * precision + recall) if tp else 0.0
    specificity = tn / (tn + fp) if tn + fp else float("nan")
    return {
        "F1": f_score,
        "Recall": recall,
        "Precision": precision,
        "TrueNegativeRate": specificity,
        "TruePositiveRate": recall,
        "BalancedAccuracy": (recall + specificity) / 2,
    }
