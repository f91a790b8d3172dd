"""Whether embeddings can be what a network gives that works: finite, of unit norm, and not all alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomotwin_lib.products import FloatArray


@dataclass(frozen=True)
class VectorQuality:
    """What a sample of vectors is like.

    Attributes
    ----------
    rows : how many were looked at.
    not_finite : how many of them hold a value that is no number or infinite.
    largest_norm_error : of the finite ones, the largest distance of a norm from 1.
    typical_angle_in_degrees : root mean square angle between the finite vectors and their mean direction; 0
        where all are alike, near 90 where they point everywhere.
    """

    rows: int
    not_finite: int
    largest_norm_error: float
    typical_angle_in_degrees: float


def vector_quality(vectors: FloatArray, most: int = 4096, seed: int = 0) -> VectorQuality:
    """Measure rows (site, channel) drawn at random, at most ``most`` of them.

    Only those are read of vectors that lie in a mapped file.
    """
    rows = np.asarray(vectors[sampled_rows(len(vectors), most, seed)], dtype=np.float64)
    finite = np.isfinite(rows).all(axis=1)
    usable = rows[finite]
    if not len(usable):
        return VectorQuality(len(rows), int((~finite).sum()), float("nan"), float("nan"))
    norms = np.linalg.norm(usable, axis=1)
    directions = usable / np.where(norms > 0, norms, 1.0)[:, None]
    mean = directions.mean(axis=0)
    length = float(np.linalg.norm(mean))
    cosines = directions @ (mean / length) if length > 0 else np.zeros(len(usable))
    angles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    return VectorQuality(
        rows=len(rows),
        not_finite=int((~finite).sum()),
        largest_norm_error=float(np.abs(norms - 1).max()),
        typical_angle_in_degrees=float(np.sqrt(np.mean(angles**2))),
    )


def sampled_rows(count: int, most: int, seed: int = 0) -> np.ndarray:
    """Indices of at most ``most`` of ``count`` rows in rising order, drawn without replacement."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
