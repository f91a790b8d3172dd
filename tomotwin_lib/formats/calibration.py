"""The file that says how often background reaches a similarity: JSON, written by ``evaluate tomograms``.

``{"model_md5": …, "contents": {reference: MD5}, "locating": {setting: value}, "backgrounds": {reference:
{"similarities": […], "voxels": …, "tomograms": …, "lowest": …}}}``.

Files of earlier versions lack ``contents`` or ``locating``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tomotwin_lib.calibration import Background, Calibration
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import write_json
from tomotwin_lib.formats.opening import open_to_read

_REMEDY = "Give the calibration.json of `tomotwin evaluate tomograms`"


def write_calibration(path: str | Path, calibration: Calibration) -> None:
    """Write a calibration, whole or not at all."""
    backgrounds = {
        reference: {
            "similarities": [float(value) for value in own.similarities],
            "voxels": own.voxels,
            "tomograms": own.tomograms,
            "lowest": own.lowest,
        }
        for reference, own in calibration.backgrounds.items()
    }
    content = {
        "model_md5": calibration.model_md5,
        "contents": dict(calibration.contents),
        "locating": dict(calibration.locating),
        "backgrounds": backgrounds,
    }
    write_json(Path(path), content)


def read_calibration(path: str | Path) -> Calibration:
    """Read a calibration.

    Raises
    ------
    InputError
        If the file cannot be read or is no calibration.
    """
    path = Path(path)
    with open_to_read(path) as stream:
        raw = stream.read()
    try:
        content = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"it is no calibration, and no JSON ({error})", _REMEDY) from error
    entries = content.get("backgrounds") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        raise InputError(path, "it is no calibration, but other JSON", _REMEDY)
    backgrounds = {}
    for reference, entry in entries.items():
        try:
            backgrounds[reference] = _background(entry)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(
                path, f"it is no calibration, or a damaged one: that of {reference} is not whole", _REMEDY
            ) from error
    contents, locating = content.get("contents", {}), content.get("locating", {})
    for name, told in (("contents", contents), ("locating", locating)):
        if not isinstance(told, dict):
            raise InputError(path, f"it is no calibration, or a damaged one: {name} is no object", _REMEDY)
    return Calibration(
        backgrounds,
        str(content.get("model_md5", "")),
        {str(reference): str(md5) for reference, md5 in contents.items()},
        locating,
    )


def _background(entry: dict[str, object]) -> Background:
    similarities = np.sort(np.asarray(entry["similarities"], dtype=np.float64))
    voxels, lowest = (float(entry[name]) for name in ("voxels", "lowest"))  # type: ignore[arg-type]
    whole = similarities.ndim == 1 and np.isfinite(similarities).all() and np.isfinite(lowest)
    if not (whole and voxels > 0 and np.isfinite(voxels)):
        raise ValueError("a background is not whole")
    return Background(similarities, voxels, int(entry["tomograms"]), lowest)  # type: ignore[call-overload]
