"""What is known of a stage once it is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


class Disagreement(Exception):
    """The two sides of a stage do not give the same, so that their times cannot be compared."""


@dataclass(frozen=True)
class Growth:
    """How time and memory grow with the input.

    Attributes
    ----------
    unit : what the sizes count.
    sizes, seconds, peak_bytes : ours; the memory is that of the whole process.
    theirs_sizes, theirs_seconds : the other side's, as far as it was measured.
    """

    unit: str
    sizes: list[int]
    seconds: list[float]
    peak_bytes: list[int]
    theirs_sizes: list[int] = field(default_factory=list)
    theirs_seconds: list[float] = field(default_factory=list)

    @property
    def exponent(self) -> float:
        """Slope of our time over the size, both logarithmic: 1 where time grows with the size."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.seconds), 1)[0])


@dataclass(frozen=True)
class Requirement:
    """What a stage has to show.

    Attributes
    ----------
    required, measured : in words.
    met : whether it does; ``None`` where it was not measured.
    """

    required: str
    measured: str
    met: bool | None


@dataclass
class StageResult:
    """One line of the table.

    Attributes
    ----------
    name, input : the stage, and what it was measured with.
    item : what the times are for: "position", or "run" for all of it.
    ours_seconds, theirs_seconds : medians an item; ``None`` where a side was not measured.
    ratio, ratio_range : how many times as long the other side takes, median and extremes over the rounds.
    required_ratio, required_peak_share, required_peak_bytes, required_exponent : ``None`` for none.
    peak_share : share of the machine's matrix peak.
    peak_bytes, theirs_peak_bytes : of the process, libraries and input included.
    growth : over the size of the input.
    difference, tolerance : largest difference of the two sides' results, and what was allowed.
    note : what else to know; for a stage that could not be measured, why.
    """

    name: str
    input: str
    item: str = "run"
    ours_seconds: float | None = None
    theirs_seconds: float | None = None
    ratio: float | None = None
    ratio_range: tuple[float, float] | None = None
    required_ratio: float | None = None
    peak_share: float | None = None
    required_peak_share: float | None = None
    peak_bytes: int | None = None
    theirs_peak_bytes: int | None = None
    required_peak_bytes: int | None = None
    growth: Growth | None = None
    required_exponent: float | None = None
    difference: float | None = None
    tolerance: float | None = None
    note: str = ""

    def requirements(self) -> list[Requirement]:
        """What is required of this stage, and whether it shows that."""
        exponent = self.growth.exponent if self.growth else None
        # What is required and measured, how both are told, and whether more is better.
        rows = [
            (self.required_ratio, self.ratio, lambda ratio: f"{ratio:.3g} ×", True),
            (self.required_peak_share, self.peak_share, lambda share: f"{share:.0%} of peak", True),
            (self.required_peak_bytes, self.peak_bytes, lambda size: f"{size / 1e9:.2f} GB", False),
            (self.required_exponent, exponent, lambda power: f"size^{power:.2f}", False),
        ]
        return [
            Requirement(
                required=f"{'≥' if more else '≤'} {told(required)}",
                measured="not measured" if measured is None else told(measured),
                met=None if measured is None else (measured >= required if more else measured <= required),
            )
            for required, measured, told, more in rows
            if required is not None
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON has it; the required numbers stand beside the measured ones."""
        growth = self.growth
        return {
            "name": self.name,
            "input": self.input,
            "seconds_are_for": self.item,
            "ours_seconds": self.ours_seconds,
            "theirs_seconds": self.theirs_seconds,
            "ratio": self.ratio,
            "ratio_range": self.ratio_range,
            "required_ratio": self.required_ratio,
            "peak_share": self.peak_share,
            "required_peak_share": self.required_peak_share,
            "peak_memory_bytes": self.peak_bytes,
            "theirs_peak_memory_bytes": self.theirs_peak_bytes,
            "required_peak_memory_bytes": self.required_peak_bytes,
            "growth": None
            if growth is None
            else {
                "unit": growth.unit,
                "sizes": growth.sizes,
                "seconds": growth.seconds,
                "peak_memory_bytes": growth.peak_bytes,
                "theirs_sizes": growth.theirs_sizes,
                "theirs_seconds": growth.theirs_seconds,
                "exponent": growth.exponent,
            },
            "required_exponent": self.required_exponent,
            "difference": self.difference,
            "tolerance": self.tolerance,
            "requirements": [
                {"required": one.required, "measured": one.measured, "met": one.met}
                for one in self.requirements()
            ],
            "note": self.note,
        }


def require_agreement(name: str, difference: float, tolerance: float) -> float:
    """The difference, if it is within the tolerance.

    Raises
    ------
    Disagreement
        If it is not.
    """
    if not difference <= tolerance:
        raise Disagreement(f"{name}: the two sides differ by {difference:.3g}; {tolerance:g} is allowed")
    return difference
