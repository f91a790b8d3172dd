"""Coordinates in whichever of the formats a user gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli.output import warn
from tomotwin_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tomotwin_lib.formats.volumes import Volume

# Voxel sizes that differ by less are one size, rounded or calibrated in two ways.
_TOLERANCE = 0.01


def read_positions(path: Path) -> pd.DataFrame:
    """Read a ``.cbox``, a ``.star`` or, of any other ending, a file of lines X Y Z.

    Returns
    -------
    Columns X, Y, Z, in voxels. What a ``.star`` tells of these voxels' size: :func:`voxel_size_of`.

    Raises
    ------
    InputError
        If the file cannot be read as what its ending says.
    """
    from tomotwin_lib.formats.cbox import read_cbox
    from tomotwin_lib.formats.coordinates import read_coords
    from tomotwin_lib.formats.star import read_star

    return {".cbox": read_cbox, ".star": read_star}.get(path.suffix.lower(), read_coords)(path)


def voxel_sizes_told(positions: pd.DataFrame) -> list[float]:
    """Edges in Å of the voxels that positions count in, by the file that they were read from; often none."""
    from tomotwin_lib.formats.star import VOXEL_SIZES_KEY

    return list(positions.attrs.get(VOXEL_SIZES_KEY, []))


def voxel_size_of(path: Path, positions: pd.DataFrame) -> float | None:
    """Edge in Å of the voxels that positions count in, by the file itself; ``None`` where it does not tell.

    Parameters
    ----------
    path, positions : the file, and what :func:`read_positions` read from it.

    Raises
    ------
    InputError
        If the file tells several, so that no one factor turns them into other voxels.
    """
    sizes = voxel_sizes_told(positions)
    if not sizes:
        return None
    if not same_voxel_size(sizes[0], sizes[-1]):
        raise InputError(
            path,
            f"its particles count in voxels of different sizes: {', '.join(f'{size:g} Å' for size in sizes)}",
            "Give a file for each size",
        )
    return sizes[0]


def same_voxel_size(one: float, other: float) -> bool:
    """Whether two voxel sizes are the same but for how they were rounded or calibrated."""
    return abs(one / other - 1) <= _TOLERANCE


def positions_in_voxels_of(volume: Volume, path: Path) -> pd.DataFrame:
    """The positions of a file in voxels of the volume, whatever voxels the file says that it counts in."""
    from tomotwin_lib.exporting import scale_picks

    positions = read_positions(path)
    told, wanted = voxel_size_of(path, positions), volume.voxel_size_in_angstrom
    if told is None:
        return positions
    if wanted is None:
        warn(
            f"{path.name} counts in voxels of {told:g} Å, and {volume.path.name} does not tell the size of "
            "its own: taken for the same"
        )
        return positions
    if same_voxel_size(told, wanted):
        return positions
    warn(
        f"{path.name} counts in voxels of {told:g} Å, and those of {volume.path.name} have {wanted:g} Å: "
        f"coordinates are multiplied by {told / wanted:g}"
    )
    return scale_picks(positions, told / wanted)
