"""One device or several: the same result, and errors that are told."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tomotwin_lib.embedding.dense import embed_densely
from tomotwin_lib.embedding.preparation import Statistics
from tomotwin_lib.embedding.processes import _mapped
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume, read_volume, write_volume
from tomotwin_lib.half_precision import halved
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.networks.fully_convolutional import FullyConvolutional
from tomotwin_lib.products import FloatArray, Grid

CPU = torch.device("cpu")
GRID = Grid((0, 0, 0), (3, 2, 2), (8, 9, 10))

# A row passes it, several do not fit the result any more.
IN_ONE_ROW = operator.methodcaller("reshape", 1, -1)


@pytest.fixture(scope="module")
def network() -> FullyConvolutional:
    torch.manual_seed(0)
    return FullyConvolutional(width=4, output_channels=8).requires_grad_(False).eval()


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    write_volume(
        tmp_path / "t.mrc", np.random.default_rng(0).normal(size=(24, 18, 20)).astype(np.float32), None
    )
    return read_volume(tmp_path / "t.mrc")


def densely(network: FullyConvolutional, volume: Volume, processes: int, **options: Any) -> FloatArray:
    return embed_densely(
        network,
        volume.data,
        GRID,
        statistics=Statistics(0.1, 1.1),
        padding=True,
        device=[CPU] * processes,
        progress=False,
        tile_sites=4,
        **options,
    )


def test_tiles_of_two_processes_are_those_of_one(
    network: FullyConvolutional, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())
    sites = np.flatnonzero(np.random.default_rng(1).random(GRID.size) < 0.2)
    expected = densely(network, volume, 1, sites=sites, keep=halved)
    found = densely(network, volume, 2, sites=sites, keep=halved)
    assert found.dtype == np.float16 and type(found) is np.ndarray
    np.testing.assert_array_equal(found, expected)
    assert sorted(tmp_path.iterdir()) == before  # nothing stays behind


def test_batches_of_two_processes_are_those_of_one(network: FullyConvolutional) -> None:
    volume = Volume(np.random.default_rng(0).normal(size=(9, 8, 7)), None, Path("t.mrc"))  # in no file
    loaded = LoadedNetwork(network, {}, Path("m.pth"), "")
    one, two = (
        embed_tomogram(
            loaded, volume, method="windows", stride=3, batch_size=4, device=["cpu"] * count, progress=False
        )
        for count in (1, 2)
    )
    np.testing.assert_array_equal(two.vectors, one.vectors)
    assert one.attributes["embedding_devices"] == ["cpu"]
    assert two.attributes["embedding_devices"] == ["cpu", "cpu"]


@pytest.mark.parametrize("processes", [1, 2])
def test_what_goes_wrong_reaches_the_caller(
    network: FullyConvolutional, volume: Volume, processes: int
) -> None:
    error = ValueError if processes == 1 else RuntimeError
    with pytest.raises(error, match="shape" if processes == 1 else "on cpu failed: .*shape"):
        densely(network, volume, processes, keep=IN_ONE_ROW)


def test_no_room_for_the_result_is_told(
    network: FullyConvolutional, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(InputError, match=r"no room for 23,\d\d\d bytes .*No space left"):
        densely(network, volume, 2)


def test_a_mapped_file_is_not_copied_and_all_else_is(volume: Volume, tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    mapped = _mapped(volume.data, folder)
    assert mapped.path == volume.path.resolve() and not list(folder.iterdir())
    np.testing.assert_array_equal(mapped.open(), volume.data)
    for array in (volume.data[3:7], np.asarray(volume.data)[:, ::2]):
        mapped = _mapped(array, folder)
        assert mapped.path.parent == folder
        np.testing.assert_array_equal(mapped.open(), array)
