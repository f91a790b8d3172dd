"""Boxes as ``.cbox``, the STAR dialect of crYOLO and napari-boxmanager."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import starfile

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path
from tomotwin_lib.formats.text import read_lines

# How the format writes a value that is not known.
_UNKNOWN = "<NA>"
_POSITION = ["CoordinateX", "CoordinateY", "CoordinateZ"]


def write_cbox(path: str | Path, picks: pd.DataFrame) -> None:
    """Write picks as boxes, whole or not at all.

    In this format X and Y are those of the box's lower left corner, but Z is that of its centre.

    Parameters
    ----------
    path : the file.
    picks : columns X, Y, Z (centres, in voxels), width, height, depth (voxels), size (of the pick's region,
        in voxels of the map; what napari-boxmanager filters by) and metric_best.
    """
    values = {name: picks[name].to_numpy(dtype=np.float64) for name in ("X", "Y", "Z", "metric_best")}
    boxes = pd.DataFrame(
        {
            "CoordinateX": values["X"] - picks["width"].to_numpy() / 2,
            "CoordinateY": values["Y"] - picks["height"].to_numpy() / 2,
            "CoordinateZ": values["Z"],
            "Width": picks["width"].to_numpy(dtype=np.float64),
            "Height": picks["height"].to_numpy(dtype=np.float64),
            "Depth": picks["depth"].to_numpy(dtype=np.float64),
            "EstWidth": picks["size"].to_numpy(dtype=np.float64),
            "EstHeight": picks["size"].to_numpy(dtype=np.float64),
            "Confidence": values["metric_best"],
            "NumBoxes": pd.Series([_UNKNOWN] * len(picks), dtype=object),
            "Angle": pd.Series([_UNKNOWN] * len(picks), dtype=object),
        }
    )
    blocks = {
        "global": {"cbox_format_version": "1.0"},
        "cryolo": boxes,
        "cryolo_include": pd.DataFrame({"slice_index": np.unique(values["Z"])}),
    }
    with atomic_path(path) as temporary:
        starfile.write(blocks, temporary)


def read_cbox(path: str | Path) -> pd.DataFrame:
    """Read the centres of the boxes of a ``.cbox`` file.

    Returns
    -------
    Frame with columns X, Y, Z, in voxels.

    Raises
    ------
    InputError
        If it cannot be read or lacks the boxes.
    """
    path = Path(path)
    for _ in read_lines(path):  # missing, a folder, not text
        break
    try:
        boxes = starfile.read(path, always_dict=True)["cryolo"]
        if isinstance(boxes, dict):
            boxes = pd.DataFrame([boxes])
        x, y, z, width, height = (boxes[name].astype(float) for name in (*_POSITION, "Width", "Height"))
    except Exception as error:  # the parser fails in many ways on what is not STAR
        raise InputError(path, f"it holds no boxes ({error})", "Give a .cbox file of a tomogram") from error
    return pd.DataFrame({"X": x + width / 2, "Y": y + height / 2, "Z": z})
