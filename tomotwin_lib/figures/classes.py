"""Which class each pick belongs to, what to call it and how large to draw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.boxes import class_of_reference
from tomotwin_lib.errors import InputError
from tomotwin_lib.figures.style import short_names
from tomotwin_lib.formats.ground_truth import label_from_name

_DEFAULT_DIAMETER = 37


@dataclass(frozen=True)
class PickClasses:
    """Picks, ready to be drawn.

    Attributes
    ----------
    labels : what the legend calls the classes.
    classes : (pick,) index into ``labels``.
    positions : (pick, 3), columns z y x, in voxels.
    radii : (pick,) in voxels.
    """

    labels: list[str]
    classes: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]


def pick_classes(
    picks: pd.DataFrame | None, names: Sequence[str] | None, box_sizes: int | Mapping[str, int] | None
) -> PickClasses:
    """Sort picks into classes; references of one particle (``a_1bxn_0``, ``a_1bxn_1``) share a class."""
    if picks is None or picks.empty:
        return PickClasses([], np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0))
    own = _names_of_picks(picks, names)
    keys = {name: _key(name) for name in dict.fromkeys(own)}
    labels = sorted(set(keys.values()))
    shown = []
    for label in labels:
        members = [name for name, key in keys.items() if key == label]
        shown.append(members[0] if len(members) == 1 else label)
    index = {label: number for number, label in enumerate(labels)}
    classes = np.array([index[keys[name]] for name in own], dtype=np.int64)
    diameters = np.array(_diameters(picks, own, box_sizes), dtype=float)
    return PickClasses(
        short_names(shown),
        classes,
        picks[["Z", "Y", "X"]].to_numpy(dtype=float),
        np.maximum(diameters / 2, 0.5),
    )


def _names_of_picks(picks: pd.DataFrame, names: Sequence[str] | None) -> list[str]:
    if "class" in picks:
        return [str(name) for name in picks["class"]]
    if "predicted_class" not in picks:
        return ["picks"] * len(picks)
    known = list(names if names is not None else picks.attrs.get("references", []))
    indices = [int(index) for index in picks["predicted_class"]]
    return [str(known[index]) if 0 <= index < len(known) else f"class {index}" for index in indices]


def _diameters(
    picks: pd.DataFrame, own: Sequence[str], box_sizes: int | Mapping[str, int] | None
) -> list[float]:
    if isinstance(box_sizes, int):
        return [float(box_sizes)] * len(picks)
    widths = picks["width"].tolist() if "width" in picks else [_DEFAULT_DIAMETER] * len(picks)
    if box_sizes is None:
        return widths
    known = {str(name).lower(): size for name, size in box_sizes.items()}
    matches = {name: class_of_reference(name, known) for name in dict.fromkeys(own)}
    return [
        float(known[match]) if (match := matches[name]) is not None else float(width)
        for name, width in zip(own, widths, strict=True)
    ]


def _key(name: str) -> str:
    """The label in a reference's name, or the name itself where it holds none."""
    try:
        return label_from_name(name)
    except InputError:
        return name.removesuffix(".mrc").lower()
