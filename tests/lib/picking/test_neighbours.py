from __future__ import annotations

import numpy as np
import pytest

from tomotwin_lib import neighbours
from tomotwin_lib.neighbours import Cells
from tomotwin_lib.products import FloatArray


def all_pairs(cells: Cells, points: FloatArray) -> list[tuple[int, int]]:
    pairs, start = [], 0
    while start < len(points):
        taken, first, second = cells.near(points[start:])
        assert taken >= 1 and (np.diff(first) >= 0).all()
        pairs += list(zip((start + first).tolist(), second.tolist(), strict=True))
        start += taken
    return pairs


@pytest.mark.parametrize("at_once", [(1 << 12, 1 << 18), (5, 40), (1, 1)])
@pytest.mark.parametrize("reach", [0.0, 1e-7, 2.0, 7.5, 1e4])
def test_equals_comparing_all_with_all(
    reach: float, at_once: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_POINTS", at_once[0])
    monkeypatch.setattr(neighbours, "_PAIRS", at_once[1])
    rng = np.random.default_rng(2)
    # Whole numbers lie exactly as far apart as the reach, twins not at all, one point far from all others.
    points = np.concatenate([rng.uniform(-20, 20, (60, 3)), rng.integers(-5, 5, (30, 3)), [[1e6, -1e6, 0]]])
    points[40:60] = points[:20] + rng.choice([0, 1e-7], (20, 3))
    others = np.concatenate([points[rng.permutation(len(points))], rng.uniform(-50, 50, (30, 3))])
    expected = np.argwhere((np.abs(others[:, None] - points) <= reach).all(axis=-1))
    found = all_pairs(Cells(points, reach), others)
    assert len(found) >= len(points)
    assert sorted(found) == [tuple(row) for row in expected.tolist()]


def test_nothing_is_near_no_points() -> None:
    assert all_pairs(Cells(np.empty((0, 3)), 2.0), np.zeros((3, 3))) == []
