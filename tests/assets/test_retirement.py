"""Partitions go with their files, but not with an unmounted disk."""

from __future__ import annotations

import pytest

from tomotwin_assets.retirement import Judgement, judge

TEN = [f"t{number}" for number in range(10)]


def look(
    known: list[str],
    there: list[str],
    now: float,
    before: Judgement | None = None,
    *,
    exists: bool = True,
    after: float = 600.0,
) -> Judgement:
    missing = before.missing if before else {}
    return judge(
        known, there, missing, folder="tomograms", folder_exists=exists, now=now, retire_after_seconds=after
    )


def test_it_is_retired_after_ten_minutes() -> None:
    first = look(["a", "b"], ["b"], now=1000)
    assert (first.retire, first.missing) == ([], {"a": (1000, 1)})
    second = look(["a", "b"], ["b"], now=1599, before=first)
    assert (second.retire, second.missing) == ([], {"a": (1000, 2)})
    third = look(["a", "b"], ["b"], now=1600, before=second)
    assert (third.retire, third.missing) == (["a"], {})


def test_a_file_that_returns_in_time_is_forgotten() -> None:
    first = look(["a", "b"], ["b"], now=1000)
    assert look(["a", "b"], ["a", "b"], now=2000, before=first) == Judgement()


def test_one_look_is_never_enough() -> None:
    first = look(["a"], [], now=1000, after=0)
    assert first.retire == []
    assert look(["a"], [], now=1000, before=first, after=0).retire == ["a"]


@pytest.mark.parametrize(
    ("known", "there", "exists", "suspicious"),
    [
        (TEN, TEN[:5], True, False),
        (TEN, TEN[:4], True, True),
        (TEN, [], True, True),
        (TEN[:9], [], True, False),
        (TEN[:1], [], False, True),
        (TEN, TEN, True, False),
        ([], [], False, False),
    ],
)
def test_an_unmounted_disk(known: list[str], there: list[str], exists: bool, suspicious: bool) -> None:
    before = Judgement(missing=dict.fromkeys(known, (0.0, 5)))
    found = look(known, there, now=10_000, before=before, exists=exists)
    assert bool(found.warning) is suspicious
    if suspicious:
        assert found.retire == [] and found.missing == {}
        assert "Mount it again" in found.warning and "retire_missing" in found.warning
    else:
        assert found.retire == sorted(set(known) - set(there))
