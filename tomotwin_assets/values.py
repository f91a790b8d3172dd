"""What passes between assets where the library has no type of its own: small records, kept as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.leaderboard import Evaluated
from tomotwin_lib.thresholds import curve_from_record


@dataclass(frozen=True)
class TrainingData:
    """Subvolumes of each class, to train on and to validate with; empty where the user gave none."""

    training: dict[str, int] = field(default_factory=dict)
    validation: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ReferenceVolumes:
    """The references' files, and the box sizes of their particles in voxels (one number means all)."""

    paths: list[Path]
    box_sizes: int | dict[str, int]


@dataclass(frozen=True)
class UnstoredEmbedding:
    """How to embed a tomogram, in place of its embedding.

    Attributes
    ----------
    model, tomogram : the checkpoint and the tomogram, as files.
    options : of :func:`tomotwin_lib.embedding.tomograms.embed_tomogram`.
    """

    model: str
    tomogram: str
    options: dict[str, Any]


EmbeddingProduct: TypeAlias = Any
"""A TomogramEmbedding or an UnstoredEmbedding; Dagster's types know no unions."""


@dataclass(frozen=True)
class EvaluationReport:
    """Scores of one model on one tomogram, one row a reference; empty where there is no ground truth.

    Attributes
    ----------
    picks : number of located picks.
    as_picked : scores of all located picks.
    best_case : scores with the thresholds that suit this very ground truth best.
    curves : the picks counted by threshold (:class:`~tomotwin_lib.thresholds.ThresholdCurve`), as records.
    fbeta : the weight of recall in the scores called F1.
    positions, seconds : how many positions were embedded in what time; ``None`` where that is not known.
    date : of the evaluation: UTC, ISO 8601. Empty in reports of earlier versions.
    model_md5 : MD5 of the checkpoint that made the picks; empty where that is not known.
    """

    model: str
    tomogram: str
    picks: int
    as_picked: list[dict[str, Any]] = field(default_factory=list)
    best_case: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    fbeta: float = 1.0
    positions: int | None = None
    seconds: float | None = None
    date: str = ""
    model_md5: str = ""

    @property
    def scored(self) -> bool:
        """Whether there was ground truth to compare with."""
        return bool(self.best_case)

    def evaluated(self) -> Evaluated:
        """The scores as the library compares them; KeyError or ValueError where a curve is broken."""
        curves = [curve_from_record(record) for record in self.curves]
        return Evaluated(
            self.model, self.tomogram, self.best_case, curves, self.positions, self.seconds, self.date
        )

    def mean(self, score: str, *, best_case: bool) -> float | None:
        """Mean of a score (``F1``, ``Recall``, ``Precision``) over the references, ``None`` without any."""
        rows = self.best_case if best_case else self.as_picked
        return sum(float(row[score]) for row in rows) / len(rows) if rows else None


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as plain rows, ready for JSON."""
    return [
        {str(name): value.item() if hasattr(value, "item") else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def read_json(path: Path) -> dict[str, Any]:
    """Read a record; InputError where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            path, f"the record cannot be read ({error})", "Materialise the asset again"
        ) from error
    if not isinstance(content, dict):
        raise InputError(path, "this is no record of the platform", "Materialise the asset again")
    return content


def read_report(path: Path) -> EvaluationReport:
    """Read an evaluation report, those of earlier versions too; InputError where the file is none."""
    content = read_json(path)
    required = ("model", "tomogram", "picks", "as_picked", "best_case")
    if missing := [name for name in required if name not in content]:
        raise InputError(path, f"the report lacks {missing[0]!r}", "Materialise evaluation_report again")
    # What it holds beyond this is of a later version.
    known = {entry.name for entry in fields(EvaluationReport)}
    return EvaluationReport(**{name: value for name, value in content.items() if name in known})
