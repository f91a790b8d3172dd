"""What passes between assets where the library has no type of its own: small records, kept as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from tomotwin_lib.errors import InputError


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
    """

    model: str
    tomogram: str
    picks: int
    as_picked: list[dict[str, Any]] = field(default_factory=list)
    best_case: list[dict[str, Any]] = field(default_factory=list)

    @property
    def scored(self) -> bool:
        """Whether there was ground truth to compare with."""
        return bool(self.best_case)

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
    """Read an evaluation report; InputError where the file is none."""
    content = read_json(path)
    try:
        return EvaluationReport(
            **{name: content[name] for name in ("model", "tomogram", "picks", "as_picked", "best_case")}
        )
    except KeyError as error:
        raise InputError(path, f"the report lacks {error}", "Materialise evaluation_report again") from error
