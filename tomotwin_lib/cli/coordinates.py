"""Coordinates in whichever of the formats a user gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def read_positions(path: Path) -> pd.DataFrame:
    """Read a ``.cbox``, a ``.star`` or, of any other ending, a file of lines X Y Z.

    Returns
    -------
    Columns X, Y, Z, in voxels.

    Raises
    ------
    InputError
        If the file cannot be read as what its ending says.
    """
    from tomotwin_lib.formats.cbox import read_cbox
    from tomotwin_lib.formats.coordinates import read_coords
    from tomotwin_lib.formats.star import read_star

    return {".cbox": read_cbox, ".star": read_star}.get(path.suffix.lower(), read_coords)(path)
