"""Two sides timed in turns, and one side over growing inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.child import Recipe, Run, child_process
from benchmarks.result import Growth, StageResult


@dataclass(frozen=True)
class Settings:
    """How a run is made.

    Attributes
    ----------
    quick : tiny inputs, one round: to see that everything works, not how fast it is.
    threads : of each side.
    rounds : how often the sides take turns.
    """

    quick: bool = False
    threads: int = 1
    rounds: int = 3

    def pick(self, full: Any, quick: Any) -> Any:
        """The one of the two that this run takes."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Side:
    """One way to compute something.

    Attributes
    ----------
    recipe, arguments : make the input, off the clock, and return what is timed; importable by name.
    items : how many of what the times are given for (positions, say) one run computes.
    """

    recipe: Recipe
    arguments: tuple[Any, ...] = ()
    items: float = 1


@dataclass
class Turns:
    """What came of sides that took turns.

    Attributes
    ----------
    seconds : by side, one number a round, an item.
    peak_bytes : by side.
    results : by side, what the first run gave.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def compared(self, name: str, input: str, *, to: str = "ours", **more: Any) -> StageResult:
        """The line of the table that compares a side with theirs; ``more`` are further attributes of it."""
        ratios = self.ratios("theirs", to)
        return StageResult(
            name=name,
            input=input,
            ours_seconds=self.middle(to),
            theirs_seconds=self.middle("theirs"),
            ratio=median(ratios),
            ratio_range=(ratios[0], ratios[-1]),
            peak_bytes=self.peak_bytes[to],
            theirs_peak_bytes=self.peak_bytes["theirs"],
            **more,
        )

    def middle(self, side: str) -> float:
        """Median of a side's seconds an item."""
        return median(self.seconds[side])

    def ratios(self, of: str = "theirs", to: str = "ours") -> list[float]:
        """How many times longer one side took than the other, the fastest round first."""
        return sorted(a / b for a, b in zip(self.seconds[of], self.seconds[to], strict=True))


def take_turns(
    sides: Mapping[str, Side], settings: Settings, check: Callable[[dict[str, Any]], None] | None = None
) -> Turns:
    """Run the sides A B A B …, each in a process of its own.

    What disturbs the machine for a while hits both sides, and each round has its own ratio. A first run of
    each, which is not timed (with ``settings.quick`` it is the only one), gives the results to check.

    Parameters
    ----------
    sides : by name.
    check : gets the results by side before anything is timed; raises if the sides do not agree.
    """
    turns = Turns()
    with ExitStack() as stack:
        children = {name: stack.enter_context(child_process(settings.threads)) for name in sides}
        first: dict[str, Run] = {}
        for name, side in sides.items():
            children[name].prepare(side.recipe, *side.arguments)
            first[name] = children[name].run(keep=True)
        turns.results = {name: run.result for name, run in first.items()}
        if check is not None:
            check(turns.results)
        rounds = [first] if settings.quick else []
        while len(rounds) < (1 if settings.quick else settings.rounds):
            rounds.append({name: child.run() for name, child in children.items()})
    for name, side in sides.items():
        turns.seconds[name] = [turn[name].seconds / side.items for turn in rounds]
        turns.peak_bytes[name] = max(turn[name].peak_bytes for turn in (first, *rounds))
    return turns


def grow(
    unit: str,
    ours: Mapping[int, Side],
    settings: Settings,
    theirs: Mapping[int, Side] | None = None,
    seconds_for_theirs: float = 10,
) -> Growth:
    """Time of one run over growing inputs, the smallest first.

    Parameters
    ----------
    unit : what the sizes count.
    ours : by size.
    theirs : by size, where the other side is to be shown as well. It goes on until the next size would take
        longer than ``seconds_for_theirs`` if its time grew with the square.
    """
    seconds, peaks = _over_sizes(ours, settings, float("inf"))
    other = _over_sizes(theirs, settings, seconds_for_theirs)[0] if theirs else []
    return Growth(unit, list(ours), seconds, peaks, list(theirs or ())[: len(other)], other)


def _over_sizes(
    sides: Mapping[int, Side], settings: Settings, longest: float
) -> tuple[list[float], list[int]]:
    seconds: list[float] = []
    peaks: list[int] = []
    sizes: Sequence[int] = sorted(sides)
    with child_process(settings.threads) as child:
        for number, size in enumerate(sizes):
            if number and seconds[-1] * (size / sizes[number - 1]) ** 2 > longest:
                break
            child.prepare(sides[size].recipe, *sides[size].arguments)
            runs = [child.run()]
            # Short runs are told by the best of three; the first of a process is always slow.
            while not settings.quick and len(runs) < 3 and runs[0].seconds < 5:
                runs.append(child.run())
            seconds.append(min(run.seconds for run in runs))
            peaks.append(max(run.peak_bytes for run in runs))
    return seconds, peaks
