"""References cut from a simulated tomogram: one of each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tomotwin_lib.extraction import extract_subvolumes
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.simulation.specimen import Specimen

WINDOW = 37
"""Edge of a reference, in voxels."""

HALF = WINDOW // 2


def one_of_each_class(
    specimen: Specimen, data: npt.NDArray[np.float32], voxel_size_in_angstrom: float
) -> dict[str, npt.NDArray[np.float32]]:
    """The window (z, y, x), protein bright, around the first particle of each class.

    Parameters
    ----------
    specimen : its particles lie half a window or more off the faces.
    data : (z, y, x) its tomogram, protein dark.
    """
    firsts = specimen.particles.drop_duplicates("class")
    volume = Volume(data, voxel_size_in_angstrom, Path("references"))
    cubes = extract_subvolumes(volume, firsts, WINDOW)
    return {str(firsts["class"].iloc[row]): cube for row, cube in cubes.items()}
