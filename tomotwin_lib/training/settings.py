"""How to train: the ``train_config`` of a configuration, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from tomotwin_lib.errors import InputError
from tomotwin_lib.training.metric_parts import LOSSES, MINERS

OPTIMIZERS = ("Adam", "AdamW", "SGD")
SCHEDULES = ("plateau", "cosine")
ROTATIONS = ("full_z", "half_turns", "none")
WHOLE = ("batchsize", "samples_per_class", "patience", "aug_train_shift_distance")


@dataclass(frozen=True)
class TrainSettings:
    """The keys of ``train_config``; those of TomoTwin's configurations keep their meaning.

    Attributes
    ----------
    loss : one of ``LOSSES``. ``tl_margin`` is the margin of TripletLoss, ``af_margin`` (degrees) and
        ``af_scale`` are those of ArcFaceLoss, ``sf_margin`` and ``sf_scale`` of SphereFaceLoss;
        ``loss_kwargs`` are further arguments of the loss as pytorch-metric-learning names them
        (``temperature``, ``scale``, …).
    num_classes : stands in TomoTwin's configurations of ArcFaceLoss and SphereFaceLoss. Here the classes are
        counted, and only a number that is too small is refused.
    miner : one of ``MINERS``, or ``true`` for the semihard triplet miner, or ``false`` for none;
        ``miner_margin`` is its margin. Or an object with the ``name`` of one and its arguments
        (``{"name": "DistanceWeightedMiner", "cutoff": 0.5}``).
    only_negative_labels : classes that are never anchors or positives, such as membranes or gold beads:
        they are only something to keep away from.
    learning_rate, optimizer, weight_decay : of the optimizer.
    schedule : ``plateau`` divides the rate by ten after ``patience`` epochs without a better validation
        loss; ``cosine`` warms up and then falls to zero over the whole run.
    batchsize : labelled subvolumes in a batch, of which ``samples_per_class`` of each class drawn.
    off_centre, background : negatives made for each batch, as shares of ``batchsize``: subvolumes shifted
        by ``off_centre_distance`` voxels, and noise with the spectrum of a subvolume but no structure.
        They are never anchors or positives: they teach that beside a particle, and in the void, nothing is.
    scaled_classes : magnifications, e.g. ``[0.8, 1.25]``. In each batch a class keeps its size or takes one
        of them, and counts then as a class of its own: more shapes to tell apart than the folder holds, so
        that proteins that are in no training data are told apart better.
    aug_train_shift_distance : largest shift of a positive along each axis, in voxels.
    aug_rotation : ``full_z`` by any angle about the beam (as TomoTwin), ``half_turns`` about the three
        axes, which leave the missing wedge where it is, or ``none``.
    aug_tilt : largest angle, in degrees, by which half of a batch is also turned about random axes; small, so
        that the missing wedge stays about where it is.
    aug_noise : largest deviation of added Gaussian noise, in deviations of the subvolume.
    aug_spectral_noise : largest deviation of added noise with the power spectrum of the subvolume itself, in
        deviations of the subvolume: noise that no filter removes, so that the noise of few subvolumes is not
        learnt by heart.
    aug_dropout : range of the share of voxels set to the mean.
    aug_gain, aug_offset : largest relative change of contrast and largest shift of brightness, in deviations:
        a window inside a tomogram has not exactly the mean and deviation of a subvolume in a file.
    """

    loss: str = "SupConLoss"
    tl_margin: float | None = None
    af_margin: float | None = None
    af_scale: float | None = None
    sf_margin: float | None = None
    sf_scale: float | None = None
    loss_kwargs: dict[str, Any] = field(default_factory=dict)
    num_classes: int | None = None
    miner: str | bool | dict[str, Any] | None = False
    miner_margin: float | None = None
    only_negative_labels: tuple[str, ...] = ()
    learning_rate: float = 1e-3
    optimizer: str = "Adam"
    weight_decay: float = 0.0
    schedule: Literal["plateau", "cosine"] = "plateau"
    patience: int = 50
    batchsize: int = 64
    samples_per_class: int = 4
    off_centre: float = 0.0
    off_centre_distance: tuple[float, float] = (5.0, 18.0)
    background: float = 0.0
    scaled_classes: tuple[float, ...] = ()
    aug_train_shift_distance: int = 2
    aug_rotation: Literal["full_z", "half_turns", "none"] = "full_z"
    aug_tilt: float = 0.0
    aug_noise: float = 0.3
    aug_spectral_noise: float = 0.0
    aug_dropout: tuple[float, float] = (0.05, 0.2)
    aug_gain: float = 0.0
    aug_offset: float = 0.0

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], source: str) -> TrainSettings:
        """Read ``train_config``.

        Raises
        ------
        InputError
            If a key is unknown or a value is out of range.
        """
        given = training_section(configuration, source)
        known = {f.name for f in fields(cls)}
        unknown = [key for key in given if key not in known]
        if unknown:
            raise InputError(
                source,
                f"train_config has unknown keys: {', '.join(unknown)}",
                f"Its keys are {', '.join(sorted(known))}",
            )
        for name in ("off_centre_distance", "aug_dropout", "scaled_classes", "only_negative_labels"):
            if isinstance(given.get(name), list):
                given[name] = tuple(given[name])
        for name in WHOLE:
            if isinstance(given.get(name), float) and given[name].is_integer():
                given[name] = int(given[name])
        settings = cls(**given)
        settings._check(source)
        return settings

    @property
    def miner_name(self) -> str | None:
        """The miner's name; older configurations say only that there is one, newer ones give an object."""
        if isinstance(self.miner, Mapping):
            return self.miner.get("name")
        return "TripletMarginMiner" if self.miner is True else (self.miner or None)

    @property
    def miner_arguments(self) -> dict[str, Any]:
        """Arguments that an object of a miner gives, as pytorch-metric-learning names them."""
        if not isinstance(self.miner, Mapping):
            return {}
        # TomoTwin writes `miner_margin` in the object too.
        names = {key: argument for argument, key in MINERS[self.miner["name"]].takes.items()}
        return {
            names.get(key, key): value
            for key, value in self.miner.items()
            if key != "name" and value is not None
        }

    def _check(self, source: str) -> None:
        choices = {
            "loss": tuple(LOSSES),
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
            "aug_rotation": ROTATIONS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    source,
                    f"train_config.{name} is {getattr(self, name)!r}",
                    f"Choose one of {', '.join(allowed)}",
                )
        self._check_loss_and_miner(source)
        for name, least in (
            ("learning_rate", 1e-12),
            ("batchsize", 2),
            ("samples_per_class", 2),
            ("patience", 1),
            ("weight_decay", 0),
            ("off_centre", 0),
            ("background", 0),
            ("aug_train_shift_distance", 0),
            ("aug_tilt", 0),
            ("aug_noise", 0),
            ("aug_spectral_noise", 0),
            ("aug_gain", 0),
            ("aug_offset", 0),
        ):
            value = getattr(self, name)
            kind = "a whole number" if name in WHOLE else "a number"
            # NaN, which JSON knows in Python, is neither less nor more.
            if not _is_number(value) or not least <= value < math.inf or (name in WHOLE and value % 1):
                raise InputError(
                    source, f"train_config.{name} is {value!r}", f"Give {kind} of at least {least}"
                )
        for name in ("off_centre_distance", "aug_dropout"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) != 2 or not 0 <= value[0] <= value[1]:
                raise InputError(source, f"train_config.{name} is {value!r}", "Give [lowest, highest]")
        factors = self.scaled_classes
        if not isinstance(factors, tuple) or not all(
            isinstance(factor, (int, float)) and 0.5 <= factor <= 2 and factor != 1 for factor in factors
        ):
            raise InputError(
                source,
                f"train_config.scaled_classes is {factors!r}",
                "Give a list of magnifications from 0.5 to 2, without 1",
            )

    def _check_loss_and_miner(self, source: str) -> None:
        named = isinstance(self.miner, Mapping) or self.miner_name is not None
        if named and self.miner_name not in tuple(MINERS):
            raise InputError(
                source,
                f"train_config.miner is {self.miner!r}",
                f"Choose one of {', '.join(MINERS)}, true or false",
            )
        if not isinstance(self.loss_kwargs, Mapping):
            raise InputError(
                source, f"train_config.loss_kwargs is {self.loss_kwargs!r}", "Give an object of arguments"
            )
        keys = [key for part in (*LOSSES.values(), *MINERS.values()) for key in part.takes.values()]
        numbers = {key: getattr(self, key) for key in (*keys, "num_classes")}
        numbers |= {f"miner.{key}": value for key, value in self.miner_arguments.items()}
        for name, value in numbers.items():
            if value is not None and not _is_number(value):
                raise InputError(source, f"train_config.{name} is {value!r}", "Give a number")
        labels = self.only_negative_labels
        if not isinstance(labels, tuple) or not all(isinstance(label, str) for label in labels):
            raise InputError(
                source, f"train_config.only_negative_labels is {labels!r}", 'Give a list such as ["1abc"]'
            )


def _is_number(value: object) -> bool:
    # JSON's true is a number to Python.
    return isinstance(value, int | float) and not isinstance(value, bool)


def training_section(configuration: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A copy of ``train_config``, empty where there is none; InputError if it is no object."""
    section = configuration.get("train_config") or {}
    if not isinstance(section, Mapping):
        raise InputError(source, f"train_config is {section!r}", "Give an object with the keys")
    return dict(section)
