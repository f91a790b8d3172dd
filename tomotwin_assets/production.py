"""Which model is in production: the record of it in ``products/production_model.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tomotwin_assets.resources import DataFolder
from tomotwin_assets.values import read_json
from tomotwin_lib.errors import InputError


@dataclass(frozen=True)
class Promotion:
    """One promotion: which model, by whom, when, why, what it replaced, and the thresholds of its picks."""

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


def read_promotion(folder: DataFolder) -> Promotion | None:
    """The promotion that holds now, ``None`` where no model has been promoted yet.

    Raises
    ------
    InputError
        If the record cannot be read.
    """
    path = folder.path / "products" / "production_model.json"
    if not path.is_file():
        return None
    content = read_json(path)
    if content.get("model") is None:
        return None
    try:
        return Promotion(**content)
    except TypeError as error:
        raise InputError(
            path, f"it is no record of a promotion ({error})", "Promote a model again"
        ) from error
