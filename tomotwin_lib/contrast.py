"""Whether particles are darker or brighter than what surrounds them, told by the voxels alone.

Particles are few and compact: in a tomogram that is band-passed to about their size, they make one tail of
the density's distribution longer than the other. Its skewness is negative where they are dark. Noise, and the
slow change of density across ice, have no such sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.stats import skew

Verdict = Literal["dark", "bright", "uncertain"]

_FINE, _COARSE = (
    2.0,
    6.0,
)  # voxels; what lies between them has the size of particles in tomograms to be picked
_BLOCK = 48  # voxels
_MARGIN = 8  # voxels that are left out at the faces of a block, where the filter sees its reflection
_MOST_BLOCKS = 125
_FEWEST_BLOCKS = 8
# Four standard errors: chance exceeds them once in 16,000 tomograms.
_ERRORS = 4.0
_SMALLEST = 0.05


@dataclass(frozen=True)
class Contrast:
    """The skewness of the band-passed density of a tomogram.

    Attributes
    ----------
    skewness : median over the blocks that were looked at; not a number without any.
    error : its standard error, from how much the blocks differ; infinite where they are too few to tell.
    blocks : how many were looked at.
    """

    skewness: float
    error: float
    blocks: int

    @property
    def particles(self) -> Verdict:
        """How particles look, or ``"uncertain"`` where the sign could be chance."""
        if not abs(self.skewness) > max(_ERRORS * self.error, _SMALLEST):
            return "uncertain"
        return "dark" if self.skewness < 0 else "bright"


def contrast_of(data: npt.NDArray[Any]) -> Contrast:
    """Measure a tomogram (z, y, x), any number type; at most 125 blocks of 48³ voxels of it are read.

    The blocks are spread evenly. Their median is taken, so that a few with gold beads or an edge of the ice
    do not decide; those without contrast are left out.
    """
    values = [value for block in _blocks(data) if (value := _skewness(block)) is not None]
    if not values:
        return Contrast(float("nan"), float("inf"), 0)
    middle = float(np.median(values))
    if len(values) < _FEWEST_BLOCKS:
        return Contrast(middle, float("inf"), len(values))
    # Of a median of normal values whose deviation is told by the median of their distances from it.
    deviation = 1.4826 * float(np.median(np.abs(np.array(values) - middle)))
    return Contrast(middle, 1.2533 * deviation / len(values) ** 0.5, len(values))


def _skewness(block: npt.NDArray[Any]) -> float | None:
    """Skewness of one block; ``None`` where it is constant, or too small to have an inside."""
    largest = float(np.abs(block).max()) or 1.0
    block = (block - block.mean(dtype=np.float64)).astype(np.float32)
    band = gaussian_filter(block, _FINE) - gaussian_filter(block, _COARSE)
    inside = band[tuple(slice(_MARGIN, edge - _MARGIN) for edge in band.shape)]
    if inside.size == 0 or float(inside.std()) <= 1e-6 * largest:
        return None
    return float(skew(inside, axis=None))


def _blocks(data: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.float64]]:
    """Blocks that do not overlap, evenly spread, at most ``_MOST_BLOCKS``."""
    edges = [min(edge, _BLOCK) for edge in data.shape]
    counts = [edge // size for edge, size in zip(data.shape, edges, strict=True)]
    while np.prod(counts) > _MOST_BLOCKS:
        counts[int(np.argmax(counts))] -= 1
    starts = [
        np.linspace(0, edge - size, count).astype(int) if count > 1 else [(edge - size) // 2]
        for edge, size, count in zip(data.shape, edges, counts, strict=True)
    ]
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                yield np.asarray(data[z : z + edges[0], y : y + edges[1], x : x + edges[2]], dtype=np.float64)
