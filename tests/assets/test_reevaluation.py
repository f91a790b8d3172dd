"""What a re-evaluation asks for, told by numbers of events."""

from __future__ import annotations

import pytest

from tomotwin_assets.partitions import pair_key
from tomotwin_assets.reevaluation import CHAIN, Evaluation, Events, wanted

TOMOGRAMS = ("a", "b", "c", "d")
ALL = tuple(CHAIN)
REPORT = ("evaluation_report",)


def events(**changed: dict[str, int]) -> Events:
    """Two models and four tomograms, everything made in order; then what has changed since."""
    by_key: dict[str, dict[str, int]] = {
        "reference_volumes": {"": 1},
        "tomogram": dict.fromkeys(TOMOGRAMS, 2),
        "trained_model": {"m": 3, "n": 3},
        "reference_embeddings": {"m": 4, "n": 4},
    }
    for number, asset in enumerate(CHAIN):
        by_key[asset] = {pair_key(model, key): 10 + number for model in "mn" for key in TOMOGRAMS}
    for asset, numbers in changed.items():
        by_key[asset] = {**by_key[asset], **numbers}
    return Events(by_key)


def asked(found: Events, benchmark: str = "abcd", most: int = 8) -> list[Evaluation]:
    return [one for one in wanted(found, ["m", "n"], benchmark, TOMOGRAMS, most) if one.model == "m"]


def test_where_all_is_current_only_reports_are_made() -> None:
    assert asked(events()) == [Evaluation("m", TOMOGRAMS, REPORT)]


def test_only_the_benchmark_is_evaluated_and_neighbours_share_a_run() -> None:
    assert asked(events(), "abd") == [Evaluation("m", ("a", "b"), REPORT), Evaluation("m", ("d",), REPORT)]
    assert [one.tomograms for one in asked(events(), most=3)] == [("a", "b", "c"), ("d",)]
    assert [one.tomograms for one in asked(events(), most=1)] == [("a",), ("b",), ("c",), ("d",)]
    assert asked(events(), "") == []


@pytest.mark.parametrize(
    ("asset", "key", "expected"),
    [
        ("tomogram", "b", ALL),
        ("reference_embeddings", "m", ALL[1:]),
        ("reference_volumes", "", ALL[2:]),
        ("located_picks", "m|b", REPORT),
    ],
)
def test_what_is_out_of_date_before_a_report_is_made_as_well(
    asset: str, key: str, expected: tuple[str, ...]
) -> None:
    found = {name: one.assets for one in asked(events(**{asset: {key: 99}})) for name in one.tomograms}
    assert found["b"] == expected
    assert found["a"] == (expected if key in ("m", "") else REPORT)


def test_what_was_never_made_or_whose_file_is_gone() -> None:
    found = events()
    del found.by_key["similarity_map"][pair_key("m", "a")]  # type: ignore[attr-defined]
    found.gone.add(("located_picks", "m", "b"))
    assert [(one.tomograms, one.assets) for one in asked(found)] == [
        (("a",), ALL[1:]),
        (("b",), ALL[2:]),
        (("c", "d"), REPORT),
    ]


def test_nothing_is_asked_for_without_its_inputs() -> None:
    found = events()
    del found.by_key["tomogram"]["a"]  # type: ignore[attr-defined]
    assert [one.tomograms for one in asked(found)] == [("b", "c", "d")]
    found.by_key["trained_model"].clear()  # type: ignore[attr-defined]
    assert asked(found) == []
