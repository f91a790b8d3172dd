"""Picks of one tomogram parted by a plane: one side is trained on, the other one scored.

Particles that lie beside each other share voxels, noise and neighbours, so a random share of the picks would
be scored on what was trained on. Here no voxel of a window around a held-out pick is in a window around a
pick that is trained on; picks too near to the plane are left out of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tomotwin_lib.errors import InputError

LEAST_TRAINED, LEAST_HELD_OUT = 2, 1
"""Picks of a class on either side: a reference is compared with others than itself."""


@dataclass(frozen=True)
class HeldOut:
    """Two parts of a tomogram.

    Attributes
    ----------
    trained, held_out : rows of the picks on either side; those near the plane are in neither.
    training_box, scored_box : the parts' voxels as slices (z, y, x); they share none.
    axis : the plane's, 0 z, 1 y, 2 x.
    bounds : first and last coordinate along it at which a window lies in the scored part alone, in voxels.
    """

    trained: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.int64]
    training_box: tuple[slice, slice, slice]
    scored_box: tuple[slice, slice, slice]
    axis: int
    bounds: tuple[float, float]


def hold_out(
    positions: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    shape: tuple[int, ...],
    *,
    share: float = 0.3,
    window: int = 37,
    source: str = "--picks",
) -> HeldOut:
    """Find the plane that parts the picks best.

    Of all planes across an axis, with the scored part at either end, the one is taken that leaves most
    classes two picks to train on and one to score, and of these the one whose parts are nearest to what is
    asked for, with the fewest picks lost between them.

    Parameters
    ----------
    positions : (pick, 3) z y x in voxels, inside the tomogram.
    labels : (pick,) number of each pick's class.
    shape : of the tomogram, (z, y, x).
    share : of the picks that should be held out, above 0 and below 1.
    window : of the network, in voxels.
    source : what the picks came from, for the message.

    Raises
    ------
    InputError
        If no plane leaves any class picks on both sides.
    """
    half = window // 2
    classes = np.unique(labels)
    best: tuple[int, float] | None = None
    found = None
    for axis, size in enumerate(shape):
        along = np.rint(positions[:, axis])  # Windows are cut around whole voxels.
        # Both parts hold a window at least, which their continuation by reflection needs.
        for plane in range(window, size - window + 1):
            for scored_above in (True, False):
                if scored_above:
                    trained, held = along < plane - half, along >= plane + half
                else:
                    trained, held = along >= plane + half, along < plane - half
                both = sum(
                    (trained & (labels == one)).sum() >= LEAST_TRAINED
                    and (held & (labels == one)).sum() >= LEAST_HELD_OUT
                    for one in classes
                )
                lost = 1 - (trained.sum() + held.sum()) / len(labels)
                rank = (int(both), -float(abs(held.mean() - share) + lost))
                if both and (best is None or rank > best):
                    best, found = rank, (axis, plane, scored_above, trained, held)
    if found is None:
        raise InputError(
            source,
            f"the {len(labels)} picks are too few, or too near to each other: no plane parts them into "
            f"{LEAST_TRAINED} of a class to train on and one to score, {window} voxels apart",
            "Give more picks, from more of the tomogram",
        )
    axis, plane, scored_above, trained, held = found
    low, high = _part(axis, slice(0, plane)), _part(axis, slice(plane, shape[axis]))
    bounds = (plane + half, shape[axis] - 1) if scored_above else (0, plane - half - 1)
    return HeldOut(
        np.flatnonzero(trained),
        np.flatnonzero(held),
        low if scored_above else high,
        high if scored_above else low,
        axis,
        (float(bounds[0]), float(bounds[1])),
    )


def _part(axis: int, along: slice) -> tuple[slice, slice, slice]:
    z, y, x = (along if axis == number else slice(None) for number in range(3))
    return z, y, x
