"""Which model is in production: the record of it, whose history can be rolled back.

The record, ``products/production_model.json``, says what was promoted, by whom, when and why, what it
replaced, and the thresholds that its picks have to pass. Everything here is a plain function of files; the
asset ``production_model`` calls it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tomotwin_assets.resources import DataFolder
from tomotwin_assets.values import read_json
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, write_json

PRODUCTION_MODEL = "production_model"
BY_RULE = "rule"
"""Who promoted it, where nobody did."""


@dataclass(frozen=True)
class Promotion:
    """One promotion: what the production picks are made with, and how it came to that.

    Attributes
    ----------
    model, md5 : name of the network, and the MD5 of its checkpoint when it was promoted.
    by : the person, or ``rule``.
    when : UTC, ISO 8601, to the second. It stays as it is until the next promotion.
    why : in words.
    replaced : the model that was in production before, ``None`` for the first.
    thresholds : reference → the similarity that a pick has to be above. References that the benchmark knows
        nothing of have none.
    tomograms : the benchmark tomograms that the thresholds come from.
    mean_honest_f1 : mean F1 on them, each at the thresholds of the others; ``None`` where there is only one.
    history : the earlier promotions as plain records, oldest first, each without a history of its own.
    mean_best_case_f1 : mean F1 on them at their own best thresholds; ``None`` without a benchmark.
    before : index in ``history`` of the promotion that a roll-back returns to; ``None`` where there is none.
    turned_down : MD5 of the checkpoints that were rolled back: only a person promotes them again.
    """

    model: str
    md5: str
    by: str
    when: str
    why: str
    replaced: str | None
    thresholds: dict[str, float]
    tomograms: list[str]
    mean_honest_f1: float | None
    history: list[dict[str, Any]] = field(default_factory=list)
    mean_best_case_f1: float | None = None
    before: int | None = None
    turned_down: list[str] = field(default_factory=list)

    @property
    def version(self) -> str:
        """Changes with whatever changes the picks: the weights and the thresholds."""
        content = json.dumps([self.model, self.md5, sorted(self.thresholds.items())])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def record(self) -> dict[str, Any]:
        """The promotion without its history, as it stands in that of the next one."""
        return {name: value for name, value in asdict(self).items() if name != "history"}


def read_promotion(folder: DataFolder) -> Promotion | None:
    """The promotion that holds now, ``None`` where no model has been promoted yet.

    Raises
    ------
    InputError
        If the record cannot be read.
    """
    path = folder.fetch(folder.product(PRODUCTION_MODEL))
    if not path.is_file():
        return None
    content = read_json(path)
    if content.get("model") is None:
        return None
    return _promotion(path, content)


def write_promotion(folder: DataFolder, promotion: Promotion | None, why_none: str = "") -> Path:
    """Write the record, whole or not at all; where nothing is promoted it says why. Returns its path."""
    path = folder.product(PRODUCTION_MODEL)
    write_json(path, {"model": None, "why": why_none} if promotion is None else asdict(promotion))
    folder.keep(path)
    return path


def require_promotion(folder: DataFolder) -> Promotion:
    """The promotion that holds now.

    Raises
    ------
    InputError
        If there is none, or the record cannot be read.
    """
    promotion = read_promotion(folder)
    if promotion is None:
        raise InputError(
            folder.product(PRODUCTION_MODEL),
            "no model is in production yet",
            "Materialise production_model, or choose one: tomotwin-platform promote NAME --why …",
        )
    return promotion


def mark_on_leaderboard(folder: DataFolder, model: str | None) -> None:
    """Say in the leaderboard's file, where there is one, which model is in production now.

    The leaderboard is made before a model is promoted, and would name the one before.
    """
    path = folder.fetch(folder.product("leaderboard"))
    if not path.is_file():
        return
    board = pd.read_csv(path)
    marks = board["model"].astype(str) == str(model)
    if "production" in board and marks.equals(board["production"]):
        return
    board["production"] = marks
    with atomic_path(path) as temporary:
        board.to_csv(temporary, index=False)
    folder.keep(path)


def _promotion(path: Path, content: dict[str, Any]) -> Promotion:
    try:
        return Promotion(**content)
    except TypeError as error:
        raise InputError(
            path, f"it is no record of a promotion ({error})", "Move it away and promote a model again"
        ) from error
