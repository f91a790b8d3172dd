"""Cubes around particles: how far two overlap, and which size belongs to which reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import label_from_name


def cube_iou(
    centres_a: npt.ArrayLike,  # (..., 3)
    sizes_a: npt.ArrayLike,  # (...)
    centres_b: npt.ArrayLike,  # (..., 3)
    sizes_b: npt.ArrayLike,  # (...)
) -> npt.NDArray[np.float64]:
    """Volume that two cubes share over the volume that they cover together, 0 to 1.

    The cubes have their faces along the axes. The arguments broadcast against each other; centres and sizes
    (edge lengths) are in voxels, the order of the axes does not matter.
    """
    centres_a, centres_b = np.asarray(centres_a, np.float64), np.asarray(centres_b, np.float64)
    sizes_a, sizes_b = np.asarray(sizes_a, np.float64), np.asarray(sizes_b, np.float64)
    half_a, half_b = sizes_a[..., None] / 2, sizes_b[..., None] / 2
    low = np.maximum(centres_a - half_a, centres_b - half_b)
    high = np.minimum(centres_a + half_a, centres_b + half_b)
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    return shared / (sizes_a**3 + sizes_b**3 - shared)


def farthest_overlap(size: float, iou: float) -> float:
    """Largest distance along any axis at which two cubes, none larger than ``size``, can reach that IoU.

    Two cubes of edge w that are shifted by d along one axis have the IoU (w − d) / (w + d); a smaller partner
    or a shift along a second axis only lowers it.
    """
    return size * (1 - iou) / (1 + iou)


def names_of_class(reference: str) -> list[str]:
    """What box sizes and ground truth may call the particle of a reference, in lower case, best first.

    The file name, the file name without its ending, and the label that it holds, such as a PDB code.
    """
    name = reference.lower()
    names = [name, name.rsplit(".", 1)[0]]
    with suppress(InputError):  # A name without a label can still match as it stands.
        names.append(label_from_name(reference))
    return list(dict.fromkeys(names))


def class_of_reference(reference: str, classes: Iterable[str]) -> str | None:
    """The one of ``classes`` (lower case) that the reference belongs to, or ``None``."""
    known = set(classes)
    return next((name for name in names_of_class(reference) if name in known), None)


def differing_boxes(picks: pd.DataFrame, box_sizes: int | Mapping[str, int]) -> str | None:
    """Say if picks were located with other boxes than those that they shall be scored with.

    Parameters
    ----------
    picks : columns predicted_class and width; the attribute ``references`` names the references.
    box_sizes : as for :func:`box_size_of`.

    Returns
    -------
    One sentence that names the references, or ``None``.

    Raises
    ------
    InputError
        If a reference has no box size.
    """
    told = []
    for index, reference in enumerate(picks.attrs["references"]):
        widths = picks.loc[picks["predicted_class"] == index, "width"].unique()
        size = box_size_of(reference, box_sizes)
        if len(widths) == 1 and widths[0] != size:
            told.append(f"{reference} with {widths[0]:g} and scored with {size}")
    return f"boxes differ: {', '.join(told)} voxels" if told else None


def box_size_of(reference: str, box_sizes: int | Mapping[str, int]) -> int:
    """Edge length, in voxels, of the cube around a particle of this reference.

    Parameters
    ----------
    reference : the reference's file name.
    box_sizes : one size for all, or sizes by file name or label; capitals do not matter.

    Raises
    ------
    InputError
        If the reference has no size, or one below 1.
    """
    if isinstance(box_sizes, Mapping):
        sizes = {name.lower(): size for name, size in box_sizes.items()}
        name = class_of_reference(reference, sizes)
        if name is None:
            raise InputError(
                "box sizes",
                f"there is none for the reference {reference}; there are sizes for "
                f"{', '.join(sorted(sizes)) or 'nothing'}",
                f"Add a size for {names_of_class(reference)[-1]} or give one number for all",
            )
        size = sizes[name]
    else:
        size = box_sizes
    if not size >= 1:
        raise InputError("box sizes", f"{size} for {reference} is no edge length", "Give 1 voxel or more")
    return int(size)
