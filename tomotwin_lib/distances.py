"""How alike two embeddings are: each distance knows its own direction, so nobody else asks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.products import FloatArray

_TINY = torch.finfo(torch.float32).tiny


class Distance(ABC):
    """A way to compare embeddings, always told as a similarity: 1 for equal vectors, less for others.

    Attributes
    ----------
    name : as configurations have it.
    bounded : whether similarities lie between −1 and 1 whatever the vectors, so that 16-bit floats hold them.
    """

    name: str
    bounded: bool

    def similarity(self, vectors: FloatArray, references: FloatArray) -> npt.NDArray[np.float32]:
        """Similarity of every vector to every reference; more is better.

        Computed in 32-bit floats, whatever the vectors are.

        Parameters
        ----------
        vectors : (vector, channel).
        references : (reference, channel).

        Returns
        -------
        (vector, reference), float32.
        """
        return self._similarity(_float32(vectors), _float32(references)).numpy()

    @abstractmethod
    def _similarity(
        self,
        vectors: torch.Tensor,  # (vector, channel), float32
        references: torch.Tensor,  # (reference, channel), float32
    ) -> torch.Tensor:  # (vector, reference), float32
        ...

    def better(self, a: Any, b: Any) -> Any:
        """Whether similarity ``a`` is better than similarity ``b``, element by element."""
        return np.greater(a, b)


class Cosine(Distance):
    """The cosine of the angle between the vectors, −1 to 1."""

    name = "COSINE"
    bounded = True

    def _similarity(self, vectors: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        # Vectors are many and references few: it is the products that are brought to length one.
        return (vectors @ _unit(references).T).div_(_lengths(vectors))


class Euclidean(Distance):
    """One minus the length of the difference: −1 to 1 for unit vectors."""

    name = "EUCLIDEAN"
    bounded = False

    def _similarity(self, vectors: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        return 1 - _lengths_of_differences(vectors, references)


class Geodesic(Distance):
    """One minus the angle between the vectors in units of a right angle, −1 to 1."""

    name = "GEODESIC"
    bounded = True

    def _similarity(self, vectors: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        # The arc from the chord: the arc cosine of a dot product loses half the digits of small angles.
        half_chords = _lengths_of_differences(_unit(vectors), _unit(references)) / 2
        return 1 - half_chords.clamp_(max=1).arcsin_().mul_(4 / math.pi)


class SignalToNoise(Distance):
    """One minus the variance of the difference over the variance of the reference.

    The reference is the signal and the difference the noise (Yuan et al., CVPR 2019), so that one reference
    ranks all vectors by the same measure.
    """

    name = "SNR"
    bounded = False

    def _similarity(self, vectors: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        centred = vectors - vectors.mean(dim=1, keepdim=True)
        signals = references - references.mean(dim=1, keepdim=True)
        noise = _lengths_of_differences(centred, signals).square_()
        power = signals.square().sum(dim=1).clamp_(min=_TINY)
        return 1 - noise.div_(power)


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


def _float32(vectors: FloatArray) -> torch.Tensor:
    kind = vectors.dtype if vectors.dtype == np.float16 else np.float32
    # PyTorch converts 16-bit floats ten times as fast as NumPy, but wants memory of its own.
    return torch.from_numpy(np.require(vectors, kind, ("C", "ALIGNED", "WRITEABLE"))).float()


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    """The vectors at length one; embeddings read from half precision are off by a few parts in 10,000."""
    return vectors / _lengths(vectors)


def _lengths(vectors: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_(min=_TINY)


def _lengths_of_differences(
    vectors: torch.Tensor,  # (vector, channel)
    references: torch.Tensor,  # (reference, channel)
) -> torch.Tensor:  # (vector, reference)
    # Subtracting first keeps the digits that |a|² + |b|² − 2ab would cancel.
    return torch.cdist(vectors, references, compute_mode="donot_use_mm_for_euclid_dist")
