from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import read_volume, write_volume
from tomotwin_lib.heatmaps import check_heatmap_files, heatmap, tomogram_shape, write_heatmap
from tomotwin_lib.products import FloatArray, Grid, IntArray, SimilarityMap


def map_of(
    values: FloatArray, origin: int, stride: int, sites: IntArray | None = None, **attributes: Any
) -> SimilarityMap:
    grid = Grid((origin,) * 3, (stride,) * 3, values.shape[:3])  # type: ignore[arg-type]
    flat = values.reshape(-1, 1) if sites is None else values.reshape(-1, 1)[sites]
    return SimilarityMap(flat, ["a.mrc"], grid, sites, {"window_size": 37, **attributes})


def ramp(z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
    """A linear function of the position, which linear interpolation restores."""
    return (0.1 * z[:, None, None] + 0.01 * y[:, None] - 0.002 * x + 0.3).astype(np.float32)


def test_values_lie_at_their_positions_and_between_them_on_a_line() -> None:
    # 11 × 13 × 10 voxels at a stride of 3: centres 0, 3, 6, 9 (, 12).
    axes = [np.arange(0, n, 3) for n in (11, 13, 10)]
    similarity = map_of(ramp(*axes), 0, 3, padding=True, tomogram_input_shape=(47, 49, 46))
    result = heatmap(similarity, "a.mrc")
    assert result.shape == (11, 13, 10) and result.dtype == np.float32
    np.testing.assert_allclose(result[:10], ramp(np.arange(10), np.arange(13), np.arange(10)), atol=1e-6)
    # Voxel 10 along z lies behind the last centre, 9, by less than a stride.
    np.testing.assert_array_equal(result[10], result[9])


def test_without_padding_the_border_is_dark() -> None:
    axes = [18 + 2 * np.arange(n) for n in (3, 2, 4)]
    similarity = map_of(ramp(*axes), 18, 2, padding=False, tomogram_input_shape=(41, 39, 44))
    result = heatmap(similarity, 0)
    assert result.shape == (41, 39, 44)
    inside = np.s_[18:23, 18:21, 18:25]
    expected = ramp(np.arange(18, 23), np.arange(18, 21), np.arange(18, 25))
    np.testing.assert_allclose(result[inside], expected, atol=1e-6)
    dark = np.ones(result.shape, dtype=bool)
    dark[inside] = False
    assert (result[dark] == similarity.values.min()).all()


def test_masked_positions_are_dark() -> None:
    values = np.full((3, 3, 3), 0.8, dtype=np.float32)
    values[0, 0, 0] = 0.1
    sites = np.flatnonzero(np.arange(27) != 13)  # all but the one in the middle
    result = heatmap(map_of(values, 0, 2, sites, padding=True, tomogram_input_shape=(41, 41, 41)), 0)
    assert result[2, 2, 2] == np.float32(0.1)
    assert result[2, 2, 4] == np.float32(0.8)
    assert np.isfinite(result).all()


def test_a_range_of_z_lies_at_its_height() -> None:
    values = np.arange(2 * 5 * 5, dtype=np.float32).reshape(2, 5, 5)
    grid = Grid((20, 0, 0), (2, 2, 2), (2, 5, 5))
    attributes = {"padding": True, "window_size": 37, "tomogram_input_shape": (76, 46, 46)}
    result = heatmap(SimilarityMap(values.reshape(-1, 1), ["a"], grid, None, attributes), 0)
    assert result.shape == (40, 10, 10)
    np.testing.assert_array_equal(result[20, ::2, ::2], values[0])
    np.testing.assert_array_equal(result[22, ::2, ::2], values[1])
    np.testing.assert_array_equal(result[21, ::2, ::2], values.mean(axis=0))
    assert (result[:20] == 0).all() and (result[23:] == 0).all()


@pytest.mark.parametrize(
    ("origin", "attributes", "shape"),
    [
        (0, {"padding": True, "tomogram_input_shape": (76, 76, 77)}, (40, 40, 41)),
        (0, {"padding": True, "tomogram_input_shape": (40, 40, 40)}, (40, 40, 40)),
        (18, {"padding": False, "tomogram_input_shape": [76, 76, 75]}, (76, 76, 75)),
        (0, {"padding": True}, (39, 39, 39)),
        (18, {}, (75, 75, 75)),
    ],
)
def test_shape_of_the_tomogram(origin: int, attributes: dict[str, Any], shape: tuple[int, ...]) -> None:
    assert tomogram_shape(map_of(np.zeros((20, 20, 20)), origin, 2, **attributes)) == shape


def test_what_is_not_there() -> None:
    similarity = map_of(np.zeros((2, 2, 2)), 0, 2)
    with pytest.raises(InputError, match=r"b\.mrc.*a\.mrc"):
        heatmap(similarity, "b.mrc")
    with pytest.raises(InputError, match="1"):
        heatmap(similarity, 1)
    similarity.values[:] = np.nan
    with pytest.raises(InputError, match="no value"):
        heatmap(similarity, 0)


def test_only_heatmaps_may_be_replaced(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    ours, gone = tmp_path / "a.mrc", tmp_path / "b.mrc"
    write_heatmap(ours, values, 10.0)
    np.testing.assert_array_equal(read_volume(ours).data, values)
    with mrcfile.open(ours) as mrc:  # what other programs see
        assert "heatmap" in " ".join(mrc.get_labels())
    check_heatmap_files([ours, gone])
    # The same voxels without the label, what is no volume at all, and a folder: none of them is a heatmap.
    write_volume(tmp_path / "volume.mrc", values, 10.0)
    (tmp_path / "text.mrc").write_text("notes")
    (tmp_path / "folder.mrc").mkdir()
    for name in ("volume.mrc", "text.mrc", "folder.mrc"):
        with pytest.raises(InputError, match="would overwrite it") as caught:
            check_heatmap_files([ours, tmp_path / name])
        assert caught.value.source == str(tmp_path / name) and "-o" in caught.value.remedy
