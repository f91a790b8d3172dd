"""Masks: particles are in, background is out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import read_volume, write_volume
from tomotwin_lib.masks import intensity_mask, median_mask
from tomotwin_lib.products import Grid, TomogramEmbedding


def test_dark_blobs_are_in_and_most_of_the_background_is_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(40, 60, 60)).astype(np.float32)
    centres = [(20, 15, 15), (20, 45, 40)]
    z, y, x = np.ogrid[:40, :60, :60]
    far = np.ones(data.shape, dtype=bool)
    for c in centres:
        distance = np.sqrt((z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2)
        data -= 5.0 * (distance < 5)
        far &= distance > 18
    # A gradient of the background, stronger than the particles, must not matter.
    data += np.linspace(0, 20, 60, dtype=np.float32)
    write_volume(tmp_path / "t.mrc", data, 10.0)
    mask = intensity_mask(read_volume(tmp_path / "t.mrc"))
    assert mask.shape == data.shape
    for c in centres:
        assert mask[c]
    assert mask[far].mean() < 0.6


def test_refuses_a_tomogram_without_contrast(tmp_path: Path) -> None:
    write_volume(tmp_path / "t.mrc", np.ones((8, 8, 8), dtype=np.float32), 10.0)
    with pytest.raises(InputError, match="every voxel is 1"):
        intensity_mask(read_volume(tmp_path / "t.mrc"))


@pytest.mark.parametrize(("dilation", "expected"), [(0, 1), (1, 7), (2, 33)])
def test_what_is_unlike_the_median_grows_by_a_ball(dilation: int, expected: int) -> None:
    # At stride 1 the mask is the grid itself: one position points elsewhere than all others. A ball of
    # radius 1 has 7 voxels, one of radius 2 has 33.
    vectors = np.tile(np.array([1, 0], dtype=np.float32), (9**3, 1))
    vectors[4 * 81 + 4 * 9 + 4] = [0, 1]
    grid = Grid((0, 0, 0), (1, 1, 1), (9, 9, 9))
    attributes = {"tomogram_input_shape": (9, 9, 9), "padding": False, "window_size": 37}
    attributes["tomotwin_config"] = {"distance": "COSINE"}  # type: ignore[assignment]
    mask = median_mask(TomogramEmbedding(vectors, grid, None, attributes), 0.5, dilation)
    assert mask.shape == (9, 9, 9) and mask[4, 4, 4]
    assert mask.sum() == expected


def test_refuses_a_negative_dilation() -> None:
    embedding = TomogramEmbedding(np.ones((1, 2), dtype=np.float32), Grid((0, 0, 0), (1, 1, 1), (1, 1, 1)))
    with pytest.raises(InputError, match="-1 is no radius"):
        median_mask(embedding, dilation=-1)
