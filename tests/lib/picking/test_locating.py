from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from tomotwin_lib import basins, locating
from tomotwin_lib.errors import InputError
from tomotwin_lib.locating import find_maxima, locate
from tomotwin_lib.products import FloatArray, Grid, SimilarityMap

STEPS = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]


def regions_one_by_one(
    volume: FloatArray, tolerance: float, global_min: float
) -> list[tuple[tuple[float, ...], int, float]]:
    """What find_maxima is documented to find, by filling one region after the other, voxel by voxel."""

    def ends(voxel: tuple[int, ...]) -> int:
        return sum(n > 2 and i in (0, n - 1) for i, n in zip(voxel, volume.shape, strict=True))

    values = {
        v: float(volume[v]) for v in np.ndindex(*volume.shape) if ends(v) < 2 and np.isfinite(volume[v])
    }

    def around(voxel: tuple[int, ...]) -> list[tuple[int, ...]]:
        z, y, x = voxel
        return [near for dz, dy, dx in STEPS if (near := (z + dz, y + dy, x + dx)) in values]

    def fill(start: tuple[int, ...], lowest: float) -> set[tuple[int, ...]]:
        filled, open_voxels = {start}, [start]
        while open_voxels:
            new = [v for v in around(open_voxels.pop()) if values[v] >= lowest and v not in filled]
            filled.update(new)
            open_voxels.extend(new)
        return filled

    found: list[tuple[tuple[float, ...], int, float]] = []
    taken: set[tuple[int, ...]] = set()
    for voxel in sorted(values, key=lambda v: -values[v]):
        value = values[voxel]
        if not value > global_min or voxel in taken or any(values[v] > value for v in around(voxel)):
            continue
        if any(ends(v) for v in fill(voxel, value)):
            continue
        region = fill(voxel, value - tolerance)
        if region & taken or max(values[v] for v in region) > value:
            continue
        taken |= region
        if len(region) > 1:
            found.append((tuple(np.mean(list(region), axis=0)), len(region), value))
    return found


def bumps(shape: tuple[int, int, int], *peaks: tuple[tuple[int, int, int], float]) -> FloatArray:
    """A volume of cones: each falls by 0.1 a voxel, in the largest of the three directions."""
    grid = np.stack(np.indices(shape), axis=-1)
    cones = [height - 0.1 * np.abs(grid - at).max(axis=-1) for at, height in peaks]
    return np.max([*cones, np.zeros(shape)], axis=0).astype(np.float32)


def test_one_peak() -> None:
    maxima = find_maxima(bumps((9, 10, 11), ((4, 5, 6), 0.85)), tolerance=0.15, global_min=0.5)
    np.testing.assert_allclose(maxima.positions, [[4, 5, 6]])
    assert maxima.sizes.tolist() == [27]
    assert maxima.values.tolist() == pytest.approx([0.85])


def test_the_position_is_the_mean_of_the_region() -> None:
    volume = np.zeros((7, 7, 7), dtype=np.float32)
    volume[3, 3, 2:5] = 0.9, 0.8, 0.75
    maxima = find_maxima(volume)
    np.testing.assert_allclose(maxima.positions, [[3, 3, 3]])
    assert maxima.sizes.tolist() == [3]


def test_touching_peaks() -> None:
    # Four voxels apart the cones meet at 0.2 below the one, 0.1 below the other.
    volume = bumps((9, 9, 16), ((4, 4, 5), 0.95), ((4, 4, 9), 0.85))
    assert find_maxima(volume, tolerance=0.05).values.tolist() == []  # each is a single voxel
    volume[4, 4, [6, 10]] = 0.94, 0.84
    assert find_maxima(volume, tolerance=0.05).values.tolist() == pytest.approx([0.95, 0.84 + 0.01])
    assert find_maxima(volume, tolerance=0.15).values.tolist() == pytest.approx([0.95])
    # With the tolerance as wide as the pass is low, the region of the higher takes in that of the lower.
    assert find_maxima(volume, tolerance=0.25).positions[0, 2] > 5.5


def test_equal_peaks_of_one_region_are_one() -> None:
    volume = bumps((9, 9, 16), ((4, 4, 5), 0.9), ((4, 4, 9), 0.9))
    maxima = find_maxima(volume, tolerance=0.25)
    np.testing.assert_allclose(maxima.positions, [[4, 4, 7]], atol=1e-6)
    apart = find_maxima(volume, tolerance=0.15)
    np.testing.assert_allclose(apart.positions, [[4, 4, 5], [4, 4, 9]], atol=1e-6)


def test_a_plateau_is_one_maximum() -> None:
    volume = np.zeros((8, 8, 8), dtype=np.float32)
    volume[3:5, 3:5, 2:6] = 0.9
    maxima = find_maxima(volume)
    np.testing.assert_allclose(maxima.positions, [[3.5, 3.5, 3.5]])
    assert maxima.sizes.tolist() == [16]


def test_maxima_on_faces_do_not_count_but_overrule() -> None:
    on_face = bumps((9, 9, 20), ((4, 0, 5), 0.9))
    assert len(find_maxima(on_face)) == 0
    plateau_to_the_face = bumps((9, 9, 20), ((4, 2, 5), 0.9))
    plateau_to_the_face[4, :3, 5] = 0.9
    assert len(find_maxima(plateau_to_the_face)) == 0
    # The region may reach the face.
    assert find_maxima(bumps((9, 9, 20), ((4, 1, 5), 0.9))).sizes.tolist() == [5 * 4 * 5]
    beside_it = bumps((9, 9, 20), ((4, 0, 5), 0.9), ((4, 3, 5), 0.8))
    assert len(find_maxima(beside_it)) == 0


def test_edges_never_count() -> None:
    volume = np.zeros((6, 6, 6), dtype=np.float32)
    volume[0, 0, 1:5] = 0.9
    assert len(find_maxima(volume)) == 0
    volume[1, 1, 2] = 0.8
    volume[1, 2, 2] = 0.75
    maxima = find_maxima(volume)
    assert maxima.sizes.tolist() == [2] and maxima.values.tolist() == pytest.approx([0.8])


def test_a_slice_has_no_faces_along_its_normal() -> None:
    volume = bumps((1, 9, 9), ((0, 4, 4), 0.9))
    np.testing.assert_allclose(find_maxima(volume).positions, [[0, 4, 4]], atol=1e-6)


def test_masked_voxels_never_count() -> None:
    volume = bumps((9, 9, 9), ((4, 4, 4), 0.9))
    volume[:, :, 5:] = -np.inf
    volume[4, 4, 3] = np.nan
    assert find_maxima(volume).sizes.tolist() == [5 * 5 * 3 - 1]
    assert len(find_maxima(np.full((5, 5, 5), -np.inf))) == 0
    assert len(find_maxima(np.zeros((0, 5, 5)))) == 0


def test_the_minimum_is_exclusive() -> None:
    volume = bumps((9, 9, 9), ((4, 4, 4), 0.75))
    assert len(find_maxima(volume, global_min=0.75)) == 0
    assert len(find_maxima(volume, global_min=0.7499)) == 1


@pytest.mark.parametrize(
    ("smooth", "steps", "tolerance", "global_min"),
    [(1.0, None, 0.1, 0.2), (0.8, 10, 0.2, 0.0), (0.6, 5, 0.2, 0.0), (0, 4, 0.25, -1), (1.0, 8, 0.0, -0.5)],
)
def test_equals_filling_one_region_after_the_other(
    smooth: float, steps: int | None, tolerance: float, global_min: float
) -> None:
    count = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        volume = gaussian_filter(rng.standard_normal((10, 13, 12)), smooth)
        volume = (volume / np.abs(volume).max()).astype(np.float32)
        if steps:  # plateaus
            volume = np.round(volume * steps) / np.float32(steps)
        volume[rng.random(volume.shape) < 0.05 * (seed % 2)] = -np.inf
        maxima = find_maxima(volume, tolerance, global_min)
        expected = regions_one_by_one(volume, tolerance, global_min)
        found = zip(maxima.positions.tolist(), maxima.sizes.tolist(), maxima.values.tolist(), strict=True)
        assert maxima.values.tolist() == pytest.approx([row[2] for row in expected])
        for row, known in zip(sorted(found), sorted(expected), strict=True):
            np.testing.assert_allclose(row[0], known[0], atol=1e-9)
            assert row[1:] == pytest.approx(known[1:])
        count += len(expected)
    assert count >= 10


def test_blocks_of_voxels_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = gaussian_filter(np.random.default_rng(3).standard_normal((14, 15, 16)), 0.8)
    volume = np.round(volume / volume.max() * 20) / 20
    whole = find_maxima(volume, 0.1, 0.0)
    assert len(whole) > 5
    monkeypatch.setattr(basins, "_BLOCK", 37)
    monkeypatch.setattr(locating, "blocks", lambda count: basins.blocks(count, 41))
    parts = find_maxima(volume, 0.1, 0.0)
    for name in ("positions", "sizes", "values"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_a_negative_zero_is_a_zero() -> None:
    volume = np.full((8, 8, 8), -0.5, dtype=np.float32)
    volume[3:5, 3:5, 2:6] = np.where(np.arange(4) % 2, 0.0, -0.0)
    maxima = find_maxima(volume, global_min=-0.1)
    np.testing.assert_allclose(maxima.positions, [[3.5, 3.5, 3.5]])
    assert maxima.sizes.tolist() == [16]


@pytest.mark.parametrize("axis", range(3))
def test_no_axis_is_special(axis: int) -> None:
    volume = gaussian_filter(np.random.default_rng(7).standard_normal((20, 24, 22)), 1.5)
    volume /= volume.max()
    turned = find_maxima(np.swapaxes(volume, 0, axis))
    straight = find_maxima(volume)
    np.testing.assert_array_equal(turned.values, straight.values)
    order = [0, 1, 2]
    order[0], order[axis] = axis, 0
    np.testing.assert_allclose(turned.positions[:, order], straight.positions)


@pytest.mark.parametrize(("tolerance", "global_min"), [(-0.1, 0.5), (np.nan, 0.5), (0.2, np.inf)])
def test_options_out_of_range(tolerance: float, global_min: float) -> None:
    with pytest.raises(InputError):
        find_maxima(np.zeros((5, 5, 5)), tolerance, global_min)


def map_of(*volumes: FloatArray, names: list[str], origin: int = 0) -> SimilarityMap:
    values = np.stack([volume.ravel() for volume in volumes], axis=1)
    grid = Grid((origin,) * 3, (2, 2, 2), volumes[0].shape)  # type: ignore[arg-type]
    return SimilarityMap(values, names, grid, None, {"filepath": "tomo.mrc", "stride": [2, 2, 2]})


def test_locate_by_hand() -> None:
    two = bumps((9, 10, 30), ((4, 5, 6), 0.8), ((4, 5, 20), 0.9))
    one = bumps((9, 10, 30), ((3, 4, 15), 0.7))
    similarity = map_of(two, one, names=["m_1bxn.mrc", "m_5mrc.mrc"], origin=18)
    picks = locate(similarity, box_sizes={"1bxn": 20, "5MRC": 37}, progress=False)
    assert picks[["X", "Y", "Z"]].to_numpy().round(4).tolist() == [[58, 28, 26], [30, 28, 26], [48, 26, 24]]
    assert picks["predicted_class"].tolist() == [0, 0, 1]
    for column in ("width", "height", "depth"):
        assert picks[column].tolist() == [20, 20, 37]
    assert picks["size"].tolist() == [125, 125, 125]
    assert picks["metric_best"].tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert picks.attrs == {
        "filepath": "tomo.mrc",
        "stride": [2, 2, 2],
        "references": ["m_1bxn.mrc", "m_5mrc.mrc"],
        "locating": {"tolerance": 0.2, "overlap": 0.6, "compete": False},
    }
    assert list(picks.columns) == [
        "X",
        "Y",
        "Z",
        "size",
        "metric_best",
        "predicted_class",
        "width",
        "height",
        "depth",
    ]
    assert all(picks[column].dtype == np.float32 for column in ("X", "Y", "Z", "metric_best"))


def test_locate_suppresses_within_a_class_only() -> None:
    near = bumps((9, 9, 24), ((4, 4, 8), 0.8), ((4, 4, 13), 0.9))
    similarity = map_of(near, near, names=["a", "b"])
    assert len(locate(similarity, tolerance=0.15, box_sizes=20, progress=False)) == 4
    picks = locate(similarity, tolerance=0.15, box_sizes=60, progress=False)
    assert picks["metric_best"].tolist() == pytest.approx([0.9, 0.9])


def test_locate_where_nothing_is() -> None:
    picks = locate(map_of(np.zeros((5, 5, 5)), names=["a"]), progress=False)
    assert len(picks) == 0 and picks.attrs["references"] == ["a"] and picks["X"].dtype == np.float32


def test_locate_refuses_a_reference_without_a_size() -> None:
    with pytest.raises(InputError, match=r"x_3gl1\.mrc.*1bxn"):
        locate(map_of(np.zeros((5, 5, 5)), names=["x_3gl1.mrc"]), box_sizes={"1bxn": 3}, progress=False)


@pytest.mark.parametrize("number", [0, 1])
def test_same_maxima_and_picks_as_tomotwin(shared: Path, number: int) -> None:
    folder = shared / "interop" / "locate"
    case = json.loads((folder / "expected.json").read_text())[number]
    volume = np.load(folder / "volumes.npz")[f"volume_{number}"].astype(np.float32).T
    origin = 0 if case["padding"] else case["window_size"] // 2

    maxima = find_maxima(volume, case["tolerance"], case["global_min"])
    found = np.column_stack(
        [origin + case["stride"] * maxima.positions[:, ::-1], maxima.sizes, maxima.values]
    )
    _assert_same_rows(found, np.array(case["maxima"]))
    assert (np.diff(maxima.values) <= 0).all()

    # No two maxima of these volumes overlap enough to be suppressed, in whatever order.
    picks = locate(
        map_of(volume, names=["a"], origin=origin),
        tolerance=case["tolerance"],
        global_min=case["global_min"],
        box_sizes=case["boxsize"],
        progress=False,
    )
    _assert_same_rows(picks[["X", "Y", "Z", "size", "metric_best"]].to_numpy(), np.array(case["picks"]))


def test_same_picks_as_a_published_run(shared: Path) -> None:
    published = pd.read_pickle(shared / "interop" / "real" / "located.tloc")
    volume = published.attrs["heatmap"].astype(np.float32).T
    picks = locate(map_of(volume, names=["a"], origin=18), progress=False)
    columns = ["X", "Y", "Z", "size", "metric_best"]
    _assert_same_rows(picks[columns].to_numpy(), published[columns].to_numpy(np.float64))


def _assert_same_rows(found: FloatArray, expected: FloatArray) -> None:
    """Rows X, Y, Z, size, metric, in whatever order: positions within 0.5, the others equal."""
    assert len(found) == len(expected)
    apart = np.abs(found[:, None, :3] - expected[:, :3]).max(axis=-1)
    partner = apart.argmin(axis=1)
    assert sorted(partner) == list(range(len(expected)))
    assert apart.min(axis=1).max() < 0.5
    np.testing.assert_array_equal(found[:, 3], expected[partner, 3])
    np.testing.assert_allclose(found[:, 4], expected[partner, 4], atol=1e-7)
