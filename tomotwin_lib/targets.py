"""Vectors to look for that no reference volume was needed for: the middle of clusters, or of everything."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tomotwin_lib.errors import InputError
from tomotwin_lib.products import FloatArray, IntArray, ReferenceEmbedding, SimilarityMap, TomogramEmbedding
from tomotwin_lib.rows import row_slices


def median_target(embedding: TomogramEmbedding) -> ReferenceEmbedding:
    """The median of each channel: most of a tomogram is background, so this vector stands for it.

    Returns
    -------
    One vector, not of unit norm, named ``median``.
    """
    # One channel at a time: a large embedding does not fit into memory once more.
    channels = (channel.astype(np.float32) for channel in embedding.vectors.T)
    median = np.array([[np.median(channel, overwrite_input=True) for channel in channels]], dtype=np.float32)
    return ReferenceEmbedding(median, ["median"], dict(embedding.attributes))


def cluster_targets(vectors: FloatArray, clusters: IntArray) -> tuple[npt.NDArray[np.float32], list[str]]:
    """The mean vector of each cluster.

    Parameters
    ----------
    vectors : (row, channel)
    clusters : (row,) the number of each row's cluster; 0 for none.

    Returns
    -------
    The means (cluster, channel) and their names, ``cluster_<number>``, by rising number.

    Raises
    ------
    InputError
        If all rows are in cluster 0.
    """
    numbers = [int(number) for number in np.unique(clusters) if number != 0]
    if not numbers:
        raise InputError("clusters", "every row is in cluster 0, which is none", "Draw at least one cluster")
    means = [vectors[clusters == number].astype(np.float32).mean(axis=0) for number in numbers]
    return np.stack(means), [f"cluster_{number}" for number in numbers]


def select_by_similarity(
    embedding: TomogramEmbedding,
    similarity: SimilarityMap,
    reference: int | None,
    threshold: float,
    above: bool,
) -> TomogramEmbedding:
    """The part of an embedding that is similar, or not similar, to a reference.

    Parameters
    ----------
    embedding, similarity : of the same positions.
    reference : number of the reference; ``None`` for any of them.
    threshold : of the similarity.
    above : keep positions at or above the threshold; otherwise those below it.

    Raises
    ------
    InputError
        If the two are not of the same positions, or nothing is left.
    """
    same = similarity.grid == embedding.grid and np.array_equal(_sites(similarity), _sites(embedding))
    if not same:
        raise InputError(
            "the map",
            f"its {len(similarity.values):,} positions are not the embedding's {len(embedding.vectors):,}",
            "Give the map that was made of this embedding",
        )
    values = similarity.values if reference is None else similarity.values[:, reference : reference + 1]
    kept = np.zeros(len(values), dtype=bool)
    for block in row_slices(values):
        # A threshold is compared with what was stored as it is: half precision would round it, too.
        part = values[block].astype(np.float32)
        kept[block] = ((part >= threshold) if above else (part < threshold)).any(axis=1)
    if not kept.any():
        raise InputError(
            "--threshold",
            f"no position is {'at or above' if above else 'below'} {threshold:g}: the similarities are "
            f"{values.min():.3f} to {values.max():.3f}",
            "Choose one in between",
        )
    return TomogramEmbedding(
        embedding.vectors[kept], embedding.grid, _sites(embedding)[kept], dict(embedding.attributes)
    )


def _sites(product: TomogramEmbedding | SimilarityMap) -> IntArray:
    return np.arange(product.grid.size) if product.sites is None else product.sites
