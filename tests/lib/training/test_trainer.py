"""Training runs, small but whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.networks.checkpoint import load_checkpoint, load_network
from tomotwin_lib.training.trainer import train

CONFIGURATION: dict[str, Any] = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 2, "output_channels": 8},
    "train_config": {
        "batchsize": 8,
        "schedule": "cosine",
        "learning_rate": 0.01,
        "off_centre": 0.25,
        "background": 0.25,
        "aug_rotation": "half_turns",
    },
    "distance": "COSINE",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two kinds that differ plainly: a bar along z and a slab across it, in little noise."""
    root = tmp_path_factory.mktemp("subvolumes")
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("valid", 3)):
        for kind, where in (("1bar", np.s_[8:29, 16:21, 16:21]), ("1slb", np.s_[16:21, 8:29, 8:29])):
            for number in range(count):
                volume = generator.normal(0, 0.5, (37, 37, 37)).astype(np.float32)
                volume[where] += 2
                write_volume(root / part / f"sim_{kind}_{number}.mrc", volume, 10.0)
    return {"volumes": root / "train", "validation": root / "valid"}


def run(folders: dict[str, Path], output: Path, **options: Any) -> Any:
    return train(
        CONFIGURATION, output=output, device="cpu", progress=False, **{"epochs": 4, **folders, **options}
    )


def test_a_run_learns_and_leaves_everything_it_promises(folders: dict[str, Path], tmp_path: Path) -> None:
    before = json.dumps(CONFIGURATION)
    result = run(folders, tmp_path / "out", epochs=12, save_after_improvement=True)
    history = result.history
    assert history["train_loss"].iloc[-3:].mean() < history["train_loss"].iloc[:3].mean()
    assert history["valid_f1"].max() == 1.0
    pd.testing.assert_frame_equal(pd.read_csv(result.folder / "history.csv"), history)
    names = {path.name for path in result.folder.iterdir()}
    assert names >= {
        "latest.pth",
        "final.pth",
        "best_loss.pth",
        "best_f1.pth",
        "history.csv",
        "training_curve.png",
    }
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert any(name.startswith("best_model_000") for name in names)
    assert json.dumps(CONFIGURATION) == before

    best = load_checkpoint(result.best_loss)
    assert best["best_loss"] == best["loss"] == pytest.approx(history["valid_loss"].min())
    assert best["epoch"] == history["valid_loss"].idxmin()
    assert best["tomotwin_config"]["window_size"] == (37, 37, 37)
    loaded = load_network(result.best_f1, "cpu")
    assert loaded.network(torch.zeros(1, 1, 37, 37, 37)).shape == (1, 8)


def test_the_same_seed_gives_the_same_weights_and_a_stopped_run_ends_there_too(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    # The cosine schedule spans the run, so a run of two epochs is no first half of one of four; plateau is.
    configured = {**CONFIGURATION, "train_config": {**CONFIGURATION["train_config"], "schedule": "plateau"}}
    whole = train(
        configured, output=tmp_path / "whole", device="cpu", seed=3, epochs=4, progress=False, **folders
    )
    train(configured, output=tmp_path / "cut", device="cpu", seed=3, epochs=2, progress=False, **folders)
    resumed = train(
        configured,
        output=tmp_path / "cut",
        device="cpu",
        epochs=4,
        resume_from=tmp_path / "cut" / "latest.pth",
        progress=False,
        **folders,
    )
    first, second = (load_checkpoint(result.final)["model_state_dict"] for result in (whole, resumed))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=0)
    assert len(resumed.history) == 4
    different = train(
        configured, output=tmp_path / "other", device="cpu", seed=4, epochs=4, progress=False, **folders
    )
    other = load_checkpoint(different.final)["model_state_dict"]
    assert any(not torch.equal(other[name], tensor) for name, tensor in first.items())


def test_time_can_end_a_run(folders: dict[str, Path], tmp_path: Path) -> None:
    result = run(folders, tmp_path, epochs=10_000, max_minutes=0.02)
    assert 1 <= len(result.history) < 10_000
    assert result.final.is_file()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"epochs": 0}, "--epochs"),
        ({"max_minutes": 0.0}, "--max-minutes"),
        ({"resume_from": "absent.pth"}, "absent.pth"),
    ],
)
def test_bad_options_are_refused(
    folders: dict[str, Path], tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        run(folders, tmp_path, **options)


def test_one_class_is_nothing_to_learn_from(folders: dict[str, Path], tmp_path: Path) -> None:
    only = tmp_path / "only"
    only.mkdir()
    for path in folders["volumes"].glob("*1bar*"):
        (only / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="1bar"):
        run({"volumes": only, "validation": only}, tmp_path / "out")


def test_a_checkpoint_of_another_configuration_is_not_resumed(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    result = run(folders, tmp_path, epochs=1)
    other = {**CONFIGURATION, "network_config": {"width": 3, "output_channels": 8}}
    with pytest.raises(InputError, match="another configuration"):
        train(other, output=tmp_path, resume_from=result.final, progress=False, device="cpu", **folders)


def test_a_trained_network_is_not_replaced_unasked(folders: dict[str, Path], tmp_path: Path) -> None:
    run(folders, tmp_path, epochs=2)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.pth")}
    with pytest.raises(InputError, match="--overwrite"):
        run(folders, tmp_path, epochs=1)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pth")} == before
    run(folders, tmp_path, epochs=1, overwrite=True)
    assert (tmp_path / "final.pth").read_bytes() != before["final.pth"]


def test_scaled_classes_are_more_classes_to_learn(folders: dict[str, Path], tmp_path: Path) -> None:
    configuration = {
        **CONFIGURATION,
        "train_config": {**CONFIGURATION["train_config"], "loss": "ArcFaceLoss"},
    }
    configuration["train_config"]["scaled_classes"] = [0.8, 1.25]
    train(configuration, output=tmp_path, device="cpu", progress=False, epochs=1, **folders)
    state = load_checkpoint(tmp_path / "latest.pth")["training_state"]
    assert [tuple(tensor.shape) for tensor in state["loss"].values()] == [(8, 6)]
