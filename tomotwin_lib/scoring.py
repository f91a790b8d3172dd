"""From a tomogram to its similarity map in one sweep, without its embedding in memory or on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tomotwin_lib.distances import Distance
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.half_precision import halved
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.products import FloatArray, ReferenceEmbedding, SimilarityMap
from tomotwin_lib.similarity import check_references, distance_of, map_of


def score_tomogram(
    loaded: LoadedNetwork, volume: Volume, references: ReferenceEmbedding, **options: Any
) -> SimilarityMap:
    """Compare every position of a tomogram with every reference, tile by tile.

    The same map as by way of :func:`~tomotwin_lib.embedding.tomograms.embed_tomogram`,
    :func:`~tomotwin_lib.similarity.similarity_map` and the files of both, with their rounding to 16-bit
    floats, so that the picks are the same too. For a handful of references it takes a fraction of the memory
    and no disk. References cannot be refined on the way, as that needs all vectors at once.

    Parameters
    ----------
    loaded : the network.
    volume : the tomogram, protein dark.
    references : embedded by the same network.
    options : see :func:`~tomotwin_lib.embedding.tomograms.embed_tomogram`.

    Raises
    ------
    InputError
        Before any computation, if another network made the references, or for the reasons that
        :func:`~tomotwin_lib.embedding.tomograms.embed_tomogram` has.
    """
    check_references(references, loaded.lineage(), f"references for {volume.path}")
    similarities = _Similarities(distance_of(references), references.vectors)
    scored = embed_tomogram(loaded, volume, keep=similarities, **options)
    return map_of(halved(scored.vectors), scored, references)


@dataclass(frozen=True)
class _Similarities:
    """What is kept of vectors (row, channel): their similarities (row, reference), rounded as files do.

    No function inside the one above, because it goes to the processes of several GPUs.
    """

    distance: Distance
    references: FloatArray

    def __call__(self, vectors: npt.NDArray[np.float32]) -> FloatArray:
        found = self.distance.similarity(halved(vectors), self.references)
        # What has no bound is rounded as a whole: a file is in 32 bits if one value is beyond 16.
        return halved(found) if self.distance.bounded else found
