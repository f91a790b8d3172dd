"""Whether references and picks can be right: numbers that a person would look at first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_lib.boxes import box_size_of
from tomotwin_lib.embedding.quality import sampled_rows
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import label_from_name
from tomotwin_lib.products import SimilarityMap

_DENSEST_PACKING = math.pi / math.sqrt(18)
"""Share of a volume that equal balls fill at most (Hales 2005): 0.74."""


def filled_share(
    counts: Mapping[str, int], shape: Sequence[int], box_sizes: int | Mapping[str, int]
) -> float:
    """How much of the room in a tomogram picks take, if each is a ball as wide as its box.

    Parameters
    ----------
    counts : picks of each reference, by its file name.
    shape : (z, y, x) of the tomogram, in voxels.
    box_sizes : edges of the boxes in voxels, for all or by name or label.

    Returns
    -------
    The balls' volume over 0.74 of the room that they have, which balls fill at most: above 1 they cannot all
    be there. A ball whose centre is inside may stick out, so that its room is the tomogram and half a box
    around it.

    Raises
    ------
    InputError
        If a reference has no box size.
    """
    share = 0.0
    for name, count in counts.items():
        if count:
            box = box_size_of(name, box_sizes)
            room = math.prod(edge + box for edge in shape)
            share += count * math.pi / 6 * box**3 / (_DENSEST_PACKING * room)
    return share


def background(
    similarity: SimilarityMap, quantile: float = 0.9, most: int = 65536, seed: int = 0
) -> pd.DataFrame:
    """How similar each reference is to random positions of a tomogram.

    Parameters
    ----------
    quantile : nearly all positions of a tomogram hold no particle in their centre, so that this quantile of
        the similarity tells how far background comes up to a reference.
    most : positions that are drawn, without replacement.

    Returns
    -------
    One row a reference: ``reference``, ``median``, ``background`` (the quantile) and ``highest`` of the
    sample; not a number where no value is finite.
    """
    values = np.asarray(similarity.values[sampled_rows(len(similarity.values), most, seed)], dtype=np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    rows = []
    for index, name in enumerate(similarity.references):
        column = values[:, index]
        column = column[~np.isnan(column)]
        numbers = (
            (np.median(column), np.quantile(column, quantile), column.max()) if len(column) else (np.nan,) * 3
        )
        rows.append((name, *(float(number) for number in numbers)))
    return pd.DataFrame(rows, columns=["reference", "median", "background", "highest"])


def most_alike(similarities: npt.NDArray[np.floating], names: Sequence[str]) -> tuple[str, str, float] | None:
    """The two references of different particles that are most similar, and how similar.

    Parameters
    ----------
    similarities : (reference, reference).
    names : of the references; those with one label (``a_1bxn_0``, ``a_1bxn_1``) are of one particle and may
        be alike.

    Returns
    -------
    ``None`` where there are not two particles.
    """
    labels = [_label(name) for name in names]
    found: tuple[str, str, float] | None = None
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            value = float(similarities[first][second])
            if labels[first] != labels[second] and (found is None or value > found[2]):
                found = names[first], names[second], value
    return found


def _label(name: str) -> str:
    try:
        return label_from_name(name)
    except InputError:
        return name.lower()
