"""Checkpoints: round trips, TomoTwin's own, and files that ask for more than weights."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import md5_of_file
from tomotwin_lib.networks.checkpoint import load_checkpoint, load_network, load_weights, save_checkpoint
from tomotwin_lib.networks.registry import build_network

CONFIGURATION = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 2, "output_channels": 4},
    "distance": "COSINE",
}
SCORES = {"epoch": 3, "loss": 0.5, "best_loss": 0.25, "best_f1": 0.75}


class Marker:
    """Unpickling it creates a file: a stand-in for code that a file should not get to run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def save(path: Path, **more: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    network = build_network(CONFIGURATION)
    save_checkpoint(path, network, CONFIGURATION, **{**SCORES, **more})  # type: ignore[arg-type]
    return network


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    saved = save(path)
    loaded = load_network(path, "cpu")
    for name, tensor in saved.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[name], tensor)
    assert not loaded.network.training
    assert loaded.lineage() == {
        "modelpth": str(path),
        "modelmd5": md5_of_file(path),
        "tomotwin_config": CONFIGURATION,
    }
    assert {key: load_checkpoint(path)[key] for key in SCORES} == SCORES


def test_only_plain_types_are_saved(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    save(path, loss=np.float32(0.5))
    assert type(torch.load(path, weights_only=True)["loss"]) is float  # no allow-list needed


def test_numpy_scalars_and_the_prefix_of_data_parallel_training_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    network = save(path)
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    content = {
        "model_state_dict": state,
        "tomotwin_config": CONFIGURATION,
        "best_f1": np.float64(0.5),
        "loss": np.float32(1),
    }
    torch.save(content, path)
    loaded = load_network(path, "cpu")
    window = torch.randn(1, 1, 37, 37, 37)
    torch.testing.assert_close(loaded.network(window), network.eval()(window))


def test_nothing_that_a_checkpoint_asks_for_is_executed(tmp_path: Path) -> None:
    path, marker = tmp_path / "evil.pth", tmp_path / "executed"
    torch.save({"model_state_dict": {}, "tomotwin_config": CONFIGURATION, "loss": Marker(marker)}, path)
    with pytest.raises(InputError, match="which is not on the list"):
        load_network(path, "cpu")
    assert not marker.exists()


def test_unusable_files_are_named(tmp_path: Path) -> None:
    text, truncated, frame = tmp_path / "text.pth", tmp_path / "truncated.pth", tmp_path / "dict.pth"
    text.write_text("weights", encoding="utf-8")
    save(truncated)
    truncated.write_bytes(truncated.read_bytes()[:2000])
    torch.save({"model_state_dict": {}}, frame)
    for path in (text, truncated, frame, tmp_path / "absent.pth"):
        with pytest.raises(InputError, match=path.name):
            load_network(path, "cpu")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    network = save(path)
    wider = build_network({**CONFIGURATION, "network_config": {"width": 3}})
    with pytest.raises(InputError, match="do not fit"):
        load_weights(wider, network.state_dict(), path)


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    save(path)
    before = path.read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save(path, training_state={"state": lambda: None})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_tomotwins_checkpoint_with_optimizer_state_is_read(shared: Path) -> None:
    checkpoint = load_checkpoint(shared / "interop" / "networks" / "model_dataparallel.pth")
    assert set(checkpoint) > {"model_state_dict", "tomotwin_config", "optimizer_state_dict", "best_f1"}
