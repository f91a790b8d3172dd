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
    rows : (pick,) their rows in the table of all picks.
    centres, particles : (pick, 3) and (particle, 3) X, Y, Z in voxels.
    """

    reference: str
    class_name: str
    matching: Matching
    metric: FloatArray
    size: IntArray
    rows: IntArray
    centres: FloatArray
    particles: FloatArray


def match_references(
    picks: pd.DataFrame,
    truth: pd.DataFrame,
    box_sizes: int | Mapping[str, int],
    *,
    within: float | None = None,
) -> list[ReferenceMatching]:
    """Find which picks lie on which particles, for each reference whose class the truth holds.

    Parameters
    ----------
    picks, truth, box_sizes : as for :func:`~tomotwin_lib.evaluation.evaluate_positions`.
    within : where given, a pick finds a particle by its distance from the centre, at most this share of the
        particle's radius (half its box), in place of the boxes' overlap.

    Raises
    ------
    InputError
        If no reference's class is in the truth, a box size is missing, or ``within`` is not above 0.
    """
    if within is not None and not (within > 0 and np.isfinite(within)):
        raise InputError("within", f"{within} is no share of a radius", "Give 0.5, for example")
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
        own = np.asarray(picks_of.get(number, ()), dtype=np.intp)
        of_class, box_size = particles[particles_of[name]], box_size_of(reference, box_sizes)
        distance = None if within is None else within * box_size / 2
        matching = Matching(of_class, centres[own], box_size, within=distance)
        found.append(
            ReferenceMatching(reference, name, matching, metric[own], size[own], own, centres[own], of_class)
        )
    if not found:
        raise InputError(
            "ground truth",
            f"it holds none of the references {', '.join(references) or '(the picks name none)'}; "
            f"its classes are {', '.join(classes) or 'none'}",
            "Name the references after the classes, for example by a PDB code",
        )
    return found
