"""The similarity of embeddings to references, and references refined by pairs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from tomotwin_lib.products import FloatArray


def similarity_to_reference(vectors: FloatArray, reference: FloatArray) -> npt.NDArray[np.float32]:
    """Cosine of the angle between each of the (vector, channel) and the reference (channel,)."""
    values = functional.cosine_similarity(torch.from_numpy(vectors), torch.from_numpy(reference)[None])
    return values.numpy()


def similarity_reference_by_reference(vectors: FloatArray, references: FloatArray) -> npt.NDArray[np.float32]:
    """Compare every embedding with every reference, one reference after the other.

    Follows: "Similarity of every embedding to every reference." In its favour: the vectors are float32 in one
    array, where they would be columns of a frame, and PyTorch's own cosine runs on all threads.

    Parameters
    ----------
    vectors : (vector, channel).
    references : (reference, channel).

    Returns
    -------
    (vector, reference).
    """
    return np.stack([similarity_to_reference(vectors, reference) for reference in references], axis=1)


def refine_by_pairs(
    vectors: FloatArray, references: FloatArray, rounds: int = 7, neighbours: int = 500
) -> npt.NDArray[np.float32]:
    """Move each reference to the medoid of the embeddings nearest to it, until it stops moving.

    Follows: "up to 7 rounds in which a reference is replaced by the medoid (highest mean similarity to the
    others) of the 500 embeddings nearest to it, until it stops moving". The distance is a function of two
    embeddings, and the medoid compares them by pairs.

    In its favour: a pair is compared once and counts for both, in plain NumPy; the nearest are not sorted.

    Parameters
    ----------
    vectors : (vector, channel).
    references : (reference, channel).

    Returns
    -------
    (reference, channel).
    """
    refined = []
    for reference in references:
        for _ in range(rounds):
            similarity = similarity_to_reference(vectors, reference)
            nearest = np.sort(np.argpartition(similarity, -neighbours)[-neighbours:])
            medoid = vectors[nearest[_medoid(vectors[nearest].astype(np.float64))]]
            if np.array_equal(medoid, reference):
                break
            reference = medoid
        refined.append(reference)
    return np.array(refined, dtype=np.float32)


def _medoid(vectors: npt.NDArray[np.float64]) -> int:
    totals = [0.0] * len(vectors)
    for i, j in itertools.combinations(range(len(vectors)), 2):
        similarity = _cosine(vectors[i], vectors[j])
        totals[i] += similarity
        totals[j] += similarity
    return int(np.argmax(totals))


def _cosine(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    return float(a.dot(b)) / math.sqrt(a.dot(a) * b.dot(b))
