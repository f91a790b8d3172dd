"""Two networks beside each other on held-out picks of one tomogram."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

import tomotwin_lib
from tomotwin_lib.centring import centring_distances
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.locating import locate
from tomotwin_lib.matching import f_scores
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.precision_recall import average_precision, precision_recall
from tomotwin_lib.products import ReferenceEmbedding, SimilarityMap
from tomotwin_lib.scoring import score_tomogram
from tomotwin_lib.thresholds import keep_above, pooled_thresholds, threshold_curves
from tomotwin_lib.training.held_out import HeldOut

COLUMNS = ["network", "class", "trained", "held_out", "F1", "recall", "best_F1", "AP", "offset"]
SCORES = {
    "F1": "F1",
    "recall": "recall",
    "best_F1": "best-case F1",
    "AP": "AP",
    "offset": "offset (voxels)",
}
"""Those that are scores, and what a reader sees above them."""

LOWEST_SIMILARITY = 0.3
STEP = 0.01


def mean_references(loaded: LoadedNetwork, windows: Mapping[str, torch.Tensor]) -> ReferenceEmbedding:
    """One reference a class: the mean direction of the embeddings of its windows.

    Parameters
    ----------
    windows : by class, (pick, 1, d, h, w) of the network's window, each standardised by itself as files of
        references are, protein bright, on the network's device.

    Returns
    -------
    The vectors; the paths are the classes with ``.mrc`` behind them, as files would be called.
    """
    with torch.no_grad():
        vectors = [
            functional.normalize(loaded.network(own).sum(dim=0), dim=0).cpu().numpy()
            for own in windows.values()
        ]
    attributes = {"tomotwin_lib_version": tomotwin_lib.__version__, **loaded.lineage()}
    return ReferenceEmbedding(np.stack(vectors), [f"{name}.mrc" for name in windows], attributes)


def map_parts(
    loaded: LoadedNetwork,
    volume: Volume,
    parts: HeldOut,
    references: ReferenceEmbedding,
    *,
    progress: bool = True,
) -> tuple[SimilarityMap, SimilarityMap]:
    """Compare both parts of a tomogram with references, each continued by reflection.

    Returns
    -------
    The maps of the part that is trained on and of the one that is scored, in voxels of the part.
    """

    def mapped(box: tuple[slice, slice, slice]) -> SimilarityMap:
        part = Volume(np.ascontiguousarray(volume.data[box]), volume.voxel_size_in_angstrom, volume.path)
        return score_tomogram(loaded, part, references, device=loaded.device, progress=progress)

    return mapped(parts.training_box), mapped(parts.scored_box)


def scores_of(
    name: str,
    maps: tuple[SimilarityMap, SimilarityMap],
    picks: pd.DataFrame,
    parts: HeldOut,
    box_sizes: int | Mapping[str, int],
) -> pd.DataFrame:
    """Score a network on the held-out picks, at thresholds that its training picks choose.

    What was located and not picked counts as a false pick, so that where particles were left unpicked all
    scores but recall are lower than they should be, before and after alike.

    Parameters
    ----------
    name : of the network, for the table.
    maps : of the training part and of the scored part.
    picks : columns class, X, Y, Z; all picks of the tomogram, in voxels of it.
    parts : how they were parted.
    box_sizes : edge of each class's box in voxels: one for all, or by class.

    Returns
    -------
    Columns ``COLUMNS``, a row for each class that was held out and trained on: F1 and recall at the threshold
    that is best on the training part, F1 at the threshold that is best on the held-out picks themselves (best
    case), average precision (the area under precision over recall, which needs no threshold), and the mean
    distance of the picks above the threshold from the particles that they found, in voxels.
    """
    trained, held_out = picks.iloc[parts.trained], picks.iloc[parts.held_out]
    seen = _located(maps[0], parts.training_box, box_sizes)
    found = _located(maps[1], parts.scored_box, box_sizes)
    within = found["ZYX"[parts.axis]].between(*parts.bounds)
    attributes = found.attrs
    found = found[within].reset_index(drop=True)
    found.attrs = attributes
    thresholds = pooled_thresholds([threshold_curves(seen, trained, box_sizes, STEP)])
    curves = threshold_curves(found, held_out, box_sizes, STEP)
    areas = average_precision(precision_recall([curves]))
    offsets = centring_distances(keep_above(found, thresholds), held_out, box_sizes)
    rows = []
    for curve in curves:
        if curve.reference not in thresholds:
            continue
        counts = curve.counts_above(thresholds[curve.reference])
        own = offsets[curve.reference]
        rows.append(
            (
                name,
                curve.class_name,
                int((trained["class"] == curve.class_name).sum()),
                curve.particles,
                counts.f_score(),
                counts.recall,
                float(f_scores(curve.tp, curve.fp, curve.fn).max()),
                float(areas.get(curve.reference, 0.0)),
                float(own.mean()) if len(own) else float("nan"),
            )
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _located(
    similarity: SimilarityMap, box: tuple[slice, slice, slice], box_sizes: int | Mapping[str, int]
) -> pd.DataFrame:
    """Picks in voxels of the tomogram."""
    found = locate(
        similarity, global_min=LOWEST_SIMILARITY, tolerance=0.2, box_sizes=box_sizes, progress=False
    )
    for axis, edge in zip("ZYX", box, strict=True):
        found[axis] += edge.start or 0
    return found
