"""References and other subvolumes cut out of a tomogram."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume


def extract_subvolumes(
    volume: Volume, positions: pd.DataFrame, size: int = 37
) -> dict[int, npt.NDArray[np.float32]]:
    """Cut cubes around positions, with the contrast that references have: protein bright.

    Parameters
    ----------
    volume : the tomogram, protein dark; the cubes are multiplied by −1.
    positions : columns X, Y, Z, in voxels; rounded to the nearest one.
    size : edge of the cubes, odd, in voxels: a cube around voxel p covers p − size // 2 … p + size // 2.

    Returns
    -------
    Row number in ``positions`` → cube (z, y, x). Rows whose cube reaches beyond the tomogram are left out.

    Raises
    ------
    InputError
        If the size is not a positive odd number, or no cube lies inside the tomogram.
    """
    if size < 1 or size % 2 == 0:
        raise InputError("--size", f"{size} is no edge with a voxel in the middle", "Give an odd number")
    half = size // 2
    cubes = {}
    centres = np.rint(positions[["Z", "Y", "X"]].to_numpy(dtype=np.float64)).astype(np.int64)
    inside = ((centres >= half) & (centres < np.array(volume.data.shape) - half)).all(axis=1)
    for row in np.flatnonzero(inside):
        cut = tuple(slice(centre - half, centre + half + 1) for centre in centres[row])
        cubes[int(row)] = -np.asarray(volume.data[cut], dtype=np.float32)
    if not cubes:
        outside = ((centres < 0) | (centres >= np.array(volume.data.shape))).any(axis=1)
        if len(centres) and outside.all():
            z, y, x = centres[0]
            shape = " × ".join(str(edge) for edge in reversed(volume.data.shape))
            raise InputError(
                volume.path,
                f"all {len(centres)} positions lie outside its {shape} voxels, the first at {x} {y} {z} "
                "(X Y Z)",
                "Check that the coordinates are X Y Z in voxels of this tomogram",
            )
        raise InputError(
            volume.path,
            f"none of the {len(positions)} positions is {half} voxels or more away from its border",
            "Check that the coordinates are X Y Z in voxels of this tomogram, and the size",
        )
    return cubes
