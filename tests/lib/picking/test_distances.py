from __future__ import annotations

import numpy as np
import pytest

from tomotwin_lib.distances import DISTANCES, distance_named
from tomotwin_lib.errors import InputError

RIGHT_ANGLE = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("COSINE", [1, 0, -1]),
        ("EUCLIDEAN", [1, 1 - np.sqrt(2), -1]),
        ("GEODESIC", [1, 0, -1]),
        # Of (1, 0, 0, 0) the variance is 3/16, of (1, -1, 0, 0) it is 1/2, of (2, 0, 0, 0) it is 3/4.
        ("SNR", [1, 1 - 8 / 3, -3]),
    ],
)
def test_by_hand(name: str, expected: list[float]) -> None:
    similarity = DISTANCES[name].similarity(RIGHT_ANGLE, RIGHT_ANGLE[:1])
    assert similarity.dtype == np.float32
    np.testing.assert_allclose(similarity[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("name", DISTANCES)
def test_more_is_better_and_the_vector_itself_is_best(name: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    distance = DISTANCES[name]
    similarity = distance.similarity(vectors, vectors)
    assert (similarity.argmax(axis=0) == np.arange(30)).all()
    np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-6)
    nearer = vectors[:1] + 0.1 * vectors[1:2]
    farther = vectors[:1] + 0.5 * vectors[1:2]
    near, far = (distance.similarity(v, vectors[:1])[0, 0] for v in (nearer, farther))
    assert distance.better(near, far) and not distance.better(far, near)


def test_geodesic_resolves_small_angles() -> None:
    angle = 1e-4
    vectors = np.array([[np.cos(angle), np.sin(angle)]])
    similarity = DISTANCES["GEODESIC"].similarity(vectors, np.array([[1.0, 0.0]])).astype(np.float64)
    np.testing.assert_allclose(1 - similarity, angle / (np.pi / 2), rtol=2e-3)


def test_named() -> None:
    assert distance_named("cosine").name == "COSINE"
    with pytest.raises(InputError, match=r"model\.json.*MANHATTAN.*COSINE, EUCLIDEAN, GEODESIC, SNR"):
        distance_named("MANHATTAN", "model.json")
