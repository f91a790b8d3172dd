"""The mean of the weights of networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tomotwin_lib.cli.main import main
from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.averaging import AVERAGE_OF, average_checkpoints
from tomotwin_lib.networks.checkpoint import load_checkpoint, load_network, save_checkpoint
from tomotwin_lib.networks.registry import build_network


def checkpoint(path: Path, seed: int = 0, distance: str = "COSINE", **network: Any) -> Path:
    """Of random weights, running statistics of batch normalisation included."""
    torch.manual_seed(seed)
    configuration = {
        "identifier": "FullyConvolutional",
        "network_config": {"width": 2, "output_channels": 4, **network},
        "distance": distance,
    }
    built = build_network(configuration)
    with torch.no_grad():
        for name, tensor in built.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.1)
            else:
                assert name.endswith("num_batches_tracked")
    save_checkpoint(
        path, built, configuration, epoch=1, loss=1, best_loss=1, best_f1=0.5, voxel_size_in_angstrom=10.0
    )
    return path


def test_every_weight_is_the_mean_and_the_result_embeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [checkpoint(tmp_path / f"{seed}.pth", seed) for seed in range(3)]
    output = tmp_path / "mean.pth"
    arguments = ["tools", "average_networks", "-m", *map(str, paths), "-o", str(output)]
    assert main(arguments) == 0
    parts = [load_checkpoint(path)["model_state_dict"] for path in paths]
    found = load_checkpoint(output)
    assert found["model_state_dict"].keys() == parts[0].keys()
    for name, tensor in found["model_state_dict"].items():
        expected = (parts[0][name] + parts[1][name] + parts[2][name]) / 3
        assert torch.allclose(tensor.double(), expected.double(), atol=1e-6), name
    assert found[AVERAGE_OF] == [load_network(path, "cpu").md5 for path in paths]
    capsys.readouterr()
    assert main(["info", str(output)]) == 0
    assert ", ".join(found[AVERAGE_OF]) in capsys.readouterr().out
    loaded = load_network(output, "cpu")
    assert loaded.voxel_size_in_angstrom == 10.0
    (vector,) = loaded.network(torch.randn(1, 1, 37, 37, 37))
    assert float(vector.norm()) == pytest.approx(1, abs=1e-5)
    assert main(arguments) != 0, "an existing network is not replaced"


@pytest.mark.parametrize(
    ("other", "told"),
    [({"width": 4}, "network_config"), ({"distance": "EUCLIDEAN"}, "its distance is EUCLIDEAN")],
)
def test_what_is_not_equal_is_refused(tmp_path: Path, other: dict[str, Any], told: str) -> None:
    paths = [checkpoint(tmp_path / "a.pth"), checkpoint(tmp_path / "b.pth", **other)]
    with pytest.raises(InputError, match=told) as refused:
        average_checkpoints(paths, tmp_path / "mean.pth")
    assert refused.value.source == str(paths[1])
    with pytest.raises(InputError, match="two or more"):
        average_checkpoints(paths[:1], tmp_path / "mean.pth")
    copy = tmp_path / "copy.pth"
    copy.write_bytes(paths[0].read_bytes())
    for same in (paths[0], copy):
        with pytest.raises(InputError, match=r"the same network as .*a\.pth"):
            average_checkpoints([paths[0], same], tmp_path / "mean.pth")
    assert not (tmp_path / "mean.pth").exists()
