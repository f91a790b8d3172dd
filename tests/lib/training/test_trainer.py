"""Training runs, small but whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.checkpoint import load_checkpoint, load_network
from tomotwin_lib.networks.configuration import read_configuration
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.training import training_run
from tomotwin_lib.training.history import Epoch
from tomotwin_lib.training.trainer import train
from tomotwin_lib.training.training_run import StopTraining

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
        ({"max_negatives": 0}, "--max_neg"),
        ({"resume_from": "absent.pth"}, "absent.pth"),
        ({"densities": "absent"}, "absent"),
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


INTERRUPTED = {
    "cosine": ({"schedule": "cosine"}, {}),
    "plateau": ({"schedule": "plateau", "patience": 1, "optimizer": "Adam"}, {}),
    "directions": ({"loss": "ArcFaceLoss", "scaled_classes": [0.8]}, {}),
    "miner": ({"loss": "TripletLoss", "miner": {"name": "DistanceWeightedMiner"}}, {}),
    "densities": ({"loss": "TripletLoss"}, {"densities": True, "max_negatives": 2}),
}


@pytest.mark.parametrize("case", INTERRUPTED)
def test_an_interruption_changes_nothing(
    folders: dict[str, Path], densities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    changes, options = INTERRUPTED[case]
    configuration = {**CONFIGURATION, "train_config": {**CONFIGURATION["train_config"], **changes}}
    options = {**folders, **options, "epochs": 3, "device": "cpu", "seed": 5, "progress": False}
    if "densities" in options:
        options["densities"] = densities
    whole = train(configuration, output=tmp_path / "whole", **options)

    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(training_run, "LATEST_SECONDS", -1.0)
    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        train(configuration, output=cut, on_epoch=interrupt, **options)
    assert not (cut / "final.pth").exists()
    resumed = train(configuration, output=cut, resume_from=cut / "latest.pth", **options)

    first, second = (load_checkpoint(result.final) for result in (whole, resumed))
    for name, tensor in first["model_state_dict"].items():
        torch.testing.assert_close(second["model_state_dict"][name], tensor, rtol=0, atol=0)
    for name, tensor in first["training_state"]["loss"].items():
        torch.testing.assert_close(second["training_state"]["loss"][name], tensor, rtol=0, atol=0)
    columns = ["epoch", "train_loss", "valid_loss", "valid_f1", "learning_rate"]
    pd.testing.assert_frame_equal(resumed.history[columns], whole.history[columns], check_exact=True)


def test_a_run_goes_on_only_as_it_was_begun(
    folders: dict[str, Path], densities: Path, tmp_path: Path
) -> None:
    run(folders, tmp_path, epochs=1, densities=densities, max_negatives=3)
    latest = tmp_path / "latest.pth"
    with pytest.raises(InputError, match=r"3 negatives of an anchor and the densities 1bar\.mrc, 1slb\.mrc"):
        run(folders, tmp_path, epochs=2, resume_from=latest)
    with pytest.raises(InputError, match="not all negatives of an anchor"):
        run(folders, tmp_path, epochs=2, resume_from=latest, densities=densities)
    again = run(folders, tmp_path, epochs=2, resume_from=latest, densities=densities, max_negatives=3)
    assert len(again.history) == 2


def test_densities_teach_to_find_their_subvolumes(
    folders: dict[str, Path], densities: Path, tmp_path: Path
) -> None:
    result = run(folders, tmp_path, epochs=15, densities=densities)
    assert result.history["valid_f1"].max() == 1.0
    assert result.history["train_loss"].iloc[-3:].mean() < result.history["train_loss"].iloc[:3].mean()
    network = load_network(result.best_f1, "cpu").network
    volumes = training_run.Densities(densities, 37, ["1bar", "1slb"])
    subvolumes = training_run.LabelledSubvolumes(folders["validation"], 37, progress=False)
    with torch.no_grad():
        anchors = network(volumes.volumes)
        vectors = network(torch.stack([subvolumes[i][0] for i in range(len(subvolumes))]))
    assert (vectors @ anchors.T).argmax(dim=1).tolist() == subvolumes.labels.tolist()


def test_anchors_are_densities_in_every_batch(
    folders: dict[str, Path], densities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    forward = training_run.MetricLoss.forward

    def spy(self: Any, embeddings: Any, labels: Any, negatives: Any = None, **more: Any) -> Any:
        seen.append((labels.tolist(), None if negatives is None else len(negatives), more["densities"]))
        return forward(self, embeddings, labels, negatives, **more)

    monkeypatch.setattr(training_run.MetricLoss, "forward", spy)
    run(folders, tmp_path, epochs=1, densities=densities)
    *batches, validation = seen
    for labels, negatives, count in batches:  # a quarter of 8 subvolumes off centre, a quarter background
        assert (count, negatives) == (2, 4)
        assert labels[:2] == [0, 1] and sorted(labels[2:]) == [0] * 4 + [1] * 4
    assert validation[0][:2] == [0, 1] and len(validation[0]) == 8 and validation[2] == 2


def test_classes_that_are_only_negatives(folders: dict[str, Path], tmp_path: Path) -> None:
    configuration = {
        **CONFIGURATION,
        "train_config": {**CONFIGURATION["train_config"], "only_negative_labels": ["1SLB"]},
    }
    seen = []
    train(
        configuration,
        output=tmp_path,
        device="cpu",
        epochs=2,
        progress=False,
        on_epoch=lambda epoch: seen.append(epoch.train_loss),
        **folders,
    )
    assert len(seen) == 2 and all(np.isfinite(seen)) and min(seen) > 0


def test_a_run_can_be_told_to_end(folders: dict[str, Path], tmp_path: Path) -> None:
    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 1:
            raise StopTraining

    result = run(folders, tmp_path, epochs=9, on_epoch=stop)
    assert result.history["epoch"].tolist() == [0, 1]
    assert load_checkpoint(result.final)["epoch"] == 1
    assert (tmp_path / "training_curve.png").is_file()


def test_tensorboard_shows_the_history(folders: dict[str, Path], tmp_path: Path) -> None:
    history = run(folders, tmp_path, epochs=2).history
    log = EventAccumulator(str(tmp_path)).Reload()
    names = {  # the first three are TomoTwin's, so that runs of both stand beside each other
        "Loss/train": "train_loss",
        "Loss/validation": "valid_loss",
        "F1/validation": "valid_f1",
        "learning_rate": "learning_rate",
        "seconds": "seconds",
    }
    assert set(log.Tags()["scalars"]) == set(names)
    for tag, name in names.items():
        events = log.Scalars(tag)
        assert [event.step for event in events] == [0, 1]
        assert [event.value for event in events] == pytest.approx(history[name].tolist())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config_siamese.json", "config_resnet.json"])
def test_tomotwins_configurations_train_as_they_are(
    folders: dict[str, Path], tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # With the optimizer's state each of the four checkpoints would be a gigabyte.
    saved: dict[str, Any] = {}
    monkeypatch.setattr(
        training_run, "save_checkpoint", lambda path, *content, **more: saved.update({path.name: content})
    )
    configuration = read_configuration(shared / "reference" / name)
    few = tmp_path / "few"
    few.mkdir()
    for kind in ("1bar", "1slb"):
        for path in sorted(folders["volumes"].glob(f"*{kind}*"))[:2]:
            (few / path.name).write_bytes(path.read_bytes())
    result = train(configuration, few, few, tmp_path / "out", epochs=1, device="cpu", seed=1, progress=False)
    assert np.isfinite(result.history[["train_loss", "valid_loss"]].to_numpy()).all()
    assert set(saved) == {"latest.pth", "final.pth", "best_loss.pth", "best_f1.pth"}
    network, kept = saved["final.pth"]
    assert kept["train_config"] == configuration["train_config"]
    torch.manual_seed(1)
    before, after = build_network(configuration).state_dict(), network.state_dict()
    changed = [key for key, tensor in after.items() if not torch.equal(tensor, before[key])]
    assert len(changed) > len(before) / 2
