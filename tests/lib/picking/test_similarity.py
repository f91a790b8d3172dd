from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tomotwin_lib import similarity as similarity_module
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.frames import (
    read_reference_embedding,
    read_similarity_map,
    read_tomogram_embedding,
)
from tomotwin_lib.products import Grid, ReferenceEmbedding, TomogramEmbedding
from tomotwin_lib.similarity import similarity_map


def embeddings(**references: Any) -> tuple[TomogramEmbedding, ReferenceEmbedding]:
    """Two sites and two references of two channels."""
    attributes = {"filepath": "tomo.mrc", "modelpth": "a.pth", "modelmd5": "aaa"}
    vectors = np.array([[1.0, 0.0], [0.6, 0.8]], dtype=np.float32)
    tomogram = TomogramEmbedding(vectors, Grid((0, 0, 0), (2, 2, 2), (1, 1, 2)), None, attributes)
    return tomogram, ReferenceEmbedding(
        np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32),
        ["refs/one.mrc", "refs\\two.mrc"],
        {"modelpth": "a.pth", "modelmd5": "aaa"} | references,
    )


def test_by_hand() -> None:
    result = similarity_map(*embeddings(), progress=False)
    # Rounded to half precision, as files have it.
    np.testing.assert_array_equal(result.values, np.array([[0, 1], [0.8, 0.6]], dtype=np.float16))
    assert result.values.dtype == np.float16
    assert result.references == result.attributes["references"] == ["one.mrc", "two.mrc"]
    assert result.attributes["filepath"] == "tomo.mrc" and result.attributes["skip_refinement"] is True


def test_the_configuration_names_the_distance() -> None:
    result = similarity_map(*embeddings(tomotwin_config={"distance": "EUCLIDEAN"}), progress=False)
    np.testing.assert_allclose(result.values[0], [1 - np.sqrt(2), 1], atol=1e-6)


def test_refined_references_say_so() -> None:
    assert similarity_map(*embeddings(refined=True), progress=False).attributes["skip_refinement"] is False


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((103, 5)).astype(np.float32)
    tomogram = TomogramEmbedding(vectors, Grid((0, 0, 0), (1, 1, 1), (1, 1, 103)))
    references = ReferenceEmbedding(vectors[:3], ["a", "b", "c"])
    whole = similarity_map(tomogram, references, progress=False).values
    monkeypatch.setattr(similarity_module.blocks, "__defaults__", (10,))
    np.testing.assert_allclose(similarity_map(tomogram, references, progress=False).values, whole, atol=1e-3)


def test_another_network_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"tomo\.mrc.*b\.pth.*bbb.*a\.pth.*aaa"):
        similarity_map(*embeddings(modelpth="b.pth", modelmd5="bbb"), progress=False)


def test_another_number_of_channels_is_refused() -> None:
    tomogram, references = embeddings(modelmd5=None)
    references.vectors = np.ones((2, 3), dtype=np.float32)
    with pytest.raises(InputError, match=r"3 channels.* 2"):
        similarity_map(tomogram, references, progress=False)


def test_nothing_to_compare_is_refused() -> None:
    tomogram, references = embeddings()
    references.vectors = references.vectors[:0]
    with pytest.raises(InputError, match="no reference"):
        similarity_map(tomogram, references, progress=False)
    tomogram.vectors = tomogram.vectors[:0]
    with pytest.raises(InputError, match="no embedded position"):
        similarity_map(tomogram, embeddings()[1], progress=False)


def test_same_map_as_tomotwin(shared: Path) -> None:
    folder = shared / "interop" / "pipeline"
    result = similarity_map(
        read_tomogram_embedding(folder / "clustered_embeddings.temb"),
        read_reference_embedding(folder / "clustered_refs.temb"),
        progress=False,
    )
    expected = read_similarity_map(folder / "map_plain" / "map.tmap")
    np.testing.assert_allclose(result.values, expected.values, atol=2e-3)
    assert result.references == expected.references
    assert result.attributes["skip_refinement"] == expected.attributes["skip_refinement"]
