"""Two networks beside each other on held-out picks of one tomogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

import tomotwin_lib
from tomotwin_lib.boxes import box_size_of, cube_iou
from tomotwin_lib.embedding.preparation import standardise_window
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.locating import locate
from tomotwin_lib.matching import f_scores
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.picking import keep_picks
from tomotwin_lib.products import ReferenceEmbedding, SimilarityMap
from tomotwin_lib.scoring import score_tomogram
from tomotwin_lib.thresholds import ThresholdCurve, pooled_thresholds, threshold_curves
from tomotwin_lib.training.held_out import HeldOut

COLUMNS = ["network", "class", "trained", "held_out", "F1", "recall", "best_F1", "AP", "offset"]
LOWEST_SIMILARITY = 0.3
STEP = 0.01


def mean_references(
    loaded: LoadedNetwork, windows: Mapping[str, Sequence[npt.NDArray[np.float32]]]
) -> ReferenceEmbedding:
    """One reference a class: the mean direction of the embeddings of its windows.

    Parameters
    ----------
    windows : by class, (z, y, x) each of the network's window, protein bright. As in files of references,
        each is standardised by itself.

    Returns
    -------
    The vectors; the paths are the classes with ``.mrc`` behind them, as files would be called.
    """
    import torch

    vectors = []
    for own in windows.values():
        stack = torch.from_numpy(np.stack(own)).to(loaded.device)
        with torch.no_grad():
            total = loaded.network(standardise_window(stack)[:, None]).sum(dim=0)
        vectors.append(torch.nn.functional.normalize(total, dim=0).cpu().numpy())
    attributes = {"tomotwin_lib_version": tomotwin_lib.__version__, **loaded.lineage()}
    return ReferenceEmbedding(np.stack(vectors), [f"{name}.mrc" for name in windows], attributes)


def map_part(
    loaded: LoadedNetwork,
    volume: Volume,
    box: tuple[slice, slice, slice],
    references: ReferenceEmbedding,
    *,
    progress: bool = True,
) -> SimilarityMap:
    """Compare a part of a tomogram with references; the part is continued by reflection.

    Returns
    -------
    The map, in voxels of the part.
    """
    part = Volume(np.ascontiguousarray(volume.data[box]), volume.voxel_size_in_angstrom, volume.path)
    return score_tomogram(loaded, part, references, device=loaded.device, progress=progress)


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

    Returns
    -------
    Columns ``COLUMNS``, a row for each class that was held out and trained on: F1 and recall at the threshold
    that is best on the training part, F1 at the threshold that is best on the held-out picks themselves (best
    case), average precision (the area under precision over recall, which needs no threshold), and the mean
    distance of the picks from the particles that they found, in voxels.
    """
    trained, held_out = picks.iloc[parts.trained], picks.iloc[parts.held_out]
    curves, located = [], []
    for similarity, truth, box in zip(
        maps, (trained, held_out), (parts.training_box, parts.scored_box), strict=True
    ):
        found = locate(
            similarity, global_min=LOWEST_SIMILARITY, tolerance=0.2, box_sizes=box_sizes, progress=False
        )
        for axis, edge in zip("ZYX", box, strict=True):
            found[axis] += edge.start or 0
        if truth is held_out:
            along = found["ZYX"[parts.axis]]
            found = _kept(found, along.between(*parts.bounds))
        located.append(found)
        curves.append(threshold_curves(found, truth, box_sizes, STEP))
    thresholds = pooled_thresholds([curves[0]])
    rows = []
    for curve in curves[1]:
        if curve.reference not in thresholds:
            continue
        threshold = thresholds[curve.reference]
        tp, fp = (int(count) for count in curve.counts(threshold))
        own = (held_out["class"] == curve.class_name).to_numpy()
        number = located[1].attrs["references"].index(curve.reference)
        above = keep_picks(located[1][located[1]["predicted_class"] == number], minimum_metric=threshold)
        rows.append(
            (
                name,
                curve.class_name,
                int((trained["class"] == curve.class_name).sum()),
                curve.particles,
                float(f_scores(tp, fp, curve.particles - tp)),
                tp / curve.particles,
                float(f_scores(curve.tp, curve.fp, curve.fn).max()),
                average_precision(curve),
                _offset(held_out[own], above, box_size_of(curve.reference, box_sizes)),
            )
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def average_precision(curve: ThresholdCurve) -> float:
    """The area under the best precision that each recall or a higher one can be had with, 0 to 1."""
    kept = curve.tp + curve.fp
    precision = np.where(kept > 0, curve.tp / np.maximum(kept, 1), 0.0)
    envelope = np.maximum.accumulate(precision)  # thresholds rise, so recall falls
    steps = curve.tp - np.append(curve.tp[1:], 0)
    return float((steps * envelope).sum() / curve.particles)


def _kept(picks: pd.DataFrame, rows: pd.Series) -> pd.DataFrame:
    kept = picks[rows].reset_index(drop=True)
    kept.attrs = dict(picks.attrs)
    return kept


def _offset(truth: pd.DataFrame, picks: pd.DataFrame, box: int) -> float:
    """Mean distance in voxels of the particles that were found from the nearest pick; NaN without any."""
    if not len(truth) or not len(picks):
        return float("nan")
    ours, theirs = (frame[["X", "Y", "Z"]].to_numpy(np.float64) for frame in (picks, truth))
    finds = cube_iou(theirs[:, None], box, ours[None], box) > 0.6
    distance = np.where(finds, np.linalg.norm(theirs[:, None] - ours[None], axis=2), np.inf).min(axis=1)
    return float(distance[np.isfinite(distance)].mean()) if np.isfinite(distance).any() else float("nan")
