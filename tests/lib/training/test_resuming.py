"""Runs that go on: elsewhere, with another seed, from TomoTwin's checkpoints, and back to TomoTwin."""

from __future__ import annotations

import copy
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.checkpoint import load_checkpoint
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.training import training_run
from tomotwin_lib.training.resuming import differences
from tomotwin_lib.training.trainer import TrainingResult, train

CONFIGURATION: dict[str, Any] = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 2, "output_channels": 8},
    "train_config": {"batchsize": 8, "learning_rate": 0.01, "optimizer": "Adam"},
    "distance": "COSINE",
}
ARCFACE = {**CONFIGURATION, "train_config": {**CONFIGURATION["train_config"], "loss": "ArcFaceLoss"}}


def run(
    folders: dict[str, Path], output: Path, configuration: dict[str, Any] = CONFIGURATION, **options: Any
) -> TrainingResult:
    return train(
        configuration, output=output, device="cpu", progress=False, **{"epochs": 1, **folders, **options}
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """What the next validations find: losses and F1, in place of the true ones."""
    given: list[tuple[float, float]] = []
    monkeypatch.setattr(training_run, "validate", lambda *_: given.pop(0))
    return given


def tomotwin_checkpoint(path: Path, **changes: Any) -> dict[str, Any]:
    """What TomoTwin writes after epoch 7, with the types and the prefix that it uses."""
    torch.manual_seed(8)
    network = build_network(CONFIGURATION)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
    network(torch.randn(2, 1, 37, 37, 37)).sum().backward()
    optimizer.step()
    content = {
        "model_state_dict": {f"module.{name}": tensor for name, tensor in network.state_dict().items()},
        "optimizer_state_dict": copy.deepcopy(optimizer.state_dict()),
        "tomotwin_config": {**CONFIGURATION, "window_size": [37, 37, 37]},
        "tt_version_train": "0.9.1",
        "epoch": 7,
        "loss": np.float32(0.3),
        "best_loss": np.float32(0.25),
        "best_f1": np.float64(0.75),
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return content


def test_another_runs_folder_is_refused_wherever_the_checkpoint_comes_from(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    run(folders, a, seed=1)
    run(folders, b, seed=2, save_after_improvement=True)
    before = contents(b)
    (b / "linked.pth").symlink_to(a / "latest.pth")
    for checkpoint in (a / "latest.pth", b / "linked.pth"):
        with pytest.raises(InputError, match=r"b: it holds a network .*--overwrite"):
            run(folders, b, epochs=2, resume_from=checkpoint)
    (b / "linked.pth").unlink()
    assert contents(b) == before

    (tmp_path / "same").symlink_to(b)
    assert len(run(folders, tmp_path / "same", epochs=2, resume_from=b / "latest.pth").history) == 2
    result = run(folders, b, epochs=2, resume_from=a / "latest.pth", overwrite=True)
    assert load_checkpoint(result.final)["training_state"]["seed"] == 1
    # Nothing of the other training is left that could be taken for a network of this one.
    assert not list(b.glob("best_model_*.pth"))


def test_a_run_that_goes_on_elsewhere_takes_its_best_networks_along(
    folders: dict[str, Path], tmp_path: Path, scores: list[tuple[float, float]]
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    scores += [(1.0, 0.9), (0.5, 0.8), (2.0, 0.1), (3.0, 0.2)]
    run(folders, a, epochs=2, save_after_improvement=True)
    (a / "best_of_all.pth").write_bytes(b"no checkpoint")
    shutil.copy(a / "best_f1.pth", a / "best_later.pth")
    later = torch.load(a / "best_later.pth", weights_only=True)
    torch.save({**later, "epoch": 5}, a / "best_later.pth")
    result = run(folders, b, epochs=4, resume_from=a / "latest.pth")
    assert not scores
    kept = {path.name for path in b.glob("best_*.pth")}
    assert kept == {"best_loss.pth", "best_f1.pth", "best_model_000_f1_loss.pth", "best_model_001_loss.pth"}
    assert all((b / name).read_bytes() == (a / name).read_bytes() for name in kept)
    assert (result.best_loss, result.best_f1) == (b / "best_loss.pth", b / "best_f1.pth")
    assert pd.read_csv(b / "history.csv")["valid_loss"].tolist() == [1.0, 0.5, 2.0, 3.0]
    # Nothing left to train is no reason to leave the folder incomplete.
    finished = run(folders, tmp_path / "c", epochs=4, resume_from=b / "latest.pth")
    names = {path.name for path in finished.folder.iterdir() if "tfevents" not in path.name}
    assert names == kept | {"latest.pth", "final.pth", "history.csv", "training_curve.png"}
    pd.testing.assert_frame_equal(pd.read_csv(finished.folder / "history.csv"), finished.history)


def test_only_files_that_exist_are_reported(
    folders: dict[str, Path], tmp_path: Path, scores: list[tuple[float, float]]
) -> None:
    scores += [(1.0, 0.9), (2.0, 0.1)]
    run(folders, tmp_path / "a")
    alone = tmp_path / "moved" / "latest.pth"
    alone.parent.mkdir()
    shutil.copy(tmp_path / "a" / "latest.pth", alone)
    result = run(folders, tmp_path / "b", epochs=2, resume_from=alone)
    assert (result.best_loss, result.best_f1) == (None, None)
    assert result.final.is_file() and not list(result.folder.glob("best_*.pth"))


def test_a_seed_is_not_passed_over(folders: dict[str, Path], tmp_path: Path) -> None:
    latest = run(folders, tmp_path, seed=3).folder / "latest.pth"
    with pytest.raises(InputError, match=r"--seed: it is 4, and .*latest\.pth comes from a run with 3"):
        run(folders, tmp_path, epochs=2, seed=4, resume_from=latest)
    for seed in (3, None):
        run(folders, tmp_path, epochs=2, seed=seed, resume_from=latest)
    assert load_checkpoint(latest)["training_state"]["seed"] == 3
    with pytest.raises(InputError, match="--seed: -1"):
        run(folders, tmp_path / "negative", seed=-1)


def test_a_training_of_tomotwin_goes_on(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tomotwin_checkpoint(tmp_path / "tt" / "latest.pth")
    seen: dict[str, Any] = {}

    def spy(self: Any, number: int, *_: float) -> float:
        if not seen:
            seen.update(
                number=number,
                weights={name: tensor.clone() for name, tensor in self.network.state_dict().items()},
                optimizer=copy.deepcopy(self.optimizer.state_dict()),
                best=(self.best_loss, self.best_f1),
            )
        return 0.5

    notes: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(training_run.TrainingRun, "_train_epoch", spy)
        result = run(
            folders, tmp_path / "spied", epochs=10, resume_from=tmp_path / "tt" / "latest.pth",
            on_note=notes.append,
        )  # fmt: skip
    assert (seen["number"], seen["best"]) == (8, (math.inf, -math.inf))
    for name, tensor in seen["weights"].items():
        torch.testing.assert_close(tensor, content["model_state_dict"][f"module.{name}"], rtol=0, atol=0)
    theirs = content["optimizer_state_dict"]
    assert seen["optimizer"]["param_groups"][0]["lr"] == 0.003
    assert seen["optimizer"]["state"].keys() == theirs["state"].keys()
    for number, entry in theirs["state"].items():
        for name, value in entry.items():
            torch.testing.assert_close(seen["optimizer"]["state"][number][name], value, rtol=0, atol=0)
    (note,) = notes
    assert "\n" not in note and "after its epoch 7" in note and "optimizer" not in note
    assert all(word in note for word in ("history", "best scores", "schedule", "scaler", "random numbers"))
    assert result.history["epoch"].tolist() == [8, 9]

    # Trained in truth, its history begins where TomoTwin stopped, and what comes of it goes on like any.
    out = tmp_path / "out"
    run(folders, out, epochs=9, resume_from=tmp_path / "tt" / "latest.pth")
    assert (out / "best_loss.pth").is_file() and (out / "best_f1.pth").is_file()
    again = run(folders, out, epochs=11, resume_from=out / "latest.pth", max_minutes=5)
    assert pd.read_csv(out / "history.csv")["epoch"].tolist() == [8, 9, 10]
    assert again.history["seconds"].is_monotonic_increasing
    assert load_checkpoint(again.final)["epoch"] == 10
    with pytest.raises(InputError, match="--epochs: it is 8, and 8 lie behind the checkpoint"):
        run(folders, tmp_path / "few", epochs=8, resume_from=tmp_path / "tt" / "latest.pth")


def test_time_is_shared_out_by_the_epochs_that_took_it(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomotwin_checkpoint(tmp_path / "tt.pth")
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(training_run, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    expected = []

    def spy(self: Any, number: int, share: float, step_share: float) -> float:
        expected.append((len(self.history.epochs), step_share))
        return 0.5

    monkeypatch.setattr(training_run.TrainingRun, "_train_epoch", spy)
    run(folders, tmp_path / "out", epochs=1000, resume_from=tmp_path / "tt.pth", max_minutes=2)
    # An epoch takes tens of the 120 seconds; divided by 9 epochs instead of by 1 it would look like few.
    (_, first), (done, second), *_ = expected
    assert first == 1 / 1000 and done == 1 and second >= 20 / 120


@pytest.mark.parametrize("case", ["count", "shape", "missing", "no state"])
def test_an_optimizer_that_does_not_fit_starts_anew(
    folders: dict[str, Path], tmp_path: Path, case: str
) -> None:
    state = tomotwin_checkpoint(tmp_path / "tt.pth")["optimizer_state_dict"]
    if case == "count":
        state["param_groups"][0]["params"].append(len(state["param_groups"][0]["params"]))
    elif case == "shape":
        state["state"][0]["exp_avg"] = state["state"][0]["exp_avg"][:1]
    elif case == "missing":
        del state["state"][1]["exp_avg_sq"]
    else:
        state = {}
    tomotwin_checkpoint(tmp_path / "tt.pth", optimizer_state_dict=state)
    notes: list[str] = []
    result = run(folders, tmp_path / "out", epochs=9, resume_from=tmp_path / "tt.pth", on_note=notes.append)
    assert "optimizer (its state does not fit)" in notes[0] and len(notes) == 1
    assert result.history["learning_rate"].tolist() == [0.01]


def test_another_network_is_refused_whoever_trained_it(folders: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "tt.pth"
    tomotwin_checkpoint(path)
    for change, named in (
        ({"network_config": {"width": 3, "output_channels": 8}}, r"network_config\.width is 2, not 3"),
        ({"distance": "SNR"}, "distance is 'COSINE', not 'SNR'"),
        ({"train_config": {"batchsize": 9}}, r"train_config\.batchsize is 8, not 9"),
    ):
        with pytest.raises(InputError, match=named):
            run(folders, tmp_path / "out", {**CONFIGURATION, **change}, epochs=9, resume_from=path)
    wrong = build_network({**CONFIGURATION, "network_config": {"width": 3, "output_channels": 8}})
    tomotwin_checkpoint(path, model_state_dict=wrong.state_dict())
    with pytest.raises(InputError, match="do not fit"):
        run(folders, tmp_path / "out", epochs=9, resume_from=path)
    for changes, named in (({"epoch": "last"}, "no numbers"), ({"best_f1": None}, "no numbers")):
        tomotwin_checkpoint(path, **changes)
        with pytest.raises(InputError, match=named):
            run(folders, tmp_path / "out", epochs=9, resume_from=path)
    content = tomotwin_checkpoint(path)
    torch.save({key: content[key] for key in ("model_state_dict", "tomotwin_config")}, path)
    with pytest.raises(InputError, match="no state to go on from"):
        run(folders, tmp_path / "out", epochs=9, resume_from=path)


def test_configurations_are_compared_by_what_they_mean() -> None:
    siamese = {
        "identifier": "SiameseNet",
        "network_config": {
            "output_channels": 32,
            "norm_name": "GroupNorm",
            "norm_kwargs": {"num_groups": 64},
        },
        "train_config": {"miner": True, "only_negative_labels": ["1abc"]},
    }
    built = copy.deepcopy(siamese)  # TomoTwin notes the channels of its last layer in its configuration
    built["network_config"]["norm_kwargs"]["num_channels"] = 1024  # type: ignore[index]
    built |= {"distance": "COSINE", "window_size": (37, 37, 37)}
    built["train_config"] = {"miner": True, "only_negative_labels": ("1abc",), "loss": "SupConLoss"}
    assert differences(built, siamese) == []
    old = {
        **siamese,
        "network_config": {"output_channels": 32, "groups": 64, "dropout": 0.5},
        "identifier": "siamesenet",
    }
    assert differences(old, siamese) == []
    other = {**siamese, "network_config": {"output_channels": 32, "groups": 32}}
    assert differences(other, siamese) == [
        "network_config.norm_kwargs is {'num_groups': 32}, not {'num_groups': 64}"
    ]
    assert differences({**siamese, "identifier": "Resnet"}, siamese)


def test_tomotwins_own_checkpoint_goes_on(folders: dict[str, Path], tmp_path: Path, shared: Path) -> None:
    path = shared / "interop" / "networks" / "model_dataparallel.pth"
    content = load_checkpoint(path)
    configuration = {key: content["tomotwin_config"][key] for key in CONFIGURATION}
    few = tmp_path / "few"
    few.mkdir()
    for kind in ("1bar", "1slb"):
        for file in sorted(folders["volumes"].glob(f"*{kind}*"))[:2]:
            shutil.copy(file, few)
    notes: list[str] = []
    result = run(
        {"volumes": few, "validation": few}, tmp_path / "out", configuration, epochs=9, resume_from=path,
        on_note=notes.append,
    )  # fmt: skip
    assert result.history["epoch"].tolist() == [8]
    assert result.history["learning_rate"].tolist() == [0.0001]  # the optimizer's, not the configuration's
    assert "optimizer" not in notes[0]


def test_tomotwins_optimizer_takes_the_state_back(folders: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = load_checkpoint(run(folders, tmp_path, ARCFACE).final)
    network = build_network(checkpoint["tomotwin_config"])
    network.load_state_dict(checkpoint["model_state_dict"])
    optimizer = torch.optim.Adam(network.parameters())
    optimizer.load_state_dict(checkpoint["optimizer_state_dict"])
    assert optimizer.param_groups[0]["lr"] == 0.01
    for parameter in network.parameters():
        assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape
        assert optimizer.state[parameter]["exp_avg_sq"].any()
    network(torch.zeros(2, 1, 37, 37, 37)).sum().backward()
    optimizer.step()
    (directions,) = checkpoint["training_state"]["loss"].values()
    (moments,) = checkpoint["training_state"]["optimizer"]["state"].values()
    assert moments["exp_avg"].shape == directions.shape


def test_what_the_directions_of_a_loss_cannot_go_on_from_is_said(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    notes: list[str] = []
    tomotwin_checkpoint(tmp_path / "tt.pth", tomotwin_config=ARCFACE)
    run(folders, tmp_path / "out", ARCFACE, epochs=9, resume_from=tmp_path / "tt.pth", on_note=notes.append)
    assert "directions of the classes in the ArcFaceLoss" in notes[0]

    # As earlier versions wrote it: one group for the network and the loss.
    path = tmp_path / "out" / "latest.pth"
    content = torch.load(path, weights_only=True)
    loss = content["training_state"].pop("optimizer")
    content["optimizer_state_dict"]["param_groups"][0]["params"] += loss["param_groups"][0]["params"]
    content["optimizer_state_dict"]["state"] |= loss["state"]
    torch.save(content, path)
    with pytest.raises(InputError, match="an earlier version of this library"):
        run(folders, tmp_path / "out", ARCFACE, epochs=10, resume_from=path)
