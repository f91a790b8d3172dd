"""How alike two embeddings are: each distance knows its own direction, so nobody else asks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from tomotwin_lib.errors import InputError
from tomotwin_lib.products import FloatArray


class Distance(ABC):
    """A way to compare embeddings, always told as a similarity: 1 for equal vectors, less for others."""

    name: str

    @abstractmethod
    def similarity(self, vectors: FloatArray, references: FloatArray) -> npt.NDArray[np.float32]:
        """Similarity of every vector to every reference; more is better.

        Parameters
        ----------
        vectors : (vector, channel).
        references : (reference, channel).

        Returns
        -------
        (vector, reference), float32.
        """

    def better(self, a: Any, b: Any) -> Any:
        """Whether similarity ``a`` is better than similarity ``b``, element by element."""
        return np.greater(a, b)


class Cosine(Distance):
    """The cosine of the angle between the vectors, −1 to 1."""

    name = "COSINE"

    def similarity(self, vectors: FloatArray, references: FloatArray) -> npt.NDArray[np.float32]:
        """See :meth:`Distance.similarity`."""
        return _unit(vectors) @ _unit(references).T


class Euclidean(Distance):
    """One minus the length of the difference: −1 to 1 for unit vectors."""

    name = "EUCLIDEAN"

    def similarity(self, vectors: FloatArray, references: FloatArray) -> npt.NDArray[np.float32]:
        """See :meth:`Distance.similarity`."""
        return 1 - _lengths_of_differences(_float32(vectors), _float32(references))


class Geodesic(Distance):
    """One minus the angle between the vectors in units of a right angle, −1 to 1."""

    name = "GEODESIC"

    def similarity(self, vectors: FloatArray, references: FloatArray) -> npt.NDArray[np.float32]:
        """See :meth:`Distance.similarity`."""
        # The arc from the chord: the arc cosine of a dot product loses half the digits of small angles.
        half_chords = _lengths_of_differences(_unit(vectors), _unit(references)) / 2
        angles = 2 * np.arcsin(np.minimum(half_chords, 1))
        return (1 - angles / np.float32(np.pi / 2)).astype(np.float32)


class SignalToNoise(Distance):
    """One minus the variance of the difference over the variance of the reference.

    The reference is the signal and the difference the noise (Yuan et al., CVPR 2019), so that one reference
    ranks all vectors by the same measure.
    """

    name = "SNR"

    def similarity(self, vectors: FloatArray, references: FloatArray) -> npt.NDArray[np.float32]:
        """See :meth:`Distance.similarity`."""
        vectors, references = _float32(vectors), _float32(references)
        centred = vectors - vectors.mean(axis=1, keepdims=True)
        signals = references - references.mean(axis=1, keepdims=True)
        noise = _lengths_of_differences(centred, signals) ** 2
        power = np.maximum((signals**2).sum(axis=1), np.finfo(np.float32).tiny)
        return (1 - noise / power).astype(np.float32)


DISTANCES: Mapping[str, Distance] = MappingProxyType(
    {distance.name: distance for distance in (Cosine(), Euclidean(), Geodesic(), SignalToNoise())}
)


def distance_named(name: str, source: str = "distance") -> Distance:
    """The distance of that name, upper or lower case.

    Raises
    ------
    InputError
        If there is no such distance; ``source`` is what the message says gave the name.
    """
    try:
        return DISTANCES[str(name).upper()]
    except KeyError:
        raise InputError(
            source, f"there is no distance called {name!r}", f"Choose one of {', '.join(DISTANCES)}"
        ) from None


def _float32(vectors: FloatArray) -> npt.NDArray[np.float32]:
    return np.asarray(vectors, dtype=np.float32)


def _unit(vectors: FloatArray) -> npt.NDArray[np.float32]:
    """The vectors at length one; embeddings read from half precision are off by a few parts in 10,000."""
    vectors = _float32(vectors)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)


def _lengths_of_differences(
    vectors: npt.NDArray[np.float32],  # (vector, channel)
    references: npt.NDArray[np.float32],  # (reference, channel)
) -> npt.NDArray[np.float32]:  # (vector, reference)
    # Subtracting first keeps the digits that |a|² + |b|² − 2ab would cancel; references are few.
    lengths = np.empty((len(vectors), len(references)), dtype=np.float32)
    for column, reference in enumerate(references):
        lengths[:, column] = np.linalg.norm(vectors - reference, axis=1)
    return lengths
