"""Assignments of subvolumes to references, scored by hand."""

from __future__ import annotations

import pytest

from tomotwin_lib.classification import evaluate_classification
from tomotwin_lib.errors import InputError

REFERENCES = ["1abc.mrc", "model_2xyz_0.mrc", "3def.mrc"]


def test_each_class_against_all_others() -> None:
    # Of 1abc two of three are found and one 2xyz is taken for it; of 2xyz one of two; 9zzz has no reference.
    subvolumes = [
        "t_1abc_0.mrc",
        "t_1abc_1.mrc",
        "t_1ABC_2.mrc",
        "t_2xyz_0.mrc",
        "t_2xyz_1.mrc",
        "t_9zzz_0.mrc",
    ]
    scores = evaluate_classification(subvolumes, [0, 0, -1, 0, 1, 1], REFERENCES)
    assert scores["reference"].tolist() == REFERENCES[:2]
    assert scores["class"].tolist() == ["1abc", "2xyz"]
    assert scores["Recall"].tolist() == pytest.approx([2 / 3, 1 / 2])
    assert scores["TruePositiveRate"].tolist() == scores["Recall"].tolist()
    assert scores["Precision"].tolist() == pytest.approx([2 / 3, 1 / 2])
    assert scores["F1"].tolist() == pytest.approx([2 / 3, 1 / 2])
    assert scores["TrueNegativeRate"].tolist() == pytest.approx([2 / 3, 3 / 4])
    assert scores["BalancedAccuracy"].tolist() == pytest.approx([2 / 3, 5 / 8])
    assert scores.attrs == {"void": 1, "without_reference": ["t_9zzz_0.mrc"]}


def test_fbeta_weighs_recall() -> None:
    # Recall 1, precision 1/2: F2 = 5 * 0.5 / (4 * 0.5 + 1) = 5 / 6.
    scores = evaluate_classification(["1abc_0", "2xyz_0"], [0, 0], REFERENCES, fbeta=2)
    assert scores["F1"][0] == pytest.approx(5 / 6)
    assert scores["F1"][1] == 0.0 and scores["Precision"][1] == 0.0


@pytest.mark.parametrize(
    ("subvolumes", "assigned", "references", "problem"),
    [
        ([], [], REFERENCES, "there is none"),
        (["1abc_0"], [3], REFERENCES, "3 is the number of no reference"),
        (["1abc_0"], [-2], REFERENCES, "-2 is the number of no reference"),
        (["9zzz_0"], [0], REFERENCES, "none is of the classes 1abc, 2xyz, 3def"),
        (["1abc_0"], [0], ["a_1abc_0.mrc", "a_1abc_1.mrc"], "more than one is of class 1abc"),
    ],
)
def test_refuses_what_cannot_be_scored(
    subvolumes: list[str], assigned: list[int], references: list[str], problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        evaluate_classification(subvolumes, assigned, references)
    assert problem in caught.value.problem
