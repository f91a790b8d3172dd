"""Targets without reference volumes, and parts of embeddings, on vectors small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.products import Grid, SimilarityMap, TomogramEmbedding
from tomotwin_lib.targets import cluster_targets, median_target, select_by_similarity

GRID = Grid((0, 0, 0), (2, 2, 2), (1, 2, 2))
VECTORS = np.array([[1, 0], [0, 1], [0.6, 0.8], [0.8, 0.6]], dtype=np.float32)


@pytest.fixture
def embedding() -> TomogramEmbedding:
    return TomogramEmbedding(VECTORS, GRID, None, {"modelmd5": "x"})


@pytest.fixture
def similarity() -> SimilarityMap:
    values = np.array([[0.9, 0.1], [0.2, 0.7], [0.4, 0.4], [0.7, 0.1]], dtype=np.float32)
    return SimilarityMap(values, ["a.mrc", "b.mrc"], GRID)


def test_median_of_each_channel(embedding: TomogramEmbedding) -> None:
    target = median_target(embedding)
    np.testing.assert_allclose(target.vectors, [[0.7, 0.7]], atol=1e-6)
    assert target.names == ["median"]
    assert target.attributes == {"modelmd5": "x"}


def test_mean_of_each_cluster_without_cluster_0() -> None:
    means, names = cluster_targets(VECTORS, np.array([7, 0, 2, 7]))
    np.testing.assert_allclose(means, [[0.6, 0.8], [0.9, 0.3]], atol=1e-6)
    assert names == ["cluster_2", "cluster_7"]
    with pytest.raises(InputError, match="every row is in cluster 0"):
        cluster_targets(VECTORS, np.zeros(4, dtype=int))


@pytest.mark.parametrize(
    ("reference", "threshold", "above", "sites"),
    [
        (0, 0.7, True, [0, 3]),
        (0, 0.7, False, [1, 2]),
        (1, 0.4, True, [1, 2]),
        (None, 0.7, True, [0, 1, 3]),
        (None, 0.3, False, [0, 1, 3]),
    ],
)
def test_selection(
    embedding: TomogramEmbedding,
    similarity: SimilarityMap,
    reference: int | None,
    threshold: float,
    above: bool,
    sites: list[int],
) -> None:
    kept = select_by_similarity(embedding, similarity, reference, threshold, above)
    assert kept.sites is not None and kept.sites.tolist() == sites
    np.testing.assert_array_equal(kept.vectors, VECTORS[sites])
    assert kept.grid == GRID and kept.attributes == {"modelmd5": "x"}


def test_a_threshold_is_not_rounded_as_stored_similarities_are(embedding: TomogramEmbedding) -> None:
    # In half precision 0.8 is 0.7998, which is below 0.8, and 0.7 is 0.7002, which is not below 0.7.
    values = np.array([[0.8], [0.7], [0.6], [0.9]], dtype=np.float16)
    similarity = SimilarityMap(values, ["a.mrc"], GRID)
    for threshold, sites in [(0.8, [3]), (0.7, [0, 1, 3])]:
        kept = select_by_similarity(embedding, similarity, 0, threshold, True)
        assert kept.sites is not None and kept.sites.tolist() == sites


def test_selection_from_a_part_keeps_its_places(
    embedding: TomogramEmbedding, similarity: SimilarityMap
) -> None:
    part = select_by_similarity(embedding, similarity, 0, 0.3, True)  # sites 0, 2, 3
    values = SimilarityMap(similarity.values[[0, 2, 3]], similarity.references, GRID, np.array([0, 2, 3]))
    kept = select_by_similarity(part, values, 1, 0.3, True)
    assert kept.sites is not None and kept.sites.tolist() == [2]


def test_refuses_what_does_not_belong_together_and_empty_results(
    embedding: TomogramEmbedding, similarity: SimilarityMap
) -> None:
    other = SimilarityMap(similarity.values[:2], similarity.references, GRID, np.array([0, 1]))
    with pytest.raises(InputError, match="Give the map that was made of this embedding"):
        select_by_similarity(embedding, other, 0, 0.5, True)
    with pytest.raises(InputError, match=r"no position is at or above 0.95.*0.200 to 0.900"):
        select_by_similarity(embedding, similarity, 0, 0.95, True)
