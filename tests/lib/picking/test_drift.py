from __future__ import annotations

import numpy as np

from tomotwin_lib.drift import refused_walks
from tomotwin_lib.products import FloatArray, Grid, ReferenceEmbedding, TomogramEmbedding
from tomotwin_lib.refinement import refine_references


def on_circle(*degrees: float) -> FloatArray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def tomogram_of(*degrees: float) -> TomogramEmbedding:
    vectors = on_circle(*degrees)
    return TomogramEmbedding(vectors, Grid((0, 0, 0), (1, 1, 1), (1, 1, len(vectors))))


def test_a_short_walk_is_taken_and_told() -> None:
    tomogram = tomogram_of(4, 5, 6, *np.linspace(180, 300, 100))
    refined = refine_references(tomogram, ReferenceEmbedding(on_circle(0), ["1abc.mrc"]), neighbours=3)
    np.testing.assert_array_equal(refined.vectors, on_circle(5))
    assert refined.attributes["refinement"] == {"1abc.mrc": {"similarity": 0.9962, "refused": ""}}


def test_a_walk_to_another_protein_is_refused_and_named() -> None:
    # Half of the way each step, so that the nearest always lie ahead, up to the other protein at 60 degrees.
    tomogram = tomogram_of(*(60 * (1 - 0.5**step) for step in range(11)), *np.linspace(180, 300, 100))
    given = ReferenceEmbedding(on_circle(0, 60), ["1abc.mrc", "2xyz.mrc"])
    refined = refine_references(tomogram, given, neighbours=3)
    np.testing.assert_array_equal(refined.vectors[0], given.vectors[0])
    assert refused_walks(refined.attributes) == {"1abc.mrc": "it walked to 2xyz"}
    unguarded = refine_references(tomogram, given, neighbours=3, guard=False)
    assert unguarded.vectors[0] @ given.vectors[1] > 0.99


def test_without_another_reference_leaving_is_refused() -> None:
    tomogram = tomogram_of(*(60 * (1 - 0.5**step) for step in range(11)), *np.linspace(180, 300, 100))
    refined = refine_references(tomogram, ReferenceEmbedding(on_circle(0), ["1abc.mrc"]), neighbours=3)
    assert refused_walks(refined.attributes) == {"1abc.mrc": "it left its neighbourhood"}


def test_a_walk_to_background_is_refused() -> None:
    # The neighbours lie towards where most positions are, and the walk stays among them.
    tomogram = tomogram_of(1, 25, 26, *np.linspace(60, 100, 200))
    refined = refine_references(tomogram, ReferenceEmbedding(on_circle(0), ["1abc.mrc"]), neighbours=3)
    np.testing.assert_array_equal(refined.vectors, on_circle(0))
    assert refused_walks(refined.attributes) == {"1abc.mrc": "it walked to background"}


def test_negatives_stay() -> None:
    tomogram = tomogram_of(4, 5, 6, 84, 85, 86)
    given = ReferenceEmbedding(on_circle(0, 90), ["1abc.mrc", "negative_ice.mrc"])
    refined = refine_references(tomogram, given, neighbours=3)
    np.testing.assert_array_equal(refined.vectors, on_circle(5, 90))
