"""Limits that were found on one tomogram, applied to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.evaluation import evaluate_positions, evaluate_with_limits, write_evaluation
from tomotwin_lib.limits import limits_of_references, read_limits
from tomotwin_lib.picking import Thresholds, keep_within

REFERENCE = "m_1abc_0.mrc"
PARTICLES = pd.DataFrame([("1abc", 100.0 * n, 50, 50) for n in range(4)], columns=["class", "X", "Y", "Z"])


def picks_of(*rows: tuple[float, float, int], reference: str = REFERENCE) -> pd.DataFrame:
    """Picks from rows of X, metric and size; those at whole hundreds up to 300 lie on the particles."""
    frame = pd.DataFrame(rows, columns=["X", "metric_best", "size"]).assign(Y=50, Z=50, predicted_class=0)
    frame.attrs["references"] = [reference]
    return frame


# False picks are less similar than 0.62 here and small there: the best limits of the one suit the other ill.
TOMOGRAM_A = picks_of((0, 0.9, 30), (100, 0.8, 30), (200, 0.7, 30), (50, 0.61, 30), (150, 0.58, 30))
TOMOGRAM_B = picks_of(
    (0, 0.9, 30), (100, 0.64, 30), (200, 0.55, 30), (300, 0.52, 30), (50, 0.8, 4), (150, 0.5, 3)
)


def test_limits_of_one_tomogram_on_another_by_hand(tmp_path: Path) -> None:
    on_a = evaluate_positions(TOMOGRAM_A, PARTICLES, 20, optimise=True, step=0.05)
    limits = read_limits(write_evaluation(tmp_path, on_a)[1])
    assert limits == {REFERENCE: Thresholds(pytest.approx(0.65), 0, 0)}  # type: ignore[arg-type]
    # Above 0.65 there are one particle and one false pick of tomogram B.
    row = evaluate_with_limits(TOMOGRAM_B, PARTICLES, 20, limits).iloc[0]
    assert row[["TP", "FP", "FN", "Precision", "Recall"]].tolist() == [1, 1, 3, 0.5, 0.25]
    assert row["F1"] == pytest.approx(1 / 3)
    assert row[["MIN_METRIC", "MIN_SIZE", "MAX_SIZE"]].tolist() == pytest.approx([0.65, 0, 0])
    assert row["LIMITS_OF"] == f"{REFERENCE}, the same reference"
    # All of them but the two small ones would have been the best case; as located there are four of six.
    best = evaluate_positions(TOMOGRAM_B, PARTICLES, 20, optimise=True).iloc[0]
    plain = evaluate_positions(TOMOGRAM_B, PARTICLES, 20).iloc[0]
    assert row["F1"] < plain["F1"] == 0.8 < best["F1"] == 1.0


def test_sizes_count_as_well() -> None:
    row = evaluate_with_limits(TOMOGRAM_B, PARTICLES, 20, {REFERENCE: Thresholds(0.0, 3, 30)}).iloc[0]
    assert row[["TP", "FP", "FN"]].tolist() == [0, 1, 4]
    row = evaluate_with_limits(TOMOGRAM_B, PARTICLES, 20, {REFERENCE: Thresholds(0.53, 4, 0)}).iloc[0]
    assert row[["TP", "FP", "FN"]].tolist() == [3, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_never_better_than_the_best_case(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = pd.DataFrame(rng.uniform(0, 120, (40, 3)), columns=["X", "Y", "Z"])
    near = truth.iloc[rng.integers(0, 40, 60)] + rng.normal(0, 2.5, (60, 3))
    picks = pd.concat([near, pd.DataFrame(rng.uniform(0, 120, (40, 3)), columns=["X", "Y", "Z"])])
    picks["metric_best"] = np.float32(np.r_[rng.normal(0.7, 0.15, 60), rng.normal(0.55, 0.15, 40)])
    picks["size"] = np.r_[rng.integers(20, 80, 60), rng.integers(2, 120, 40)]
    picks = picks.assign(predicted_class=0).reset_index(drop=True)
    picks.attrs["references"] = [REFERENCE]
    truth.insert(0, "class", "1abc")
    best = evaluate_positions(picks, truth, 14, optimise=True, step=0.05)["F1"][0]
    # Whatever limit of similarity another tomogram suggests: the best case has tried it.
    elsewhere = [
        evaluate_with_limits(picks, truth, 14, {REFERENCE: Thresholds(limit, 0, 0)})["F1"][0]
        for limit in np.arange(0, 1, 0.05).tolist()
    ]
    assert max(elsewhere) <= best and min(elsewhere) < best


SEVERAL = {
    "m_1abc_0.mrc": Thresholds(0.5, 3, 41),
    "m_1abc_1.mrc": Thresholds(0.6, 9, 0),
    "n_1ABC_7.mrc": Thresholds(0.9, 4, 30),
    "x_2def.mrc": Thresholds(0.1, 0, 0),
}


def test_whose_limits_are_taken() -> None:
    wanted = ["M_1ABC_1.rec", "other_1abc.mrc", "2DEF"]
    found = limits_of_references(wanted, SEVERAL, "limits.json")
    assert found["M_1ABC_1.rec"].thresholds == SEVERAL["m_1abc_1.mrc"]
    assert found["M_1ABC_1.rec"].origin == "m_1abc_1.mrc, the same reference"
    assert found["other_1abc.mrc"].thresholds == Thresholds(0.6, 4, 41)
    assert found["other_1abc.mrc"].origin == (
        "the median of m_1abc_0.mrc, m_1abc_1.mrc, n_1ABC_7.mrc, of the same class"
    )
    assert found["2DEF"].thresholds == SEVERAL["x_2def.mrc"]
    assert found["2DEF"].origin == "x_2def.mrc, of the same class"


def test_the_median_of_two() -> None:
    two = {name: SEVERAL[name] for name in ("m_1abc_0.mrc", "n_1ABC_7.mrc")}
    median = limits_of_references(["k_1abc"], two, "l")["k_1abc"].thresholds
    assert median == Thresholds(pytest.approx(0.7), 3, 36)  # type: ignore[arg-type]
    unlimited = {name: SEVERAL[name] for name in ("m_1abc_0.mrc", "m_1abc_1.mrc")}
    assert limits_of_references(["k_1abc"], unlimited, "l")["k_1abc"].thresholds.maximum_size == 0


def test_a_class_without_limits_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"limits\.json: .*m_3ghi\.mrc.*class 3ghi.*x_2def\.mrc.*Give"
    ) as caught:
        limits_of_references(["x_2def.mrc", "m_3ghi.mrc"], SEVERAL, "limits.json")
    assert caught.value.source == "limits.json"
    # Where the truth does not hold the class either, nothing is scored and no limits are needed.
    picks = TOMOGRAM_B.copy()
    picks.attrs["references"] = [REFERENCE, "m_3ghi.mrc"]
    scores = evaluate_with_limits(picks, PARTICLES, 20, SEVERAL)
    assert scores["reference"].tolist() == [REFERENCE]
    assert scores.attrs["without_truth"] == ["m_3ghi.mrc"]
    with pytest.raises(InputError, match=r"found\.json.*m_1abc_0\.mrc"):
        evaluate_with_limits(
            TOMOGRAM_B, PARTICLES, 20, {"x_2def": SEVERAL["x_2def.mrc"]}, source="found.json"
        )


GOOD = {"O_METRIC": 0.5, "O_MIN_SIZE": 3, "O_MAX_SIZE": 0}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no references"),
        ("{}", "no references"),
        ('{"a": 3}', "'a' is 3"),
        ('{"a": {"F1": 0.5}}', "'a' has no O_METRIC"),
        ({**GOOD, "O_METRIC": "high"}, "O_METRIC of 'a' is 'high'.*number"),
        ({**GOOD, "O_METRIC": True}, "O_METRIC of 'a' is True"),
        ({**GOOD, "O_METRIC": float("nan")}, "O_METRIC of 'a' is nan"),
        ({**GOOD, "O_MIN_SIZE": -1}, "O_MIN_SIZE of 'a' is -1.*voxels"),
        ({**GOOD, "O_MAX_SIZE": 10**400}, "O_MAX_SIZE of 'a' is 1000"),
        ({**GOOD, "O_MAX_SIZE": None}, "O_MAX_SIZE of 'a' is None"),
    ],
)
def test_malformed_files_are_refused(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    if isinstance(content, dict):
        content = json.dumps({"a": content})
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=said) as caught:
        read_limits(path)
    assert caught.value.source == str(path) and caught.value.remedy


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_limits(tmp_path / "limits.json")


def test_limits_of_tomotwins_own_evaluation(shared: Path, tmp_path: Path) -> None:
    optimised = json.loads((shared / "interop" / "evaluate" / "expected.json").read_text())["optimised"]
    (tmp_path / "evaluation_optim_dict.json").write_text(json.dumps(optimised))
    limits = read_limits(tmp_path / "evaluation_optim_dict.json")
    assert limits["model_0_1BXN_1.mrc"] == Thresholds(0.6000000000000001, 45, 0)
    assert list(limits) == list(optimised)


def test_keeping_nothing_keeps_the_columns() -> None:
    kept = keep_within(TOMOGRAM_B, {})
    assert len(kept) == 0 and list(kept.columns) == list(TOMOGRAM_B.columns)
    assert kept.attrs == TOMOGRAM_B.attrs


def test_what_stands_beside_the_best_case(tmp_path: Path) -> None:
    best = evaluate_positions(TOMOGRAM_B, PARTICLES, 20, optimise=True)
    plain = evaluate_positions(TOMOGRAM_B, PARTICLES, 20)
    table, dictionary = write_evaluation(tmp_path, best, beside={"as located": plain})
    row = json.loads(dictionary.read_text())[REFERENCE]
    alone = json.loads(write_evaluation(tmp_path / "alone", best)[1].read_text())[REFERENCE]
    # TomoTwin's keys, in its order, then ours.
    assert list(row)[: len(alone)] == list(alone)
    assert {key: row[key] for key in alone} == alone
    assert row["F1"] == 1.0 and row["AS_LOCATED_F1"] == pytest.approx(0.8) and row["AS_LOCATED_FP"] == 2
    text = table.read_text()
    assert text.index("mean F1 1.000") < text.index("as located:") < text.index("mean F1 0.800")
