"""Several networks as one: what the parts give, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tomotwin_lib.cli.main import main
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.networks.checkpoint import LoadedNetwork, load_network, save_checkpoint
from tomotwin_lib.networks.ensemble import Ensemble, combine_checkpoints
from tomotwin_lib.networks.half_turns import average_half_turns
from tomotwin_lib.networks.registry import build_network

SIAMESE = {
    "identifier": "SiameseNet",
    "network_config": {
        "output_channels": 8,
        "norm_name": "GroupNorm",
        "norm_kwargs": {"num_groups": 8, "num_channels": 64},
    },
}


def configuration(width: int = 2, channels: int = 4, **more: Any) -> dict[str, Any]:
    network = {"width": width, "output_channels": channels, **more}
    return {"identifier": "FullyConvolutional", "network_config": network, "distance": "COSINE"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("members")
    paths = []
    for number, member in enumerate((configuration(), configuration(width=4, channels=6))):
        torch.manual_seed(number)
        path = folder / f"{number}.pth"
        save_checkpoint(path, build_network(member), member, epoch=1, loss=1, best_loss=1, best_f1=0.5)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def combined(checkpoints: list[Path]) -> LoadedNetwork:
    output = checkpoints[0].parent / "both.pth"
    assert combine_checkpoints(checkpoints, output) == 10
    return load_network(output, "cpu")


def test_a_cosine_is_the_mean_of_the_members_cosines(
    combined: LoadedNetwork, checkpoints: list[Path]
) -> None:
    windows = torch.randn(2, 1, 37, 37, 37, generator=torch.Generator().manual_seed(5))
    first, second = combined.network(windows)
    members = [load_network(path, "cpu").network(windows) for path in checkpoints]
    expected = np.mean([float(pair[0] @ pair[1]) for pair in members])
    assert float(first @ second) == pytest.approx(expected, abs=1e-6)
    assert float(first.norm()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("half_turns", [False, True])
def test_weights_say_how_much_each_member_counts(
    checkpoints: list[Path], tmp_path: Path, half_turns: bool
) -> None:
    output = tmp_path / "weighted.pth"
    arguments = ["tools", "combine_networks", "-m", *map(str, checkpoints), "--weights", "9", "1"]
    assert main([*arguments, "-o", str(output)]) == 0
    windows = torch.randn(2, 1, 37, 37, 37, generator=torch.Generator().manual_seed(5))
    loaded, *members = (load_network(path, "cpu") for path in (output, *checkpoints))
    if half_turns:
        loaded, *members = (average_half_turns(network) for network in (loaded, *members))
    first, second = loaded.network(windows)
    apart = [float(pair[0] @ pair[1]) for pair in (member.network(windows) for member in members)]
    assert float(first @ second) == pytest.approx(0.9 * apart[0] + 0.1 * apart[1], abs=1e-6)
    assert float(first.norm()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")]])
def test_weights_that_make_no_sense_are_refused(
    checkpoints: list[Path], tmp_path: Path, weights: list[float]
) -> None:
    with pytest.raises(InputError, match="one number above 0"):
        combine_checkpoints(checkpoints, tmp_path / "both.pth", weights)


@pytest.mark.parametrize("half_turns", [False, True])
def test_dense_equals_window_by_window(combined: LoadedNetwork, tmp_path: Path, half_turns: bool) -> None:
    loaded = average_half_turns(combined) if half_turns else combined
    data = np.random.default_rng(1).normal(size=(39, 41, 40)).astype(np.float32)
    volume = Volume(data, None, tmp_path / "noise.mrc")
    dense, windows = (
        embed_tomogram(loaded, volume, padding=False, method=method, progress=False).vectors
        for method in ("dense", "windows")
    )
    assert dense.shape == (2 * 3 * 2, 10)
    assert np.abs(dense - windows).max() < 1e-4


def test_half_turns_are_averaged_within_each_member(combined: LoadedNetwork, checkpoints: list[Path]) -> None:
    window = torch.randn(1, 1, 37, 37, 37, generator=torch.Generator().manual_seed(6))
    members = [average_half_turns(load_network(path, "cpu")).network(window) for path in checkpoints]
    expected = torch.cat(members, dim=1) / 2**0.5
    assert torch.allclose(average_half_turns(combined).network(window), expected, atol=1e-6)


def test_how_the_members_were_trained_stays_known(combined: LoadedNetwork, checkpoints: list[Path]) -> None:
    members = combined.configuration["network_config"]["members"]
    assert [member["checkpoint_md5"] for member in members] == [
        load_network(path, "cpu").md5 for path in checkpoints
    ]


def test_what_does_not_fit_together_is_refused(checkpoints: list[Path], tmp_path: Path) -> None:
    other = {**configuration(), "distance": "EUCLIDEAN"}
    path = tmp_path / "other.pth"
    save_checkpoint(path, build_network(other), other, epoch=1, loss=1, best_loss=1, best_f1=0.5)
    with pytest.raises(InputError, match="COSINE and EUCLIDEAN"):
        combine_checkpoints([checkpoints[0], path], tmp_path / "both.pth")
    with pytest.raises(InputError, match="two or more"):
        combine_checkpoints(checkpoints[:1], tmp_path / "both.pth")
    with pytest.raises(InputError, match="SiameseNet cannot be evaluated densely"):
        Ensemble([configuration(), SIAMESE])
    assert not (tmp_path / "both.pth").exists()


def test_the_command_writes_what_embeds(checkpoints: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "both.pth"
    arguments = ["tools", "combine_networks", "-m", *map(str, checkpoints), "-o", str(output)]
    assert main(arguments) == 0
    assert isinstance(load_network(output, "cpu").network, Ensemble)
    assert main(arguments) != 0, "an existing network is not replaced"
