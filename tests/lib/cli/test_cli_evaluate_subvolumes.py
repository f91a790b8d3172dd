"""``evaluate subvolumes``: from files to a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize("kind", ["txt", "pkl"])
def test_scores_from_text_and_from_frames(kind: str, tmp_path: Path, run: Run) -> None:
    table = pd.DataFrame(
        {"filename": ["x/1abc_0.mrc", "x/1abc_1.mrc", "x/2xyz_0.mrc"], "predicted_class": [0, 1, 1]}
    )
    references = pd.DataFrame({"filepath": ["/refs/1abc.mrc", "/refs/2xyz.mrc"]})
    for name, frame in (("probabilities", table), ("references", references)):
        path = tmp_path / f"{name}.{kind}"
        if kind == "txt":
            frame.to_csv(path, index=False)
        else:
            frame.to_pickle(path)
    outcome = run(
        "evaluate_main", "subvolumes", "-p", tmp_path / f"probabilities.{kind}",
        "-r", tmp_path / f"references.{kind}",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    scores = json.loads((tmp_path / "evaluation_subvolumes_dict.json").read_text())
    assert scores["1abc.mrc"]["F1"] == pytest.approx(2 / 3)
    assert scores["2xyz.mrc"]["Precision"] == pytest.approx(1 / 2)
    assert "assigned to no reference: 0 subvolumes" in outcome.out
    assert (tmp_path / "evaluation_subvolumes.txt").read_text().count("0.667") >= 2


def test_refuses_other_tables(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "p.txt"
    for text in ("", "a,b\n1,2\n"):
        path.write_text(text)
        outcome = run("evaluate_main", "subvolumes", "-p", path, "-r", path)
        assert outcome.code == 2 and str(path) in outcome.err and "Traceback" not in outcome.err
    outcome = run("evaluate_main", "subvolumes", "-p", tmp_path / "gone.txt", "-r", path)
    assert outcome.code == 2 and "gone.txt" in outcome.err
