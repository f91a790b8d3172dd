"""Whether the files that an evaluation is given belong together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli.output import warn

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = re.compile(r"\d+")


def of_another_number(truth: str | Path, tomogram: str | Path) -> str | None:
    """Say if a ground truth is, by its name, that of another tomogram of the series.

    Only names that differ in nothing but their numbers tell: others may be called anything.

    Returns
    -------
    One sentence, or ``None``.
    """
    names = Path(truth).stem, Path(tomogram).stem
    numbers = [[int(number) for number in _NUMBER.findall(name)] for name in names]
    if len({_NUMBER.sub("#", name) for name in names}) > 1 or numbers[0] == numbers[1]:
        return None
    return (
        f"{truth} is by its name the ground truth of another tomogram: the picks are of {Path(tomogram).name}"
    )


def say_which_boxes_differ(file: str | Path, picks: pd.DataFrame, box_sizes: int | Mapping[str, int]) -> None:
    """Note which references were located with other boxes than they are scored with."""
    from tomotwin_lib.boxes import differing_boxes

    if told := differing_boxes(picks, box_sizes):
        warn(f"{file}: {told}. Give -s/--size the sizes that they were located with")
