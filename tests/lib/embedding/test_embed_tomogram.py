"""Embedding of tomograms against windows that are cut by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tomotwin_lib.embedding.grids import window_grid
from tomotwin_lib.embedding.preparation import Statistics, volume_statistics
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.embedding.windows import WindowWork, embed_windows
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.networks.fully_convolutional import FullyConvolutional
from tomotwin_lib.products import TomogramEmbedding


def embed(loaded: LoadedNetwork, volume: Volume, **options: Any) -> TomogramEmbedding:
    return embed_tomogram(loaded, volume, progress=False, **options)


def by_hand(loaded: LoadedNetwork, data: np.ndarray, positions: np.ndarray, padding: bool) -> np.ndarray:
    """One window after the other: cut, standardise, embed."""
    bright = -data.astype(np.float64)
    if loaded.network.standardisation == "volume":
        bright = (bright - bright.mean()) / bright.std()
    half = loaded.window_size // 2
    padded = np.pad(bright, half if padding else 0, mode="reflect")
    vectors = []
    for centre in positions.astype(int):
        start = centre if padding else centre - half
        window = padded[tuple(slice(s, s + loaded.window_size) for s in start)]
        if loaded.network.standardisation == "window":
            window = (window - window.mean()) / window.std()
        with torch.inference_mode():
            vectors.append(loaded.network(torch.from_numpy(window.astype(np.float32))[None, None])[0].numpy())
    return np.array(vectors)


@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("stride", [2, (1, 3, 2), (4, 5, 20)])
def test_vectors_are_those_of_windows_cut_by_hand(
    loaded: LoadedNetwork, volume: Volume, padding: bool, stride: Any
) -> None:
    embedding = embed(loaded, volume, stride=stride, padding=padding)
    assert embedding.sites is None and embedding.vectors.dtype == np.float32
    expected = by_hand(loaded, np.asarray(volume.data), embedding.positions(), padding)
    np.testing.assert_allclose(embedding.vectors, expected, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(embedding.vectors, axis=1), 1, atol=1e-6)


def test_a_volume_smaller_than_a_window_is_embedded_by_repeated_reflection(loaded: LoadedNetwork) -> None:
    data = np.random.default_rng(0).normal(size=(1, 2, 3)).astype(np.float32)
    embedding = embed(loaded, Volume(data, None, Path("t.mrc")), stride=1)
    np.testing.assert_allclose(
        embedding.vectors, by_hand(loaded, data, embedding.positions(), True), atol=2e-5
    )


def test_batches_and_slabs_change_nothing(loaded: LoadedNetwork, volume: Volume) -> None:
    expected = embed(loaded, volume, stride=(2, 1, 3)).vectors
    grid = window_grid(volume.data.shape, (2, 1, 3), 5)
    for batch_size, resident_voxels in ((1, 1), (7, 16 * 15 * 7), (1000, 16 * 15 * 8)):
        vectors = embed_windows(
            loaded.network,
            volume.data,
            grid,
            statistics=volume_statistics(volume.data),
            padding=True,
            batch_size=batch_size,
            device=torch.device("cpu"),
            progress=False,
            resident_voxels=resident_voxels,
        )
        np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["<i1", "<u2", ">i2", ">f4", "<f2", "<f8"])
@pytest.mark.parametrize("method", ["dense", "windows"])
def test_voxels_of_every_kind_are_read(kind: str, method: str) -> None:
    torch.manual_seed(0)
    loaded = LoadedNetwork(FullyConvolutional(width=2, output_channels=3).eval(), {}, Path("model.pth"), "")
    data = np.random.default_rng(0).integers(0, 100, size=(5, 6, 7))
    expected = embed(loaded, Volume(data.astype(np.float32), None, Path("t.mrc")), stride=3, method=method)
    found = embed(loaded, Volume(data.astype(kind), None, Path("t.mrc")), stride=3, method=method)
    np.testing.assert_array_equal(found.vectors, expected.vectors)


def test_slabs_are_as_large_as_the_bound_allows(window_loaded: LoadedNetwork) -> None:
    data = np.zeros((100, 10, 10), dtype=np.float32)
    grid = window_grid(data.shape, 2, 5, padding=False)
    one = Statistics(0.0, 1.0)
    work = WindowWork(window_loaded.network, data, grid, None, one, False, 9, resident_voxels=100 * 11)
    slabs = sorted({batch.slab for batch in work.units()})
    assert slabs[0] == (0, 4) and slabs[-1] == (44, 48)  # four windows, 2 apart, reach over 11 planes
    assert [a for a, _ in slabs[1:]] == [b for _, b in slabs[:-1]]


@pytest.mark.parametrize("padding", [True, False])
def test_mask_gives_a_subset_of_the_full_run(loaded: LoadedNetwork, volume: Volume, padding: bool) -> None:
    chosen = np.random.default_rng(1).random(volume.data.shape) < 0.2
    chosen[4:7] = False  # planes that hold nothing are passed over
    mask = Volume(chosen.astype(np.int8), None, Path("mask.mrc"))
    full = embed(loaded, volume, padding=padding)
    masked = embed(loaded, volume, padding=padding, mask=mask)
    inside = chosen[tuple(full.positions().astype(int).T)]
    np.testing.assert_array_equal(masked.positions(), full.positions()[inside])
    np.testing.assert_allclose(masked.vectors, full.vectors[inside], atol=1e-6)
    assert masked.attributes["mask"] == "mask.mrc"


@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("z_range", [(0, 4), (3, 7), (4, 9)])
def test_z_range_equals_the_slab_of_the_full_run(
    loaded: LoadedNetwork, volume: Volume, padding: bool, z_range: tuple[int, int]
) -> None:
    full = embed(loaded, volume, padding=padding)
    slab = embed(loaded, volume, padding=padding, z_range=z_range)
    z = full.positions()[:, 0]
    inside = (z >= z_range[0]) & (z < z_range[1])
    np.testing.assert_array_equal(slab.positions(), full.positions()[inside])
    np.testing.assert_allclose(slab.vectors, full.vectors[inside], atol=1e-6)
    assert slab.attributes["tomogram_input_shape"] == full.attributes["tomogram_input_shape"]


def test_attributes_are_the_lineage(window_loaded: LoadedNetwork, volume: Volume) -> None:
    padded = embed(window_loaded, volume, stride=(1, 2, 3)).attributes
    assert padded["stride"] == [3, 2, 1]  # x, y, z in the files
    assert padded["tomogram_input_shape"] == (13, 16, 15)
    assert padded["padding"] is True
    assert padded["window_size"] == 5
    assert padded["filepath"] == "tomogram.mrc"
    assert padded["modelpth"] == "model.pth" and padded["modelmd5"] == window_loaded.md5
    assert padded["tomotwin_config"] == window_loaded.configuration
    assert embed(window_loaded, volume, padding=False).attributes["tomogram_input_shape"] == (9, 12, 11)


def test_network_that_is_training_is_evaluated_and_goes_on_training(
    window_loaded: LoadedNetwork, volume: Volume
) -> None:
    expected = embed(window_loaded, volume, stride=4).vectors
    window_loaded.network.train()
    np.testing.assert_array_equal(embed(window_loaded, volume, stride=4).vectors, expected)
    assert window_loaded.network.training


@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("stride", [2, (4, 2, 3)])
def test_dense_and_windows_agree(padding: bool, stride: Any) -> None:
    torch.manual_seed(0)
    network = FullyConvolutional(width=2, output_channels=3).eval()
    loaded = LoadedNetwork(network, {}, Path("model.pth"), "")
    data = np.random.default_rng(0).normal(size=(40, 39, 41)).astype(np.float32)
    volume = Volume(data, None, Path("t.mrc"))
    chosen = np.random.default_rng(1).random(data.shape) < (0.02 if padding else 0.3)
    options = {
        "stride": stride,
        "padding": padding,
        "z_range": (5, 37),
        "mask": Volume(chosen, None, Path("mask.mrc")),
    }
    dense = embed(loaded, volume, **options)
    by_windows = embed(loaded, volume, method="windows", **options)
    assert (dense.attributes["embedding_method"], by_windows.attributes["embedding_method"]) == (
        "dense",
        "windows",
    )
    np.testing.assert_array_equal(dense.positions(), by_windows.positions())
    np.testing.assert_allclose(dense.vectors, by_windows.vectors, atol=1e-5)
    expected = by_hand(loaded, data, dense.positions()[:3], padding)
    np.testing.assert_allclose(dense.vectors[:3], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "--stride: 0"),
        ({"z_range": (5, 10)}, "--zrange: 5 to 10 .*9"),
        ({"z_range": (5, 5)}, "--zrange: 5 to 5 is empty"),
        ({"padding": False, "z_range": (0, 2)}, "centre"),
        ({"batch_size": 0}, "--batchsize: 0"),
        ({"method": "dense"}, "model.pth: WindowNetwork"),
        ({"method": "fast"}, "'fast'"),
        ({"device": "abacus"}, "abacus"),
        (
            {"mask": Volume(np.ones((9, 12, 10)), None, Path("mask.mrc"))},
            r"mask.mrc: .*9 × 12 × 10.*9 × 12 × 11",
        ),
        ({"mask": Volume(np.zeros((9, 12, 11)), None, Path("mask.mrc"))}, "mask.mrc: the mask leaves none"),
        ({"mask": Volume(np.full((9, 12, 11), np.nan), None, Path("mask.mrc"))}, "mask.mrc"),
    ],
)
def test_bad_options_are_refused_before_any_work(
    window_loaded: LoadedNetwork, volume: Volume, options: dict[str, Any], message: str, monkeypatch: Any
) -> None:
    def work(windows: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the network was run")

    monkeypatch.setattr(window_loaded.network, "forward", work)
    with pytest.raises(InputError, match=message):
        embed(window_loaded, volume, **options)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_voxels_that_are_not_finite_are_refused(
    window_loaded: LoadedNetwork, volume: Volume, value: float
) -> None:
    data = volume.data.astype(np.float32)
    data[3, 4, 5] = value
    with pytest.raises(InputError, match=r"bad.mrc"):
        embed(window_loaded, Volume(data, None, Path("bad.mrc")))


def test_constant_volume_is_refused(window_loaded: LoadedNetwork) -> None:
    with pytest.raises(InputError, match=r"bad.mrc: all voxels have the value 7"):
        embed(window_loaded, Volume(np.full((9, 9, 9), 7, dtype=np.int8), None, Path("bad.mrc")))


def test_volume_smaller_than_the_window_is_refused_without_padding(window_loaded: LoadedNetwork) -> None:
    data = np.random.default_rng(0).normal(size=(4, 9, 9))
    with pytest.raises(InputError, match=r"small.mrc: 4 × 9 × 9"):
        embed(window_loaded, Volume(data, None, Path("small.mrc")), padding=False)


def test_checkpoint_of_another_window_is_refused(window_loaded: LoadedNetwork, volume: Volume) -> None:
    other = dataclasses.replace(window_loaded, configuration={"window_size": (29, 29, 29)})
    with pytest.raises(InputError, match=r"model.pth: .*29"):
        embed(other, volume)


def test_network_with_broken_weights_is_named(window_loaded: LoadedNetwork, volume: Volume) -> None:
    with torch.no_grad():
        next(window_loaded.network.parameters()).fill_(torch.nan)
    with pytest.raises(InputError, match=r"model.pth: .*not finite"):
        embed(window_loaded, volume)


def test_progress_goes_to_the_screen_only_when_asked(
    window_loaded: LoadedNetwork, volume: Volume, capsys: pytest.CaptureFixture[str]
) -> None:
    embed(window_loaded, volume)
    assert capsys.readouterr().err == ""
    embed_tomogram(window_loaded, volume, progress=True)
    assert "position" in capsys.readouterr().err
