"""Checks that embedding a tomogram and embedding subvolumes share."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.products import FloatArray
from tomotwin_lib.rows import row_blocks


def require_window_size(loaded: LoadedNetwork) -> None:
    """Check that a checkpoint was trained with the window of its network.

    Raises
    ------
    InputError
        If its configuration names another one.
    """
    trained: Any = loaded.configuration.get("window_size")
    if trained is not None and np.any(np.asarray(trained) != loaded.window_size):
        raise InputError(
            loaded.path,
            f"the network was trained with windows of {trained} voxels; "
            f"{type(loaded.network).__name__} is used with {loaded.window_size} here",
            f"Use a checkpoint that was trained with windows of {loaded.window_size} voxels",
        )


def require_batch_size(batch_size: int) -> None:
    """Check a number of windows a pass.

    Raises
    ------
    InputError
        If it is no whole number of at least 1.
    """
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise InputError(
            "--batchsize", f"{batch_size!r} is not possible", "Give a whole number of at least 1"
        )


def require_finite_vectors(vectors: FloatArray, loaded: LoadedNetwork) -> None:
    """Check what a network gave, (window, value).

    Raises
    ------
    InputError
        If a value is not finite.
    """
    bad = rows_not_finite(vectors)
    if bad:
        raise InputError(
            loaded.path,
            f"the network gives values that are not finite for {bad} of {len(vectors)} windows",
            "Use another checkpoint: its training diverged",
        )


def rows_not_finite(rows: FloatArray) -> int:
    """Number of rows (row, value) with a value that is not finite."""
    return sum(int(np.count_nonzero(~np.isfinite(block).all(axis=1))) for block in row_blocks(rows))
