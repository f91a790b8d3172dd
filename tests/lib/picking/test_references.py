from __future__ import annotations

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.products import ReferenceEmbedding
from tomotwin_lib.references import (
    combine_references,
    doubtful_references,
    mark_negatives,
    protein_of,
    ready_references,
)


def references(**vectors: tuple[float, float]) -> ReferenceEmbedding:
    array = np.array(list(vectors.values()), dtype=np.float32)
    return ReferenceEmbedding(array, [f"refs/{name}.mrc" for name in vectors], {"modelmd5": "x"})


@pytest.mark.parametrize(
    ("name", "protein"),
    [
        ("tomo_1BXN_0.mrc", "1bxn"),
        ("1bxn.mrc", "1bxn"),
        ("ribosome_1.mrc", "ribosome"),
        ("ribosome_0001.mrc", "ribosome"),
        ("negative_membrane_12.mrc", "negative_membrane"),
    ],
)
def test_the_protein_of_a_name(name: str, protein: str) -> None:
    assert protein_of(name) == protein


def test_the_mean_direction_by_hand() -> None:
    combined = combine_references(references(a_1bxn_0=(1, 0), a_2cg9_0=(0.6, 0.8), a_1bxn_1=(0, 3)))
    np.testing.assert_allclose(combined.vectors, [[0.5**0.5, 0.5**0.5], [0.6, 0.8]], atol=1e-6)
    assert combined.paths == ["1bxn.mrc", "refs/a_2cg9_0.mrc"]
    assert combined.attributes["combined"] == {"1bxn.mrc": ["a_1bxn_0.mrc", "a_1bxn_1.mrc"]}


def test_contents_of_combined_references_tell_which_they_are() -> None:
    def contents(**md5s: str) -> dict[str, str]:
        given = references(**dict.fromkeys(md5s, (1, 0)))
        given.attributes["contents"] = {f"{name}.mrc": md5 for name, md5 in md5s.items()}
        return dict(combine_references(given).attributes["contents"])

    found = contents(a_1bxn_0="x", a_1bxn_1="y", a_2cg9_0="z")
    assert set(found) == {"1bxn.mrc", "a_2cg9_0.mrc"} and found["a_2cg9_0.mrc"] == "z"
    assert found["1bxn.mrc"] == contents(a_1bxn_1="x", a_1bxn_0="y")["1bxn.mrc"]  # in whatever order
    assert found["1bxn.mrc"] != contents(a_1bxn_0="x", a_1bxn_1="w")["1bxn.mrc"]


def test_nothing_to_do_changes_nothing() -> None:
    given = references(a_1bxn_0=(1, 0), a_2cg9_0=(0, 1))
    ready = ready_references(given, combine=True)
    np.testing.assert_array_equal(ready.vectors, given.vectors)
    assert ready.paths == given.paths and ready.attributes == given.attributes


def test_negatives_come_last_and_are_not_combined() -> None:
    given = references(negative_gold_0=(1, 0), a_1bxn_0=(0, 1), negative_gold_1=(0.6, 0.8), ice_3=(0.8, 0.6))
    ready = ready_references(given, combine=True, negatives=["ice"])
    assert ready.names == ["a_1bxn_0.mrc", "negative_gold_0.mrc", "negative_gold_1.mrc", "ice_3.mrc"]
    assert ready.attributes["negatives"] == ready.names[1:]
    np.testing.assert_array_equal(ready.vectors, given.vectors[[1, 0, 2, 3]])


def test_negatives_that_cannot_be() -> None:
    given = references(a_1bxn_0=(1, 0))
    with pytest.raises(InputError, match=r"--negatives.*'gold'"):
        mark_negatives(given, ["gold"])
    with pytest.raises(InputError, match="nothing to look for"):
        mark_negatives(given, ["1bxn"])


def test_a_reference_of_another_protein_gives_itself_away() -> None:
    given = references(
        a_1bxn_0=(1, 0), a_1bxn_1=(1, 0.1), a_1bxn_2=(0, 1), a_2cg9_0=(0, 1), a_2cg9_1=(0.1, 1)
    )
    assert doubtful_references(given) == {"a_1bxn_2.mrc": "2cg9"}
