"""Picks of each method in each tomogram, kept on disk so that a run that was cut off goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.comparison.methods import Method
from benchmarks.comparison.samples import Sample
from tomotwin_lib.files import write_json
from tomotwin_lib.formats.frames import read_picks, write_picks


@dataclass(frozen=True)
class Picked:
    """The picks of a method in a tomogram, and the seconds that they took."""

    picks: pd.DataFrame
    seconds: float


def pick_once(method: Method, sample: Sample, box_sizes: Mapping[str, int], folder: Path) -> Picked:
    """Pick, or read what was picked with the same settings before.

    Parameters
    ----------
    folder : of this method and noise level; gets ``<sample>.tloc`` and then ``<sample>.json``.
    """
    table, told = (folder / f"{sample.name}{ending}" for ending in (".tloc", ".json"))
    settings = json.loads(json.dumps(method.settings))
    if told.is_file() and table.is_file():
        stored = json.loads(told.read_text(encoding="utf-8"))
        if stored["settings"] == settings:
            return Picked(read_picks(table), stored["seconds"])
        told.unlink()
    start = time.perf_counter()
    picks = method.pick(sample, box_sizes)
    seconds = time.perf_counter() - start
    write_picks(table, picks)
    write_json(told, {"settings": settings, "seconds": seconds})  # last: it says that the picks are whole
    return Picked(read_picks(table), seconds)
