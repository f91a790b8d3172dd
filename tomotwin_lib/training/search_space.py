"""What to search over: a network configuration in which values are left open."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.configuration import check_configuration
from tomotwin_lib.training.losses import MetricLoss
from tomotwin_lib.training.settings import TrainSettings

TARGETS = {"VAL_LOSS": "minimize", "F1": "maximize", "F1_AT_VAL_LOSS": "maximize"}
# The methods of an Optuna trial, with the arguments that each must and may have.
METHODS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "suggest_float": (("low", "high"), ("log", "step")),
    "suggest_int": (("low", "high"), ("log", "step")),
    "suggest_categorical": (("choices",), ()),
}
_EXAMPLE = '{"suggest_float": {"low": 1e-5, "high": 1e-3, "log": true}}'
# TomoTwin's files say the number of epochs among the settings of the training, in either spelling.
_EPOCHS = ("epochs", "epoch")


@dataclass(frozen=True)
class Suggestion:
    """A value that is left open: which method of an Optuna trial draws it, with which arguments."""

    method: str
    arguments: dict[str, Any]

    @classmethod
    def from_json(cls, value: Mapping[str, Any], source: str) -> Suggestion:
        """Check an object such as ``{"suggest_int": {"low": 32, "high": 128}}``.

        Raises
        ------
        InputError
            If the method or an argument is unknown or missing, or the bounds cannot be.
        """
        if len(value) != 1:
            raise InputError(source, f"it has the keys {', '.join(value)}", f"Give one, as in {_EXAMPLE}")
        ((method, arguments),) = value.items()
        if method not in METHODS:
            raise InputError(source, f"unknown method {method}", f"Choose one of {', '.join(METHODS)}")
        required, optional = METHODS[method]
        if not isinstance(arguments, Mapping):
            raise InputError(source, f"{method} has {arguments!r}", f"Give an object, as in {_EXAMPLE}")
        wrong = [key for key in arguments if key not in (*required, *optional)]
        wrong += [key for key in required if key not in arguments]
        if wrong:
            raise InputError(
                source,
                f"{method} has unknown or missing arguments: {', '.join(wrong)}",
                f"It takes {', '.join(required)}"
                + (f", and may have {', '.join(optional)}" * bool(optional)),
            )
        suggestion = cls(method, dict(arguments))
        suggestion._check(source)
        return suggestion

    def draw(self, trial: Any, name: str) -> Any:
        """The value that an Optuna trial takes, under a name of its own."""
        if self.method != "suggest_categorical":
            return getattr(trial, self.method)(name, **self.arguments)
        # Studies are stored, and Optuna stores only plain values: lists and objects go as their JSON.
        choices = {_plain(choice): choice for choice in self.arguments["choices"]}
        return choices[trial.suggest_categorical(name, list(choices))]

    def examples(self) -> list[Any]:
        """All choices, or both ends of the range."""
        if self.method == "suggest_categorical":
            return list(self.arguments["choices"])
        return [self.arguments["low"], self.arguments["high"]]

    def _check(self, source: str) -> None:
        if self.method == "suggest_categorical":
            choices = self.arguments["choices"]
            if not isinstance(choices, list) or not choices:
                raise InputError(source, f"choices is {choices!r}", "Give a list of values to choose from")
            if len({_plain(choice) for choice in choices}) < len(choices):
                raise InputError(source, f"{choices!r} holds a value twice", "Give each choice once")
            return
        kind: type | tuple[type, ...] = int if self.method == "suggest_int" else (int, float)
        log = self.arguments.get("log", False)
        numbers = {key: self.arguments[key] for key in ("low", "high", "step") if key in self.arguments}
        for key, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, kind):
                what = "a whole number" if kind is int else "a number"
                raise InputError(source, f"{key} of {self.method} is {value!r}", f"Give {what}")
        low, high, step = numbers["low"], numbers["high"], numbers.get("step")
        if not isinstance(log, bool):
            raise InputError(source, f"log is {log!r}", "Give true or false")
        if not low <= high:
            raise InputError(source, f"low is {low} and high is {high}", "Give a low that is not above high")
        if log and low <= 0:
            raise InputError(source, f"low is {low} on a logarithmic scale", "Give a low above 0")
        if step is not None and (log or step <= 0):
            raise InputError(
                source, f"step is {step}{' with log' * log}", "Give a step above 0, and none with log"
            )


@dataclass(frozen=True)
class StudySettings:
    """The section ``optuna`` of a search's configuration, with TomoTwin's keys.

    Attributes
    ----------
    target : VAL_LOSS, F1, or F1_AT_VAL_LOSS, the F1 of the epoch with the lowest validation loss.
    minmax : minimize a loss, maximize an F1.
    prune : give up trials that lie behind the median of the earlier ones, after ``n_warmup`` epochs.
    STORAGE : URL of the database of the study; an SQLite file beside the trials where ``None``.
    epochs : of each trial.
    retry, max_retry : whether an interrupted trial is gone on with, and how often at most.
    heartbeat, RDB : of no consequence: here one process at a time works on a study, which therefore knows
        without heartbeats that a trial was interrupted, and every study is in a database.
    """

    target: str
    minmax: str
    prune: bool = False
    n_warmup: int = 0
    STORAGE: str | None = None
    epochs: int | None = None
    retry: bool = True
    max_retry: int | None = None
    heartbeat: int | None = None
    RDB: bool = True

    @classmethod
    def from_json(cls, section: Any, source: str) -> StudySettings:
        """Read the section.

        Raises
        ------
        InputError
            If it is missing, or a key is unknown, missing or has a value that cannot be.
        """
        if not isinstance(section, Mapping):
            raise InputError(
                source,
                "it has no section optuna",
                'Add "optuna": {"target": "F1", "minmax": "maximize"}',
            )
        known = [f.name for f in fields(cls)]
        wrong = [key for key in section if key not in known]
        wrong += [key for key in ("target", "minmax") if key not in section]
        if wrong:
            raise InputError(
                source,
                f"optuna has unknown or missing keys: {', '.join(wrong)}",
                f"Its keys are {', '.join(known)}; target and minmax are required",
            )
        settings = cls(**section)
        settings._check(source)
        return settings

    def _check(self, source: str) -> None:
        if self.target not in tuple(TARGETS):
            raise InputError(
                source, f"optuna.target is {self.target!r}", f"Choose one of {', '.join(TARGETS)}"
            )
        if self.minmax != TARGETS[self.target]:
            raise InputError(
                source,
                f"optuna.minmax is {self.minmax!r} with the target {self.target}",
                f"Give {TARGETS[self.target]}: the best is sought, not the worst",
            )
        for name, least in (("n_warmup", 0), ("epochs", 1), ("max_retry", 0), ("heartbeat", 1)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            left_out = value is None and name != "n_warmup"
            if not left_out and not (whole and value >= least):
                raise InputError(
                    source, f"optuna.{name} is {value!r}", f"Give a whole number of at least {least}"
                )
        for name in ("prune", "retry", "RDB"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(source, f"optuna.{name} is {getattr(self, name)!r}", "Give true or false")
        if not isinstance(self.STORAGE, str | None):
            raise InputError(source, f"optuna.STORAGE is {self.STORAGE!r}", "Give the URL of a database")


@dataclass(frozen=True)
class SearchSpace:
    """A configuration with open values.

    Attributes
    ----------
    content : the file's, without the section ``optuna`` and the number of epochs: what tells two searches
        apart.
    study : the section ``optuna``.
    epochs : of each trial, where the file says it.
    source : the file, for messages.
    """

    content: dict[str, Any]
    study: StudySettings
    epochs: int | None
    source: str

    def suggestions(self) -> dict[str, Suggestion]:
        """The open values by where they stand, such as ``train_config.learning_rate``."""
        found: dict[str, Suggestion] = {}

        def note(name: str, suggestion: Suggestion) -> None:
            found[name] = suggestion

        self._fill(note)
        return found

    def draw(self, trial: Any) -> dict[str, Any]:
        """The configuration of an Optuna trial, every open value drawn by it."""
        return self._fill(lambda name, suggestion: suggestion.draw(trial, name))

    def examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Configurations in which every choice and every end of a range occurs, with what is special."""
        suggestions = self.suggestions()
        first = {name: suggestion.examples()[0] for name, suggestion in suggestions.items()}
        yield "every open value at its first", self._filled_with(first)
        for name, suggestion in suggestions.items():
            for value in suggestion.examples()[1:]:
                yield f"{name} = {json.dumps(value)}", self._filled_with(first | {name: value})

    def _filled_with(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return self._fill(lambda name, _: values[name])

    def _fill(self, choose: Callable[[str, Suggestion], Any]) -> dict[str, Any]:
        def fill(value: Any, path: tuple[str, ...]) -> Any:
            if not isinstance(value, Mapping):
                return value
            name = ".".join(path)
            if any(key.startswith("suggest_") for key in value):
                return choose(name, Suggestion.from_json(value, f"{self.source}: {name}"))
            return {key: fill(inner, (*path, key)) for key, inner in value.items()}

        return fill(self.content, ())  # type: ignore[no-any-return]


def read_search_space(path: str | Path) -> SearchSpace:
    """Read and check a search's configuration, such as TomoTwin's ``new_optuna_config.json``.

    Raises
    ------
    InputError
        If the file cannot be read or is no JSON object; the section ``optuna`` is missing or wrong; nothing
        is left open; a method or bound cannot be; or a choice or an end of a range makes no configuration
        that can be trained.
    """
    source = str(path)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(source, f"it cannot be read ({error.strerror})", "Check the path") from error
    except ValueError as error:
        raise InputError(source, f"not valid JSON ({error})", "Correct the file") from error
    if not isinstance(content, dict):
        raise InputError(source, "the file holds no JSON object", "Give a configuration with open values")
    study = StudySettings.from_json(content.pop("optuna", None), source)
    epochs = study.epochs
    if isinstance(content.get("train_config"), dict):
        for key in _EPOCHS:
            said = content["train_config"].pop(key, None)
            if said is not None and (isinstance(said, bool) or not isinstance(said, int) or said < 1):
                raise InputError(source, f"train_config.{key} is {said!r}", "Give a whole number above 0")
            epochs = epochs or said
    content.setdefault("distance", "COSINE")
    space = SearchSpace(content, study, epochs, source)
    if not space.suggestions():
        raise InputError(source, "it leaves nothing open", f"Give a value as {_EXAMPLE}")
    for special, configuration in space.examples():
        at = f"{source} with {special}"
        check_configuration(configuration, at)
        settings = TrainSettings.from_configuration(configuration, at)
        MetricLoss(settings, configuration["distance"], class_count=2, embedding_size=2)
    return space


def _plain(choice: Any) -> Any:
    return json.dumps(choice, sort_keys=True) if isinstance(choice, list | dict) else choice
