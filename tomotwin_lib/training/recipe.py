"""How a network is trained on whole tomograms: the recipe, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from tomotwin_lib.errors import InputError
from tomotwin_lib.training.settings import training_section

# Range of each number: least and most, both possible. Those in ``_WHOLE`` are whole.
_RANGES = {
    "particles": (4, 4096),
    "subvolumes": (0, 4096),
    "per_class": (2, 64),
    "off_centre": (0, 4096),
    "distractors": (0, 4096),
    "background": (0, 4096),
    "hard": (0, 4096),
    "abundance": (0.0, 2.0),
    "learning_rate": (1e-12, 1.0),
    "weight_decay": (0.0, 1.0),
    "muon": (0.0, 100.0),
    "proxies": (0.0, 1e6),
    "scale": (1e-3, 1e3),
    "margin": (0.0, 1.0),
    "level": (-1.0, 1.0),
    "pairs": (0.0, 1e6),
    "temperature": (1e-3, 10.0),
    "last_temperature": (1e-3, 10.0),
    "averaging": (0.0, 0.99999),
    "looks": (0, 10**9),
    "jitter": (0, 4),
    "noise": (0.0, 10.0),
    "gain": (0.0, 10.0),
    "offset": (0.0, 10.0),
    "own_statistics": (0.0, 1.0),
    "fresh_noise": (0.0, 1.0),
}
_WHOLE = {
    "particles",
    "subvolumes",
    "per_class",
    "off_centre",
    "distractors",
    "background",
    "hard",
    "looks",
    "jitter",
}

_Settings = TypeVar("_Settings", "Shares", "Recipe")


@dataclass(frozen=True)
class Shares:
    """Windows of one batch.

    Attributes
    ----------
    particles : in the middle of the window, ``per_class`` of each class drawn.
    subvolumes : of single subvolumes, where such are trained on too; ``per_class`` of each class drawn, and
        the same classes are among those of ``particles``.
    off_centre : a particle that lies off the middle by ``distance`` (range, in voxels).
    distractors : on a voxel of a membrane, a gold bead, …
    background : anywhere that is off all particles.
    hard : where the network of some steps ago saw a particle, and there is none; anywhere until then.
    abundance : classes are drawn as often as the number of their particles to this power says: 1 for as often
        as they have particles, 0 for all alike. In a pool of few structures and many made-up molecules, more
        of it sets the structures beside each other more often.
    """

    particles: int = 40
    subvolumes: int = 6
    per_class: int = 2
    off_centre: int = 8
    distractors: int = 4
    background: int = 4
    hard: int = 16
    abundance: float = 1.0
    distance: tuple[float, float] = (3.0, 12.0)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on tomograms; the ``train_config`` of a configuration may name any of it.

    Attributes
    ----------
    shares : what a batch consists of.
    learning_rate, weight_decay : of AdamW; the rate warms up and then falls to zero along a cosine.
    muon : learning rate of the kernels, which :class:`~.kernel_optimizer.KernelMuon` trains, in units of the
        learning rate; 0 for AdamW throughout.
    proxies : weight of :class:`~.proxy_loss.ProxyLoss`, whose ``scale``, ``margin`` and ``level`` follow.
        Alone it finds nothing: all embeddings come to lie off all directions.
    pairs : weight of the supervised contrastive loss (Khosla et al., 2020), in which the windows without a
        particle are negatives of every particle.
    temperature, last_temperature : of that loss, at the beginning and at the end of a run. A colder loss
        looks closer at what is most alike, and learns later.
    averaging : decay, a step, of the exponential average of the weights, which is what is kept.
    looks : steps between two looks for hard negatives; 0 for none.
    jitter : most voxels, along each axis, by which a particle's window may be off its nearest voxel: a
        tomogram is embedded at every second voxel.
    noise, gain, offset : as ``aug_noise``, ``aug_gain`` and ``aug_offset`` of the training on subvolumes.
    own_statistics : share of windows that are standardised by themselves, as references are, and not by the
        statistics of their tomogram.
    fresh_noise : share of windows, but hard ones, whose noise is exchanged for that of another place, where
        it is known by itself, as in the pool of simulated tomograms.
    """

    shares: Shares = Shares()
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    muon: float = 2.0
    proxies: float = 0.1
    scale: float = 14.0
    margin: float = 0.1
    level: float = 0.4
    pairs: float = 1.0
    temperature: float = 0.2
    last_temperature: float = 0.2
    averaging: float = 0.995
    looks: int = 25
    jitter: int = 1
    noise: float = 0.3
    gain: float = 0.15
    offset: float = 0.1
    own_statistics: float = 0.5
    fresh_noise: float = 1.0

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], source: str) -> Recipe:
        """Read ``train_config``.

        Raises
        ------
        InputError
            If a key is unknown or a value is out of range.
        """
        given = training_section(configuration, source)
        if "shares" in given:
            if not isinstance(given["shares"], Mapping):
                raise InputError(
                    source, f"train_config.shares is {given['shares']!r}", "Give an object with the keys"
                )
            given["shares"] = _read(Shares, given["shares"], source, "train_config.shares")
        recipe = _read(cls, given, source, "train_config")
        if not recipe.proxies and not recipe.pairs:
            raise InputError(source, "train_config.proxies and pairs are both 0", "Give one loss a weight")
        return recipe

    def as_configuration(self) -> dict[str, Any]:
        """What :meth:`from_configuration` reads, of plain types."""
        content = asdict(self)
        content["shares"]["distance"] = list(self.shares.distance)
        return content


def _read(kind: type[_Settings], given: Mapping[str, Any], source: str, at: str) -> _Settings:
    known = [field.name for field in fields(kind)]
    unknown = [key for key in given if key not in known]
    if unknown:
        of_shares = kind is not Shares and unknown[0] in {field.name for field in fields(Shares)}
        raise InputError(
            source,
            f"{at} has unknown keys: {', '.join(unknown)}",
            f"{unknown[0]} belongs into its shares" if of_shares else f"Its keys are {', '.join(known)}",
        )
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name == "distance":
            values[name] = _distance(value, source, at)
        elif name == "shares":
            values[name] = value
        else:
            values[name] = _number(name, value, source, at)
    return kind(**values)


def _number(name: str, value: object, source: str, at: str) -> float:
    least, most = _RANGES[name]
    # NaN, which JSON knows in Python, is neither less nor more; JSON's true is a number to Python.
    good = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
    if not good or (name in _WHOLE and value % 1):  # type: ignore[operator]
        kind = "a whole number" if name in _WHOLE else "a number"
        raise InputError(source, f"{at}.{name} is {value!r}", f"Give {kind} from {least:g} to {most:g}")
    return int(value) if name in _WHOLE else float(value)  # type: ignore[call-overload,arg-type]


def _distance(value: object, source: str, at: str) -> tuple[float, float]:
    good = isinstance(value, list | tuple) and len(value) == 2
    good = good and all(isinstance(one, int | float) and math.isfinite(one) for one in value)  # type: ignore[attr-defined]
    if not good or not 1 <= value[0] <= value[1]:  # type: ignore[index]
        raise InputError(
            source, f"{at}.distance is {value!r}", "Give [least, most] in voxels, the least 1 or more"
        )
    return float(value[0]), float(value[1])  # type: ignore[index]
