"""How to train: the ``train_config`` of a configuration, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from tomotwin_lib.errors import InputError

LOSSES = ("TripletLoss", "MultiSimilarityLoss", "ArcFaceLoss", "SphereFaceLoss", "SupConLoss")
MINERS = ("TripletMarginMiner", "MultiSimilarityMiner", "DistanceWeightedMiner", "UniformHistogramMiner")
OPTIMIZERS = ("Adam", "AdamW", "SGD")
SCHEDULES = ("plateau", "cosine")
ROTATIONS = ("full_z", "half_turns", "none")


@dataclass(frozen=True)
class TrainSettings:
    """The keys of ``train_config``; those of TomoTwin's configurations keep their meaning.

    Attributes
    ----------
    loss : one of ``LOSSES``. ``tl_margin`` is the margin of TripletLoss, ``loss_kwargs`` are further
        arguments of the loss as pytorch-metric-learning names them (``temperature``, ``scale``, …).
    miner : one of ``MINERS``, or ``true`` for the semihard triplet miner, or ``false`` for none;
        ``miner_margin`` is its margin.
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
    aug_dropout : range of the share of voxels set to the mean.
    aug_gain, aug_offset : largest relative change of contrast and largest shift of brightness, in deviations:
        a window inside a tomogram has not exactly the mean and deviation of a subvolume in a file.
    """

    loss: str = "SupConLoss"
    tl_margin: float | None = None
    loss_kwargs: dict[str, Any] = field(default_factory=dict)
    miner: str | bool | None = False
    miner_margin: float | None = None
    learning_rate: float = 1e-3
    optimizer: str = "AdamW"
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
        given = dict(configuration.get("train_config") or {})
        known = {f.name for f in fields(cls)}
        unknown = [key for key in given if key not in known]
        if unknown:
            raise InputError(
                source,
                f"train_config has unknown keys: {', '.join(unknown)}",
                f"Its keys are {', '.join(sorted(known))}",
            )
        for name in ("off_centre_distance", "aug_dropout", "scaled_classes"):
            if isinstance(given.get(name), list):
                given[name] = tuple(given[name])
        settings = cls(**given)
        settings._check(source)
        return settings

    @property
    def miner_name(self) -> str | None:
        """The miner's name; older configurations say only that there is one."""
        return "TripletMarginMiner" if self.miner is True else (self.miner or None)

    def _check(self, source: str) -> None:
        choices = {
            "loss": LOSSES,
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
        if self.miner_name is not None and self.miner_name not in MINERS:
            raise InputError(
                source,
                f"train_config.miner is {self.miner!r}",
                f"Choose one of {', '.join(MINERS)}, true or false",
            )
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
            ("aug_gain", 0),
            ("aug_offset", 0),
        ):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or value < least:
                raise InputError(
                    source, f"train_config.{name} is {value!r}", f"Give a number of at least {least}"
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
