"""Where in a tomogram it is worth looking: masks for the embedding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume, require_finite
from tomotwin_lib.heatmaps import heatmap
from tomotwin_lib.products import TomogramEmbedding
from tomotwin_lib.rows import row_blocks
from tomotwin_lib.similarity import distance_of, map_of
from tomotwin_lib.targets import median_target

# Deviations in voxels of the Gaussians that take away the slow background and the noise, and the edge in
# voxels of the cube in which one dark voxel counts for all: TomoTwin's values, made for 10 Å a voxel.
_BACKGROUND, _NOISE, _REACH = 10.0, 2.0, 10


def intensity_mask(volume: Volume) -> npt.NDArray[np.bool_]:
    """Where a tomogram is darker than its usual background, after TomoTwin's ``embedding_mask intensity``.

    Background and noise are filtered away, each voxel takes the darkest value nearby, and what is darker than
    the most frequent value remains.

    Parameters
    ----------
    volume : the tomogram, protein dark.

    Returns
    -------
    (z, y, x), True where particles may be.

    Raises
    ------
    InputError
        If a voxel is not a number, or all are alike.
    """
    require_finite(volume)
    values = np.array(volume.data, dtype=np.float32)
    if values.min() == values.max():
        raise InputError(volume.path, f"every voxel is {values.flat[0]:g}", "Give a tomogram")
    values -= ndimage.gaussian_filter(values, _BACKGROUND)
    values = ndimage.gaussian_filter(values, _NOISE)
    values = ndimage.minimum_filter(values, _REACH)
    counts, edges = np.histogram(values, bins=256)
    return values < edges[counts.argmax()]


def median_mask(
    embedding: TomogramEmbedding, threshold: float = 0.3, dilation: int = 1
) -> npt.NDArray[np.bool_]:
    """Where a tomogram's embedding is unlike its median, which stands for the background.

    Parameters
    ----------
    embedding : of the whole tomogram; a coarse stride will do.
    threshold : positions whose similarity to the median is below it remain.
    dilation : radius of a ball, in voxels, by which the mask grows.

    Returns
    -------
    (z, y, x), of the tomogram's shape, True where particles may be.

    Raises
    ------
    InputError
        If the dilation is negative.
    """
    if dilation < 0:
        raise InputError("--dilation", f"{dilation} is no radius", "Give 0 or more voxels")
    median = median_target(embedding)
    # Not rounded to half precision, as a map is.
    compare = distance_of(median).similarity
    values = np.concatenate([compare(block, median.vectors) for block in row_blocks(embedding.vectors)])
    similarity = map_of(values, embedding, median)
    mask = heatmap(similarity, 0) < threshold
    if dilation:
        # A distance is cheaper than a large structuring element, and exact.
        mask = ndimage.distance_transform_edt(~mask) <= dilation if mask.any() else mask
    return mask
