"""A tiny data folder for a live platform, whose files were copied long ago."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tiny_platform import write_data_folder, write_tomogram

from tomotwin_assets.settings import FILE


def live_data(root: Path, *, by_hand: bool, large: str | None = None) -> Path:
    """The folder ``data`` in ``root``: see :func:`tiny_platform.write_data_folder`.

    Parameters
    ----------
    by_hand : no sensor starts runs; files become partitions all the same.
    large : name of one more tomogram whose products take some time to be written.
    """
    data = root / "data"
    data.mkdir()
    write_data_folder(data)
    if large is not None:
        write_tomogram(data, large, seed=4, shape=(40, 96, 96))
    if by_hand:
        start_no_runs(data)
    age(data)
    return data


def start_no_runs(data: Path) -> None:
    """Let no sensor start runs; files become partitions all the same."""
    with (data / FILE).open("a", encoding="utf-8") as settings:
        settings.write("\n[arrivals]\nenabled = false\n")


def age(data: Path) -> None:
    """Let all files seem an hour old: the platform leaves what may still be being copied."""
    for path in data.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 3600,) * 2)
