from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tomotwin_lib import similarity as similarity_module
from tomotwin_lib.distances import DISTANCES
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.frames import (
    read_reference_embedding,
    read_similarity_map,
    read_tomogram_embedding,
)
from tomotwin_lib.nearest import nearest_embeddings
from tomotwin_lib.products import FloatArray, Grid, ReferenceEmbedding, TomogramEmbedding
from tomotwin_lib.refinement import refine_references
from tomotwin_lib.similarity import similarity_map


def on_circle(*degrees: float) -> FloatArray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def tomogram_of(vectors: FloatArray) -> TomogramEmbedding:
    return TomogramEmbedding(vectors, Grid((0, 0, 0), (1, 1, 1), (1, 1, len(vectors))))


def test_moves_to_the_medoid_and_on_until_it_stays() -> None:
    # Of the three nearest to 0° (10, 20, 34) the medoid is 20; of those nearest to 20° (10, 20, 34) again.
    tomogram = tomogram_of(on_circle(180, 34, 20, 10, 60, 64))
    references = ReferenceEmbedding(on_circle(0), ["a.mrc"], {"modelmd5": "x"})
    refined = refine_references(tomogram, references, neighbours=3, guard=False)
    np.testing.assert_array_equal(refined.vectors, on_circle(20))
    assert refined.paths == ["a.mrc"] and refined.attributes == {"modelmd5": "x", "refined": True}
    np.testing.assert_array_equal(references.vectors, on_circle(0))
    assert references.attributes == {"modelmd5": "x"}


def test_rounds_limit_the_walk() -> None:
    # Each way is half as long as the one before, so the two nearest others always lie ahead: the medoid of
    # the three is the next one, up to the last but one.
    row = on_circle(*(80 * (1 - 0.5**step) for step in range(11)))
    start = ReferenceEmbedding(row[:1], ["a"])
    for rounds, reached in [(0, 0), (1, 1), (4, 4), (9, 9), (12, 9)]:
        refined = refine_references(tomogram_of(row), start, rounds=rounds, neighbours=3, guard=False)
        np.testing.assert_array_equal(refined.vectors[0], row[reached])
    default = refine_references(tomogram_of(row), start, neighbours=3, guard=False)
    np.testing.assert_array_equal(default.vectors[0], row[7])


def test_fewer_embeddings_than_neighbours() -> None:
    tomogram = tomogram_of(on_circle(0, 30, 40))
    refined = refine_references(tomogram, ReferenceEmbedding(on_circle(-5), ["a"]), guard=False)
    np.testing.assert_array_equal(refined.vectors, on_circle(30))


def test_references_move_independently() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((200, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    tomogram = tomogram_of(vectors)
    starts = rng.standard_normal((4, 6)).astype(np.float32)
    together = refine_references(
        tomogram, ReferenceEmbedding(starts, list("abcd")), neighbours=20, guard=False
    )
    for number in range(4):
        alone = ReferenceEmbedding(starts[number : number + 1], ["a"])
        np.testing.assert_array_equal(
            refine_references(tomogram, alone, neighbours=20, guard=False).vectors[0],
            together.vectors[number],
        )


def test_nearest_equals_a_full_sort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity_module.blocks, "__defaults__", (7,))
    rng = np.random.default_rng(2)
    vectors, references = rng.standard_normal((100, 4)), rng.standard_normal((3, 4))
    rows = nearest_embeddings(vectors, references, 12, DISTANCES["COSINE"])
    order = np.argsort(-DISTANCES["COSINE"].similarity(vectors, references), axis=0)[:12].T
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.sort(order, axis=1))


def test_of_equals_the_first_rows_are_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity_module.blocks, "__defaults__", (7,))
    vectors = on_circle(*([90] * 20 + [10] * 30 + [80] * 5 + [0] * 2))
    rows = nearest_embeddings(vectors, on_circle(0, 90), 22, DISTANCES["COSINE"])
    assert rows.tolist() == [[*range(20, 40), 55, 56], [*range(20), 50, 51]]


@pytest.mark.parametrize("name", DISTANCES)
def test_half_precision_refines_as_the_same_numbers_do(name: str) -> None:
    rng = np.random.default_rng(4)
    halves = rng.standard_normal((300, 6)).astype(np.float16)
    references = ReferenceEmbedding(
        rng.standard_normal((3, 6)).astype(np.float32), list("abc"), {"tomotwin_config": {"distance": name}}
    )
    refined = [
        refine_references(tomogram_of(vectors), references, neighbours=20, guard=False).vectors
        for vectors in (halves, halves.astype(np.float32), np.asfortranarray(halves))
    ]
    np.testing.assert_array_equal(refined[0], refined[1])
    np.testing.assert_array_equal(refined[0], refined[2])


@pytest.mark.parametrize(("option", "value"), [("rounds", -1), ("neighbours", 1)])
def test_options_out_of_range(option: str, value: int) -> None:
    tomogram = tomogram_of(on_circle(0, 10))
    with pytest.raises(InputError, match=f"{option}.*{value}"):
        refine_references(tomogram, ReferenceEmbedding(on_circle(0), ["a"]), **{option: value})


def test_same_refined_map_as_tomotwin(shared: Path) -> None:
    folder = shared / "interop" / "pipeline"
    tomogram = read_tomogram_embedding(folder / "clustered_embeddings.temb")
    references = read_reference_embedding(folder / "clustered_refs.temb")
    result = similarity_map(tomogram, refine_references(tomogram, references, guard=False), progress=False)
    expected = read_similarity_map(folder / "map_refined" / "map.tmap")
    np.testing.assert_allclose(result.values, expected.values, atol=2e-3)
    assert result.attributes["skip_refinement"] == expected.attributes["skip_refinement"]
