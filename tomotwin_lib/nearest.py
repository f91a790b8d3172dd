"""The embeddings of a tomogram that are most similar to each reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tomotwin_lib.distances import Distance
from tomotwin_lib.products import FloatArray, IntArray
from tomotwin_lib.rows import row_slices
from tomotwin_lib.threads import in_threads


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
