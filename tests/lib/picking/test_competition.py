from __future__ import annotations

import numpy as np

from tomotwin_lib.locating import locate
from tomotwin_lib.products import FloatArray, Grid, SimilarityMap

SHAPE = (9, 9, 30)


def cone(*peaks: tuple[int, float]) -> FloatArray:
    """Maxima at (4, 4, x) of some height; lower by 0.1 a voxel."""
    places = np.stack(np.indices(SHAPE), axis=-1)
    cones = [height - 0.1 * np.abs(places - (4, 4, x)).max(axis=-1) for x, height in peaks]
    return np.max(cones, axis=0).ravel().astype(np.float32)


def map_of(**columns: FloatArray) -> SimilarityMap:
    names = [f"{name}.mrc" for name in columns]
    return SimilarityMap(np.stack(list(columns.values()), axis=1), names, Grid((0, 0, 0), (1, 1, 1), SHAPE))


TARGET = cone((6, 0.9), (14, 0.8), (23, 0.7))
NEGATIVE = cone((14, 0.85), (23, 0.6))


def test_a_more_similar_negative_takes_the_maximum() -> None:
    # The negative stands in front: picks count targets only.
    similarity = map_of(negative_gold_1=NEGATIVE, a_1bxn=TARGET)
    picks = locate(similarity, box_sizes={"1bxn": 4}, progress=False)
    assert picks["X"].tolist() == [6, 23] and set(picks["predicted_class"]) == {0}
    assert picks.attrs["references"] == ["a_1bxn.mrc"]
    assert picks.attrs["dropped"] == {"a_1bxn.mrc": {"negative_gold_1.mrc": 1}}


def test_a_mask_leaves_the_rows_where_they_belong() -> None:
    whole = map_of(a_1bxn=TARGET, negative_gold=NEGATIVE)
    sites = np.arange(5, len(TARGET))
    masked = SimilarityMap(whole.values[sites], whole.references, whole.grid, sites)
    picks = [locate(similarity, box_sizes=4, progress=False) for similarity in (whole, masked)]
    assert picks[0]["X"].tolist() == picks[1]["X"].tolist() == [6, 23]


def test_other_proteins_compete_only_if_asked() -> None:
    similarity = map_of(a_1bxn_0=TARGET, a_1bxn_1=TARGET + 0.05, a_2cg9=NEGATIVE)
    alone = locate(similarity, box_sizes=4, progress=False)
    assert "dropped" not in alone.attrs and (alone["predicted_class"] == 0).sum() == 3
    picks = locate(similarity, box_sizes=4, compete=True, progress=False)
    # References of the same protein are no rivals of each other.
    assert picks.loc[picks["predicted_class"] == 0, "X"].tolist() == [6, 23]
    assert picks.attrs["dropped"]["a_1bxn_0.mrc"] == {"a_2cg9.mrc": 1}
    assert picks.attrs["dropped"]["a_2cg9.mrc"] == {"a_1bxn_1.mrc": 1}
