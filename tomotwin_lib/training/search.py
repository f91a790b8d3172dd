"""Search for the configuration that trains best, trial by trial, with Optuna."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tomotwin_lib.devices import resolve_device
from tomotwin_lib.errors import InputError
from tomotwin_lib.figures import save_figure
from tomotwin_lib.files import atomic_path, ensure_writable_folder, locked, write_json
from tomotwin_lib.networks.configuration import check_configuration
from tomotwin_lib.training.history import Epoch
from tomotwin_lib.training.roles import assign_roles
from tomotwin_lib.training.search_report import optimisation_history, trials_table
from tomotwin_lib.training.search_space import SearchSpace
from tomotwin_lib.training.settings import TrainSettings
from tomotwin_lib.training.split import split_by_class
from tomotwin_lib.training.trainer import TrainingResult, train
from tomotwin_lib.training.training_run import StopTraining

EPOCHS = 10
BEST_CONFIGURATION, TRIALS, PICTURE = "best_config.json", "trials.csv", "optimisation_history.png"
_NAME = re.compile(r"\w[\w.-]*")
# The user attribute of a study that says what all its trials have in common.
_CONDITIONS = "conditions"


@dataclass(frozen=True)
class SearchResult:
    """Where a search left its files, its trials (one row each) and the number of the best one."""

    folder: Path
    best_configuration: Path
    trials_file: Path
    picture: Path
    trials: pd.DataFrame
    best_trial: int


def search(
    space: SearchSpace,
    volumes: str | Path,
    validation: str | Path | None,
    output: str | Path,
    *,
    name: str,
    trials: int,
    densities: str | Path | None = None,
    epochs: int | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> SearchResult:
    """Train one network after the other, each with values that the earlier ones recommend.

    Each trial trains into ``output/name/<number>``, where its ``config.json`` says with which values. Called
    again, a search goes on: trials that came to an end are kept, one that was interrupted is resumed from
    its ``latest.pth``, and new ones follow up to ``trials``. The values of a trial follow from the seed, its
    number and the trials before it, so that interruptions change nothing.

    Parameters
    ----------
    space : configuration with open values, and settings of the study.
    volumes, validation, densities, device, seed, progress : as of :func:`~.trainer.train`. What is set aside
        for validation without a folder is the same in all trials.
    name : of the study, and of its folder.
    trials : number of trials in total, those of earlier calls included.
    epochs : of each trial; what the configuration says where ``None``, else 10.
    on_trial : called with each trial that has ended.
    on_note : called before the first trial with what is set aside for validation, if anything is.

    Raises
    ------
    InputError
        Before the first trial, if a folder cannot be used, the study was begun differently, its database
        cannot be opened or another process works on it; and after the last, if none came to a value.
    """
    if not _NAME.fullmatch(name):
        raise InputError("-sn/--name", f"{name!r} makes no folder", "Use letters, digits, '.', '_' and '-'")
    if trials < 1:
        raise InputError("-n/--ntrials", f"{trials} is no number of trials", "Give 1 or more")
    epochs = epochs if epochs is not None else (space.epochs or EPOCHS)
    if epochs < 1:
        raise InputError("--epochs", f"{epochs} is no number of epochs", "Give 1 or more")
    resolve_device(device)
    for special, configuration in space.examples():
        settings = TrainSettings.from_configuration(configuration, f"{space.source} with {special}")
        assign_roles(settings, volumes, validation, densities)
    if validation is None and on_note is not None:
        on_note(split_by_class(volumes, seed).note())
    folder = Path(output) / name
    with locked(ensure_writable_folder(folder) / ".lock", "another search works on this study"):
        conditions = {
            "configuration": space.content,
            "target": space.study.target,
            "epochs": epochs,
            "seed": seed,
            "densities": densities is not None,
            "set_aside": validation is None,
        }
        training = partial(
            train,
            volumes=volumes,
            validation=validation,
            densities=densities,
            epochs=epochs,
            device=device,
            seed=seed,
            progress=progress,
        )
        run = _Search(_open_study(space, folder, conditions), space, folder, training, seed, on_trial)
        run.go_on()
        while run.trials() < trials:
            run.begin_another()
        return run.result()


def _open_study(space: SearchSpace, folder: Path, conditions: dict[str, Any]) -> optuna.Study:
    """The study, begun or continued.

    Raises
    ------
    InputError
        If the database cannot be opened, the study was begun under other conditions, or a study that is
        not in the database left trials in the folder.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = space.study.STORAGE or f"sqlite:///{folder.with_name(f'{folder.name}.db').absolute()}"
    try:
        storage = optuna.storages.RDBStorage(url)
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            space.source if space.study.STORAGE else url,
            f"the database {url} cannot be opened ({reason})",
            "Give a URL such as sqlite:///study.db as optuna.STORAGE, or leave it out",
        ) from error
    name = folder.name
    if name not in optuna.get_all_study_names(storage) and any(folder.glob("*/config.json")):
        raise InputError(
            folder,
            f"it holds trials, and {url} no study called {name}",
            "Choose another --name, bring the database back, or delete the folder",
        )
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        load_if_exists=True,
        direction=optuna.study.StudyDirection[space.study.minmax.upper()],
        pruner=(
            optuna.pruners.MedianPruner(n_warmup_steps=space.study.n_warmup)
            if space.study.prune
            else optuna.pruners.NopPruner()
        ),
    )
    # As it comes back from the database: JSON has no tuples.
    wanted = json.loads(json.dumps(conditions))
    begun = study.user_attrs.get(_CONDITIONS)
    if begun is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(_CONDITIONS, begun := wanted)
    if begun is not None:  # earlier versions always had a folder to validate with
        begun = {"set_aside": False, **begun}
    if begun != wanted:
        differing = [key for key in wanted if begun is None or begun.get(key) != wanted[key]]
        raise InputError(
            f"study {name}",
            f"it was begun differently: {', '.join(differing)}",
            "Go on with the same, or choose another --name",
        )
    return study


class _Search:
    """A study, its folder, and what is done with its trials."""

    def __init__(
        self,
        study: optuna.Study,
        space: SearchSpace,
        folder: Path,
        training: Callable[..., TrainingResult],
        seed: int,
        on_trial: Callable[[FrozenTrial], None] | None,
    ) -> None:
        self.study, self.space, self.folder, self.seed = study, space, folder, seed
        self.training, self.on_trial = training, on_trial

    def trials(self) -> int:
        """Number of trials so far, however they ended."""
        return len(self.study.get_trials(deepcopy=False))

    def begin_another(self) -> None:
        self._seed_sampler(self.trials())
        self._run(self.study.ask())

    def go_on(self) -> None:
        """Resume what a process left behind, unless the study's settings are against it."""
        settings = self.space.study
        for interrupted in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._seed_sampler(interrupted.number)
            # Optuna has no other way back to a trial than the identity that it keeps for itself.
            trial = Trial(self.study, interrupted._trial_id)
            resumed = interrupted.user_attrs.get("resumed", 0) + 1
            if not settings.retry or (settings.max_retry is not None and resumed > settings.max_retry):
                self._end(trial, TrialState.FAIL, error=f"interrupted, time {resumed}")
                continue
            trial.set_user_attr("resumed", resumed)
            self._run(trial)

    def result(self) -> SearchResult:
        table = self._report()
        try:
            best = self.study.best_trial.number
        except ValueError:
            errors = table["error"].dropna()
            raise InputError(
                f"study {self.folder.name}",
                f"none of its {len(table)} trials came to a value"
                + (f"; the last failed: {errors.iloc[-1]}" if len(errors) else ""),
                "Correct what is left open in the configuration, and choose another --name",
            ) from None
        return SearchResult(
            self.folder,
            self.folder / BEST_CONFIGURATION,
            self.folder / TRIALS,
            self.folder / PICTURE,
            table,
            best,
        )

    def _run(self, trial: Trial) -> None:
        folder = self.folder / str(trial.number)
        latest = folder / "latest.pth"
        try:
            configuration = self.space.draw(trial)
            check_configuration(configuration, f"trial {trial.number}")
        except InputError as error:
            # Values that cannot be together say nothing about others.
            self._end(trial, TrialState.FAIL, error=str(error))
            return
        write_json(folder / "config.json", configuration)
        report = _Report(self.study, trial, folder, self.space.study.target)
        try:
            result = self.training(
                configuration,
                output=folder,
                resume_from=latest if latest.is_file() else None,
                overwrite=True,
                on_epoch=report,
            )
        except torch.OutOfMemoryError as error:
            self._end(trial, TrialState.FAIL, error=str(error))
            return
        history = result.history
        trial.set_user_attr("epochs", len(history))
        trial.set_user_attr("seconds", round(float(history["seconds"].iloc[-1]), 1))
        value = _value(history, self.space.study.target)
        if report.pruned:
            self._end(trial, TrialState.PRUNED)
        elif math.isfinite(value):
            self._end(trial, TrialState.COMPLETE, value)
        else:
            self._end(trial, TrialState.FAIL, error="its validation gave no number")

    def _end(
        self, trial: Trial, state: TrialState, value: float | None = None, error: str | None = None
    ) -> None:
        if error is not None:
            trial.set_user_attr("error", error)
        frozen = self.study.tell(trial, value, state=state)
        self._report()
        if self.on_trial is not None:
            self.on_trial(frozen)

    def _report(self) -> pd.DataFrame:
        """Write the table, the picture and the best configuration, as of now."""
        trials = self.study.get_trials(deepcopy=False)
        table = trials_table(trials)
        with atomic_path(self.folder / TRIALS) as temporary:
            table.to_csv(temporary, index=False)
        picture = optimisation_history(
            table,
            self.space.study.target,
            lowest=self.space.study.minmax == "minimize",
            title=f"Search {self.folder.name}",
        )
        save_figure(self.folder / PICTURE, picture)
        if any(trial.state is TrialState.COMPLETE for trial in trials):
            best = self.folder / str(self.study.best_trial.number) / "config.json"
            with atomic_path(self.folder / BEST_CONFIGURATION) as temporary:
                shutil.copyfile(best, temporary)
        return table

    def _seed_sampler(self, number: int) -> None:
        # Seeded anew for each trial, a search that goes on draws what one that was not stopped would have.
        self.study.sampler = optuna.samplers.TPESampler(seed=(self.seed * 1_000_003 + number) % 2**32)


class _Report:
    """What a training tells the study after each epoch; it ends a training that is not worth going on."""

    def __init__(self, study: optuna.Study, trial: Trial, folder: Path, target: str) -> None:
        self.trial, self.folder, self.target = trial, folder, target
        # A resumed run goes again through epochs that came after its last checkpoint.
        self.reported = set(study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self.pruned = False

    def __call__(self, epoch: Epoch) -> None:
        if epoch.epoch in self.reported:
            return
        history = pd.read_csv(self.folder / "history.csv")
        self.trial.report(_value(history, self.target, last=True), epoch.epoch)
        if self.trial.should_prune():
            self.pruned = True
            raise StopTraining


def _value(history: pd.DataFrame, target: str, *, last: bool = False) -> float:
    """What a trial is judged by: the best epoch, or for the pruner where it stands after the last one.

    Parameters
    ----------
    history : one row an epoch.
    target : VAL_LOSS, F1 or F1_AT_VAL_LOSS.
    """
    if target == "F1_AT_VAL_LOSS":
        losses = history["valid_loss"].to_numpy(dtype=float)
        if np.isnan(losses).all():
            return math.nan
        return float(history["valid_f1"].iloc[int(np.nanargmin(losses))])
    values = history["valid_loss" if target == "VAL_LOSS" else "valid_f1"]
    if last:
        return float(values.iloc[-1])
    return float(values.min() if target == "VAL_LOSS" else values.max())
