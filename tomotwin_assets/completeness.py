"""Which new files are complete: a file that is still being copied is left until it is.

Nothing tells when somebody else's copy has ended. A file counts as complete when it has not changed for a
while and, where its header says how long it is, is that long.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tomotwin_assets.resources import TOMOGRAM_SUFFIXES
from tomotwin_lib.formats.mrc_header import missing_bytes

SHORT_FILE_SECONDS = 600.0
"""A file shorter than its header says is taken for a broken one after this time without a change."""


@dataclass
class Arrivals:
    """Judges files at one moment, and remembers for the next look those that are not complete.

    Attributes
    ----------
    now : seconds since 1970.
    settle_seconds : how long a file has to be unchanged.
    before : what an earlier look remembered: path → (size and time of change, when it was first seen so).
    remembered : the same, of this look.
    waiting : path → why it is waited for, in words.
    """

    now: float
    settle_seconds: float
    before: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    remembered: dict[str, tuple[str, float]] = field(default_factory=dict)
    waiting: dict[Path, str] = field(default_factory=dict)

    def complete(self, files: Iterable[tuple[Path, os.stat_result]]) -> bool:
        """Whether all of the files are complete; those that are not are remembered."""
        incomplete = 0
        for path, status in files:
            unchanged = self._unchanged_for(path, status)
            if unchanged < self.settle_seconds:
                why = "it has just changed"
            elif unchanged < SHORT_FILE_SECONDS and (missing := _missing(path)):
                why = f"it is {missing:,} bytes shorter than its header says"
            else:
                continue
            incomplete += 1
            self.waiting[path] = why
            self.remembered[str(path)] = (
                _state(status),
                self.now - max(0.0, self._watched_for(path, status)),
            )
        return incomplete == 0

    def _unchanged_for(self, path: Path, status: os.stat_result) -> float:
        """Seconds since the last change, by the file's own time or by what was seen, whichever is longer.

        The clock of a file server may be ahead of this machine's: a time in the future says nothing.
        """
        return max(self.now - status.st_mtime, self._watched_for(path, status))

    def _watched_for(self, path: Path, status: os.stat_result) -> float:
        state, since = self.before.get(str(path), ("", self.now))
        return self.now - since if state == _state(status) else 0.0


def _missing(path: Path) -> int:
    if path.suffix not in TOMOGRAM_SUFFIXES:
        return 0
    try:
        return missing_bytes(path)
    except OSError:
        return 1  # gone or not readable at the moment: looked at again


def _state(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns}"
