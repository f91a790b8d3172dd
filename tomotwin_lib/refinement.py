"""References moved into the middle of what they find, one tomogram at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tomotwin_lib.distances import Distance
from tomotwin_lib.errors import InputError
from tomotwin_lib.products import FloatArray, IntArray, ReferenceEmbedding, TomogramEmbedding
from tomotwin_lib.rows import row_slices
from tomotwin_lib.similarity import check_same_network, distance_of
from tomotwin_lib.threads import in_threads


def refine_references(
    tomogram: TomogramEmbedding, references: ReferenceEmbedding, *, rounds: int = 7, neighbours: int = 500
) -> ReferenceEmbedding:
    """Replace each reference by the medoid of the embeddings nearest to it until it stops moving.

    A reference cut from another tomogram carries that one's noise and contrast. The medoid, the embedding
    most similar on average to the others, is this tomogram's own example of the same particle. Method of
    TomoTwin (Rice et al., Nature Methods 2023).

    Parameters
    ----------
    tomogram : embedding of the tomogram that the references will be compared with.
    references : embeddings of the references, by the same network.
    rounds : most often that a reference may move.
    neighbours : number of nearest embeddings that the medoid is taken of.

    Returns
    -------
    References of the same names, with ``refined: True`` in the attributes.

    Raises
    ------
    InputError
        If another network made the references, ``rounds`` is negative or ``neighbours`` is less than 2.
    """
    if rounds < 0:
        raise InputError("rounds", f"{rounds} is negative", "Give 0 or more rounds of refinement")
    if neighbours < 2:
        raise InputError("neighbours", f"{neighbours} has no middle", "Give at least 2 neighbours")
    check_same_network(tomogram, references)
    distance = distance_of(references)
    vectors = np.array(references.vectors, dtype=np.float32)
    sites = np.full(len(vectors), -1)
    moving = np.arange(len(vectors))
    for _ in range(rounds):
        nearest = nearest_embeddings(tomogram.vectors, vectors[moving], neighbours, distance)
        medoids = np.array([_medoid(tomogram.vectors, candidates, distance) for candidates in nearest])
        moved = medoids != sites[moving]
        moving, medoids = moving[moved], medoids[moved]
        if not len(moving):
            break
        sites[moving] = medoids
        vectors[moving] = tomogram.vectors[medoids]
    return ReferenceEmbedding(vectors, list(references.paths), {**references.attributes, "refined": True})


def nearest_embeddings(
    vectors: FloatArray,  # (vector, channel)
    references: FloatArray,  # (reference, channel)
    count: int,
    distance: Distance,
) -> npt.NDArray[np.int64]:
    """Rows of the ``count`` vectors most similar to each reference, shape (reference, neighbour), rising.

    All vectors where there are fewer; of equals the first rows. Works block by block and keeps the best so
    far: the similarities of a whole tomogram never lie in memory.
    """
    best = [np.empty(0, dtype=np.float32)] * len(references)
    rows = [np.empty(0, dtype=np.int64)] * len(references)
    # What is no better than the last of the best so far, which is soon nearly everything, is dropped at once.
    # A thread that still sees an older bound drops less, and the rest is dropped here.
    least = np.full(len(references), -np.inf, dtype=np.float32)

    def search(block: slice) -> tuple[IntArray, IntArray, FloatArray]:
        found = distance.similarity(vectors[block], references)
        better = found > least
        for number in np.flatnonzero(np.isneginf(least)):
            # Before there is a bound, the block's own best are enough.
            better[:, number] = ~(found[:, number] < _kth_best(found[:, number], count))
        places, numbers = np.nonzero(better)
        return block.start + places, numbers, found[better]

    for places, numbers, found in in_threads(search, row_slices(vectors)):
        for number in np.unique(numbers):
            new = numbers == number
            values = np.append(best[number], found[new])
            kept = np.sort(np.argsort(-values, kind="stable")[:count])
            best[number], rows[number] = values[kept], np.append(rows[number], places[new])[kept]
            if len(kept) == count:
                least[number] = best[number].min()
    return np.stack(rows)


def _kth_best(values: FloatArray, count: int) -> float:
    return float(np.partition(values, len(values) - count)[-count]) if len(values) > count else -np.inf


def _medoid(vectors: FloatArray, candidates: IntArray, distance: Distance) -> int:
    """The row, among ``candidates``, with the highest mean similarity to the other candidates.

    Of equals the first row of the tomogram.
    """
    candidates = np.sort(candidates)
    chosen = vectors[candidates]
    similarities = distance.similarity(chosen, chosen).astype(np.float64)
    np.fill_diagonal(similarities, 0)
    return int(candidates[np.argmax(similarities.sum(axis=0))])
