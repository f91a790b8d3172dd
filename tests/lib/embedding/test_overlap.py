"""Reading, computing and writing beside each other."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tomotwin_lib.embedding.overlap import overlapped


def test_every_unit_goes_through_in_order() -> None:
    written: list[tuple[int, int]] = []
    overlapped(
        range(20), lambda unit: unit + 1, lambda unit, value: value * 2, lambda *pair: written.append(pair)
    )
    assert written == [(unit, 2 * (unit + 1)) for unit in range(20)]
    overlapped([], lambda unit: unit, lambda unit, value: value, lambda unit, value: None)


def test_the_steps_have_threads_of_their_own() -> None:
    names = set()

    def note(*given: Any) -> None:
        names.add(threading.current_thread().name.split("_")[0])

    overlapped(range(3), note, note, note)
    assert names == {"read", "write", threading.current_thread().name}


def test_little_is_held_at_a_time() -> None:
    held, most = set[int](), [0]

    def read(unit: int) -> int:
        held.add(unit)
        most[0] = max(most[0], len(held))
        return unit

    def write(unit: int, value: int) -> None:
        held.discard(unit)

    overlapped(range(100), read, lambda unit, value: value, write, ahead=2)
    assert most[0] <= 7  # two before the computation, one in it, two behind it, one in each thread


@pytest.mark.parametrize("step", ["read", "compute", "write"])
@pytest.mark.parametrize("bad", [0, 5, 19])
def test_an_error_reaches_the_caller_and_ends_the_work(step: str, bad: int) -> None:
    seen: list[int] = []

    def fail(name: str, unit: int) -> int:
        if name == "read":
            seen.append(unit)
        if name == step and unit == bad:
            raise ValueError(f"{name} {unit}")
        return unit

    before = threading.active_count()
    with pytest.raises(ValueError, match=f"{step} {bad}"):
        overlapped(
            range(20),
            lambda unit: fail("read", unit),
            lambda unit, value: fail("compute", unit),
            lambda unit, value: fail("write", unit) and None,
        )
    assert threading.active_count() == before
    assert len(seen) <= bad + 8
