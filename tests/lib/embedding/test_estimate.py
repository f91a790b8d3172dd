"""What embedding will take: told before it begins, and refused where it cannot fit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from tomotwin_lib.embedding import estimate as module
from tomotwin_lib.embedding.estimate import Estimate, duration, require_disk
from tomotwin_lib.embedding.tomograms import Method, embed_tomogram
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.half_precision import halved
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.networks.fully_convolutional import FullyConvolutional


@pytest.fixture(scope="module")
def loaded() -> LoadedNetwork:
    torch.manual_seed(1)
    network = FullyConvolutional(width=2, output_channels=8).eval()
    return LoadedNetwork(network, {"distance": "COSINE"}, Path("net.pth"), "0")


def volume(edge: int) -> Volume:
    data = np.random.default_rng(2).normal(size=(edge,) * 3).astype(np.float32)
    return Volume(data, None, Path("noise.mrc"))


def estimates(loaded: LoadedNetwork, edge: int, method: Method) -> Estimate:
    """The estimate for a volume; the work itself is not done."""
    told: list[Estimate] = []

    def stop(estimate: Estimate) -> None:
        told.append(estimate)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        embed_tomogram(
            loaded, volume(edge), method=method, keep=halved, on_estimate=stop, progress=False, batch_size=8
        )
    return told[0]


@pytest.mark.parametrize("method", ["dense", "windows"])
def test_it_tells_positions_and_bytes(loaded: LoadedNetwork, method: Method) -> None:
    told = estimates(loaded, 40, method)
    assert told.positions == 20**3
    assert told.disk == 20**3 * (3 * 4 + 8 * 2), "three coordinates of 32 bits, eight channels of 16"
    assert 20**3 * 8 * 2 < told.memory < 2e9
    assert told.seconds > 0
    assert told.devices == ("cpu",)
    assert "8,000 positions on cpu" in str(told)


def test_more_work_takes_longer(loaded: LoadedNetwork) -> None:
    small, large = (estimates(loaded, edge, "windows") for edge in (40, 160))
    # 64 times as many; a trial may be disturbed several times over.
    assert large.seconds > 4 * small.seconds


def test_what_memory_cannot_hold_is_refused_before_the_work(
    loaded: LoadedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "available_host_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"8,000 positions takes about .* GB of memory") as caught:
        embed_tomogram(loaded, volume(40), progress=False)
    assert "--stride" in caught.value.remedy


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        total: int = 10**9
        used: int = 10**9
        free: int = 0

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage())
    needed = Estimate(1, ("cpu",), 1.0, 1, 1, 2 * 10**9)
    with pytest.raises(InputError, match=r"2\.0 GB are to be written"):
        require_disk(needed, tmp_path)


def test_times_are_told_as_people_say_them() -> None:
    assert [duration(seconds) for seconds in (0.1, 75, 600, 7200)] == ["1 s", "75 s", "10 min", "2.0 h"]


def test_the_largest_tile_counts(loaded: LoadedNetwork) -> None:
    # With an odd stride every residue is a pass with tiles of its own; the mask leaves the first one site.
    mask = np.zeros((60, 60, 60), dtype=np.int8)
    mask[1::2, 1::2, 1::2] = 1
    told: list[Estimate] = []

    def stop(estimate: Estimate) -> None:
        told.append(estimate)
        raise InterruptedError

    for corner in (1, 0):
        mask[0, 0, 0] = corner
        with pytest.raises(InterruptedError):
            embed_tomogram(
                loaded,
                volume(60),
                stride=1,
                mask=Volume(mask, None, Path("mask.mrc")),
                on_estimate=stop,
                progress=False,
            )
    with_corner, without = told
    assert with_corner.memory == pytest.approx(without.memory, rel=0.01)
