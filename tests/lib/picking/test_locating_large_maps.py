"""What TomoTwin's way of locating breaks on large maps: peaks on the seams of its blocks, and the memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tomotwin_lib import locating
from tomotwin_lib.locating import Maxima, find_maxima, locate
from tomotwin_lib.products import FloatArray, Grid, SimilarityMap

#: Edge of the blocks in which TomoTwin seeks maxima, in voxels of the map.
BLOCK = 200


def map_of(values: FloatArray, shape: tuple[int, int, int]) -> SimilarityMap:
    """A map of references r0, r1, … from (site, reference)."""
    return SimilarityMap(values, [f"r{n}" for n in range(values.shape[1])], Grid((0,) * 3, (2,) * 3, shape))


def peak_across_the_seam(axis: int) -> FloatArray:
    """A thin volume with one peak, on 199 and 200 of its long axis, that falls by 0.1 with each voxel."""
    shape = [5, 5, 5]
    shape[axis] = 2 * BLOCK + 10
    grid = np.stack(np.indices(shape), axis=-1)
    centre = np.full(3, 2.0)
    centre[axis] = BLOCK - 0.5
    away = np.abs(grid - centre)
    away[..., axis] = np.maximum(away[..., axis] - 0.5, 0)
    return np.clip(0.9 - 0.1 * away.max(axis=-1), 0, None).astype(np.float32)


def block_by_block(volume: FloatArray, axis: int, closed: bool) -> list[tuple[float, int]]:
    """Position along the axis and size of the maxima of each block of 200 voxels by itself.

    A block ends as a volume does, where nothing tells a maximum from a slope; ``closed`` it lies in nothing.
    """
    found = []
    for start in range(0, volume.shape[axis], BLOCK):
        block = np.take(volume, range(start, min(start + BLOCK, volume.shape[axis])), axis=axis)
        if closed:
            beside = [(0, 0)] * 3
            beside[axis] = (1, 1)
            block = np.pad(block, beside, constant_values=-np.inf)
        maxima = find_maxima(block, tolerance=0.15)
        along = start - closed + maxima.positions[:, axis]
        found += list(zip(along.tolist(), maxima.sizes.tolist(), strict=True))
    return found


@pytest.mark.parametrize("axis", range(3))
def test_a_peak_on_a_seam_of_blocks_is_one_pick(axis: int) -> None:
    volume = peak_across_the_seam(axis)
    picks = locate(map_of(volume.reshape(-1, 1), volume.shape), tolerance=0.15, progress=False)
    expected = [4.0, 4.0, 4.0]
    expected[axis] = 399.0
    assert picks[["Z", "Y", "X"]].to_numpy().round(4).tolist() == [expected]
    assert picks["size"].tolist() == [3 * 3 * 4]
    # In blocks the same peak is two halves, or none at all.
    assert block_by_block(volume, axis, closed=True) == [
        (pytest.approx(198.5), 3 * 3 * 2),
        (pytest.approx(200.5), 3 * 3 * 2),
    ]
    assert block_by_block(volume, axis, closed=False) == []


EDGE = 64
VOLUME_BYTES = EDGE**3 * np.dtype(np.float32).itemsize
REFERENCES = 16
#: In volumes: 2.8 were measured on this map, of which a sixth lies above the regions' lowest value. Sixteen
#: copies of a volume, or one for each of some hundred picks, are far beyond.
BOUND = 4
#: If every voxel counts; 8.5 were measured.
BOUND_FOR_ALL_VOXELS = 12


def smooth_map(references: int) -> SimilarityMap:
    """Smooth noise up to 1, with about a hundred picks a reference above 0.4."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((EDGE,) * 3), 1.5)
    noise = (noise / noise.max()).astype(np.float32)
    columns = [np.roll(noise, 7 * number, axis=0).ravel() for number in range(references)]
    return map_of(np.stack(columns, axis=1), (EDGE,) * 3)


def peak_in_volumes(similarity: SimilarityMap, global_min: float = 0.4) -> tuple[float, int]:
    """The most memory that locating takes beside the map, in volumes of 32-bit floats; and the picks."""
    tracemalloc.start()
    try:
        picks = locate(similarity, global_min=global_min, box_sizes=8, progress=False)
        return tracemalloc.get_traced_memory()[1] / VOLUME_BYTES, len(picks)
    finally:
        tracemalloc.stop()


def test_memory_is_a_few_volumes_whatever_the_references_and_picks() -> None:
    several, picks = peak_in_volumes(smooth_map(REFERENCES))
    one, _ = peak_in_volumes(smooth_map(1))
    assert picks > 1000
    assert several < BOUND
    assert several < 1.25 * one


def test_memory_where_every_voxel_counts() -> None:
    similarity = smooth_map(1)
    similarity.values[:] = 0.5 + 0.5 * similarity.values
    peak, picks = peak_in_volumes(similarity, global_min=0.0)
    assert picks > 0 and peak < BOUND_FOR_ALL_VOXELS


def test_a_volume_is_the_maps_own_memory() -> None:
    similarity = smooth_map(2)
    volume = similarity.volume(1)
    assert np.shares_memory(volume, similarity.values)
    with pytest.raises(ValueError):
        volume[0, 0, 0] = 1


def keep_a_volume_per_reference(volume: FloatArray, maxima: Maxima, kept: list[FloatArray]) -> None:
    kept.append(volume.copy())


def keep_a_volume_per_pick(volume: FloatArray, maxima: Maxima, kept: list[FloatArray]) -> None:
    kept[:] = [volume.copy() for _ in range(len(maxima))]


@pytest.mark.parametrize("copying", [keep_a_volume_per_reference, keep_a_volume_per_pick])
def test_the_bound_would_notice_copies_of_the_volume(
    copying: Callable[[FloatArray, Maxima, list[FloatArray]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[FloatArray] = []

    def find_and_copy(volume: FloatArray, tolerance: float, global_min: float) -> Maxima:
        maxima = find_maxima(volume, tolerance, global_min)
        copying(volume, maxima, kept)
        return maxima

    monkeypatch.setattr(locating, "find_maxima", find_and_copy)
    assert peak_in_volumes(smooth_map(REFERENCES))[0] > BOUND
