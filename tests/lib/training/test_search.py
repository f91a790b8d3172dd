"""Searches, small but whole: what they leave, and that an interruption changes nothing."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.checkpoint import load_checkpoint
from tomotwin_lib.training import search as search_module
from tomotwin_lib.training import trainer, training_run
from tomotwin_lib.training.history import Epoch
from tomotwin_lib.training.search import search
from tomotwin_lib.training.search_report import optimisation_history, trials_table
from tomotwin_lib.training.search_space import SearchSpace, StudySettings

CONTENT: dict[str, Any] = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 2, "output_channels": {"suggest_categorical": {"choices": [4, 8]}}},
    "train_config": {
        "batchsize": 8,
        "learning_rate": {"suggest_float": {"low": 1e-4, "high": 0.1, "log": True}},
        "aug_dropout": {"suggest_categorical": {"choices": [[0, 0], [0.05, 0.2]]}},
    },
    "distance": "COSINE",
}
PARAMETERS = ["network_config.output_channels", "train_config.aug_dropout", "train_config.learning_rate"]


def space(**study: Any) -> SearchSpace:
    settings = StudySettings.from_json({"target": "VAL_LOSS", "minmax": "minimize"} | study, "space.json")
    return SearchSpace(CONTENT, settings, None, "space.json")


@pytest.fixture
def run(folders: dict[str, Path], tmp_path: Path) -> Callable[..., Any]:
    """Search in ``tmp_path`` with two epochs a trial."""

    def call(*, study: dict[str, Any] | None = None, **options: Any) -> Any:
        options = {"name": "study", "trials": 3, "epochs": 2, "seed": 1, "output": tmp_path} | options
        return search(space(**study or {}), **folders, device="cpu", progress=False, **options)

    return call


def interrupted_at(trial: int, at: int) -> Callable[..., Any]:
    """Training as it is, but the process ends in an epoch of a trial, as with Ctrl-C."""

    def train(*arguments: Any, output: Path, on_epoch: Callable[[Epoch], None], **options: Any) -> Any:
        def on(epoch: Epoch) -> None:
            on_epoch(epoch)
            if (int(output.name), epoch.epoch) == (trial, at):
                raise KeyboardInterrupt

        return trainer.train(*arguments, output=output, on_epoch=on, **options)

    return train


def test_an_interrupted_search_goes_on_as_if_nothing_had_been(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(output=tmp_path / "whole")

    monkeypatch.setattr(training_run, "LATEST_SECONDS", -1.0)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(search_module, "train", interrupted_at(1, 0))
        run()
    folder = tmp_path / "study"
    assert pd.read_csv(folder / "trials.csv")["state"].tolist() == ["complete"]
    first = {path: path.stat().st_mtime_ns for path in (folder / "0").iterdir()}
    assert load_checkpoint(folder / "1" / "latest.pth")["epoch"] == 0
    assert not (folder / "1" / "final.pth").exists()

    resumed = []
    monkeypatch.setattr(
        search_module,
        "train",
        lambda *arguments, **options: (
            resumed.append((options["output"].name, options["resume_from"]))
            or trainer.train(*arguments, **options)
        ),
    )
    result = run()
    assert resumed == [("1", folder / "1" / "latest.pth"), ("2", None)]
    assert {path: path.stat().st_mtime_ns for path in (folder / "0").iterdir()} == first
    columns = ["trial", "state", "value", "epochs", *PARAMETERS]
    pd.testing.assert_frame_equal(result.trials[columns], whole.trials[columns], check_exact=True)
    for number in range(3):
        one, other = (load_checkpoint(at / str(number) / "final.pth") for at in (folder, whole.folder))
        assert all(
            other["model_state_dict"][name].equal(tensor) for name, tensor in one["model_state_dict"].items()
        )

    resumed.clear()
    again = run()
    assert resumed == [] and len(again.trials) == 3


def test_a_search_leaves_what_it_promises(run: Callable[..., Any]) -> None:
    result = run()
    values = []
    for number, row in result.trials.iterrows():
        history = pd.read_csv(result.folder / str(number) / "history.csv")
        configuration = json.loads((result.folder / str(number) / "config.json").read_text())
        assert configuration["network_config"]["output_channels"] == row[PARAMETERS[0]] in (4, 8)
        assert configuration["train_config"]["aug_dropout"] == json.loads(row[PARAMETERS[1]])
        assert configuration["train_config"]["learning_rate"] == row[PARAMETERS[2]]
        trained = load_checkpoint(result.folder / str(number) / "best_loss.pth")["tomotwin_config"]
        assert trained["train_config"] == configuration["train_config"]
        values.append(history["valid_loss"].min())
        assert len(history) == row["epochs"] == 2
    assert result.trials["value"].tolist() == pytest.approx(values)
    assert result.trials[PARAMETERS[2]].nunique() == 3
    assert result.best_trial == values.index(min(values))
    best = (result.folder / str(result.best_trial) / "config.json").read_text()
    assert result.best_configuration.read_text() == best
    written = pd.read_csv(result.trials_file)
    assert written["state"].tolist() == ["complete"] * 3
    assert result.picture.stat().st_size > 5000
    assert (result.folder.parent / "study.db").is_file()


def test_what_a_trial_is_judged_by() -> None:
    history = pd.DataFrame({"valid_loss": [3.0, 1.0, 2.0], "valid_f1": [0.5, 0.6, 0.9]})
    judged = {
        target: search_module._value(history, target) for target in ("VAL_LOSS", "F1", "F1_AT_VAL_LOSS")
    }
    assert judged == {"VAL_LOSS": 1.0, "F1": 0.9, "F1_AT_VAL_LOSS": 0.6}
    so_far = [search_module._value(history[:n], "F1_AT_VAL_LOSS", last=True) for n in (1, 2, 3)]
    assert so_far == [0.5, 0.6, 0.6]
    assert search_module._value(history, "VAL_LOSS", last=True) == 2.0


def test_trials_that_lie_behind_are_given_up(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict(optuna.pruners.BasePruner):
        """Gives up the second trial after its first epoch."""

        def __init__(self, n_warmup_steps: int) -> None:
            assert n_warmup_steps == 5

        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.number == 1

    monkeypatch.setattr(optuna.pruners, "MedianPruner", Strict)
    result = run(study={"target": "F1", "minmax": "maximize", "prune": True, "n_warmup": 5})
    assert result.trials["state"].tolist() == ["complete", "pruned", "complete"]
    assert result.trials["epochs"].tolist() == [2, 1, 2]
    history = pd.read_csv(result.folder / "1" / "history.csv")
    assert result.trials["value"][1] == pytest.approx(history["valid_f1"][0])
    assert result.best_trial != 1


def test_values_that_cannot_be_together_fail_alone(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(configuration: dict[str, Any], source: str) -> None:
        if source == "trial 0":
            raise InputError(source, "they do not fit", "Take others")

    monkeypatch.setattr(search_module, "check_configuration", check)
    ended = []
    result = run(trials=2, epochs=1, on_trial=lambda trial: ended.append(trial.state.name))
    assert ended == ["FAIL", "COMPLETE"]
    assert result.best_trial == 1 and "they do not fit" in result.trials["error"][0]
    with pytest.raises(InputError, match=r"none of its 1 trials.*they do not fit"):
        run(trials=1, epochs=1, name="other")


def test_an_interrupted_trial_can_be_left(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, study in (("never", {"retry": False}), ("once", {"max_retry": 0})):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(search_module, "train", interrupted_at(0, 0))
            run(name=name, study=study, epochs=1)
        result = run(name=name, study=study, epochs=1, trials=2)
        assert result.trials["state"].tolist() == ["fail", "complete"]
        assert "interrupted" in result.trials["error"][0]


def test_a_study_goes_on_only_as_it_was_begun(run: Callable[..., Any], tmp_path: Path) -> None:
    run(trials=1, epochs=1)
    for change, named in (
        ({"epochs": 2}, "epochs"),
        ({"epochs": 1, "seed": 2}, "seed"),
        ({"epochs": 1, "study": {"target": "F1", "minmax": "maximize"}}, "target"),
    ):
        with pytest.raises(InputError, match=rf"study study: it was begun differently: {named}\."):
            run(**change)
    with (tmp_path / "study" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another search"):
            run(epochs=1)
    (tmp_path / "study.db").unlink()
    with pytest.raises(InputError, match="no study called study"):
        run(epochs=1)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"name": "../study"}, "--name"),
        ({"name": ""}, "--name"),
        ({"trials": 0}, "--ntrials"),
        ({"epochs": 0}, "--epochs"),
        ({"study": {"STORAGE": "add storage url here"}}, "add storage url here cannot be opened"),
        ({"study": {"STORAGE": "sqlite:////absent/study.db"}}, "/absent/study.db cannot be opened"),
        ({"densities": "absent"}, "absent"),
    ],
)
def test_bad_options_are_refused_before_the_first_trial(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], named: str
) -> None:
    monkeypatch.setattr(search_module, "train", lambda *arguments, **more: pytest.fail("a trial began"))
    with pytest.raises(InputError, match=named):
        run(**options)


def test_trials_can_have_densities(run: Callable[..., Any], densities: Path) -> None:
    result = run(trials=1, epochs=1, densities=densities)
    state = load_checkpoint(result.folder / "0" / "final.pth")["training_state"]
    assert state["conditions"]["densities"] == ["1bar.mrc", "1slb.mrc"]


def test_trials_can_be_validated_with_what_is_set_aside(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, notes = [], []
    monkeypatch.setattr(
        search_module,
        "train",
        lambda *arguments, **options: (
            seen.append((options["validation"], options["seed"])) or trainer.train(*arguments, **options)
        ),
    )
    options: dict[str, Any] = {"name": "study", "epochs": 1, "seed": 1, "device": "cpu", "progress": False}
    validated = {**options, "on_note": notes.append}
    result = search(space(), folders["volumes"], None, tmp_path, trials=2, **validated)
    assert seen == [(None, 1)] * 2
    assert len(notes) == 1 and "4 of 12 subvolumes are set aside" in notes[0]
    aside = [
        load_checkpoint(result.folder / str(number) / "final.pth")["training_state"]["conditions"][
            "set_aside"
        ]
        for number in range(2)
    ]
    assert aside[0] == aside[1] and len(aside[0]) == 4
    with pytest.raises(InputError, match=r"begun differently: set_aside\."):
        search(space(), **folders, output=tmp_path, trials=3, **options)


def test_the_picture_shows_the_best_so_far() -> None:
    table = trials_table([]).reindex(range(4))
    table["trial"], table["value"] = range(4), [3.0, 1.0, 0.5, 2.0]
    table["state"] = ["complete", "complete", "pruned", "complete"]
    (axes,) = optimisation_history(table, "VAL_LOSS", lowest=True).axes
    best, finished, pruned, ring = axes.lines
    assert list(best.get_ydata()) == [3, 1, 1]
    assert list(finished.get_ydata()) == [3, 1, 2]
    assert list(pruned.get_xdata()) == [2]
    assert (list(ring.get_xdata()), ring.get_label()) == ([1], "best: 1 (trial 1)")
    (empty,) = optimisation_history(table[:0], "F1", lowest=False).axes
    assert empty.texts[0].get_text() == "no trial finished"
