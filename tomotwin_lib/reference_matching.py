"""The picks of each reference beside the particles of its class, for whoever scores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tomotwin_lib.boxes import box_size_of, class_of_reference
from tomotwin_lib.errors import InputError
from tomotwin_lib.matching import Matching
from tomotwin_lib.products import FloatArray, IntArray


@dataclass(frozen=True)
class ReferenceMatching:
    """The picks of one reference against the particles of its class.

    Attributes
    ----------
    reference, class_name : the reference's file name, and what the truth calls its particles.
    matching : of all picks of the reference.
    metric, size : (pick,) their similarities, and the sizes of their regions in positions of the map.
    """

    reference: str
    class_name: str
    matching: Matching
    metric: FloatArray
    size: IntArray


def match_references(
    picks: pd.DataFrame, truth: pd.DataFrame, box_sizes: int | Mapping[str, int]
) -> list[ReferenceMatching]:
    """Find which picks lie on which particles, for each reference whose class the truth holds.

    Parameters
    ----------
    picks, truth, box_sizes : as for :func:`~tomotwin_lib.evaluation.evaluate_positions`.

    Raises
    ------
    InputError
        If no reference's class is in the truth, or a box size is missing.
    """
    references = list(picks.attrs.get("references", []))
    particles_of = {str(name): rows for name, rows in truth.groupby("class").indices.items()}
    classes = sorted(particles_of)
    picks_of = picks.groupby("predicted_class").indices
    # Out of the frames once: taking each class's rows from a frame costs more than matching them.
    centres, particles = (frame[["X", "Y", "Z"]].to_numpy(np.float64) for frame in (picks, truth))
    metric, size = picks["metric_best"].to_numpy(), picks["size"].to_numpy(np.int64)
    found = []
    for number, reference in enumerate(references):
        name = class_of_reference(reference, classes)
        if name is None:
            continue
        own = picks_of.get(number, np.empty(0, dtype=np.intp))
        matching = Matching(particles[particles_of[name]], centres[own], box_size_of(reference, box_sizes))
        found.append(ReferenceMatching(reference, name, matching, metric[own], size[own]))
    if not found:
        raise InputError(
            "ground truth",
            f"it holds none of the references {', '.join(references) or '(the picks name none)'}; "
            f"its classes are {', '.join(classes) or 'none'}",
            "Name the references after the classes, for example by a PDB code",
        )
    return found
