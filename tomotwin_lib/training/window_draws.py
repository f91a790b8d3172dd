"""Windows of labelled tomograms in batches: particles by class, and what must not look like any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.training.labelled_tomograms import GREY_LEVELS, LabelledTomogram

NO_PARTICLE = -1
"""The class of a window that shows no particle in its middle."""

HARD_KEPT = 1000
"""False peaks in the list: some hundred steps later the network has learnt them."""

_TRIES = 20


@dataclass(frozen=True)
class Shares:
    """Windows of one batch.

    Attributes
    ----------
    particles : in the middle of the window, ``per_class`` of each class drawn.
    off_centre : a particle that lies off the middle by ``distance`` (range, in voxels).
    distractors : on a voxel of a membrane, a gold bead, …
    background : anywhere that is off all particles.
    hard : where the network of some minutes ago saw a particle, and there is none; anywhere until then.
    """

    particles: int = 32
    per_class: int = 2
    off_centre: int = 8
    distractors: int = 4
    background: int = 4
    hard: int = 8
    distance: tuple[float, float] = (3.0, 12.0)


@dataclass
class WindowDraws:
    """Draws batches of windows.

    Parameters
    ----------
    tomograms : where from; every particle is used whose window lies inside its tomogram.
    window : edge of the windows, in voxels, odd.
    shares : what a batch consists of.
    jitter : most voxels, along each axis, by which a particle's window may be off its nearest voxel: a
        tomogram is embedded at every second voxel.

    Raises
    ------
    InputError
        If fewer than two classes have two particles.
    """

    tomograms: Sequence[LabelledTomogram]
    window: int
    shares: Shares = Shares()
    jitter: int = 1
    classes: list[str] = field(init=False)
    hard: list[tuple[int, npt.NDArray[np.int64]]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        found: dict[str, list[tuple[int, int]]] = {}
        for number, tomogram in enumerate(self.tomograms):
            inside = self._inside(tomogram, np.rint(tomogram.centres), self.jitter)
            for index in np.flatnonzero(inside):
                found.setdefault(tomogram.labels[index], []).append((number, int(index)))
        members = {label: found[label] for label in sorted(found) if len(found[label]) >= self.shares.per_class}
        if len(members) < 2:
            raise InputError(
                "training tomograms",
                f"{len(members)} classes have {self.shares.per_class} particles or more that lie half a window "
                "off the faces",
                "Give more tomograms or particles",
            )
        self.classes = list(members)
        self._members = list(members.values())
        # A class with four times the particles is drawn twice as often.
        weights = np.sqrt([len(own) for own in self._members])
        self._weights = weights / weights.sum()

    def keep_hard(self, number: int, places: Sequence[npt.NDArray[np.int64]]) -> None:
        """Take false peaks of a tomogram into the list that hard negatives are drawn from; the oldest go."""
        inside = [(number, place) for place in places if self._inside(self.tomograms[number], place)]
        self.hard = (self.hard + inside)[-HARD_KEPT:]

    def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch: windows (b, 1, d, h, w), float32, in deviations of their tomograms, and labels (b,)."""
        shares = self.shares
        places: list[tuple[int, npt.NDArray[np.int64]]] = []
        labels: list[int] = []
        wanted = min(shares.particles // shares.per_class, len(self.classes))
        for label in rng.choice(len(self.classes), wanted, replace=False, p=self._weights):
            members = self._members[label]
            for chosen in rng.choice(len(members), shares.per_class, replace=False):
                number, index = members[chosen]
                nearest = np.rint(self.tomograms[number].centres[index]).astype(np.int64)
                places.append((number, nearest + rng.integers(-self.jitter, self.jitter, 3, endpoint=True)))
                labels.append(int(label))
        for count, draw in (
            (shares.off_centre, self._off_centre),
            (shares.distractors, self._distractor),
            (shares.background, self._background),
            (shares.hard, self._hard),
        ):
            places += [draw(rng) for _ in range(count)]
        labels += [NO_PARTICLE] * (len(places) - len(labels))
        return self._cut(places), torch.tensor(labels)

    def _off_centre(self, rng: np.random.Generator) -> tuple[int, npt.NDArray[np.int64]]:
        for _ in range(_TRIES):
            members = self._members[rng.choice(len(self._members), p=self._weights)]
            number, index = members[rng.integers(len(members))]
            tomogram = self.tomograms[number]
            direction = rng.standard_normal(3)
            shift = direction / np.linalg.norm(direction) * rng.uniform(*self.shares.distance)
            place = np.rint(tomogram.centres[index] + shift).astype(np.int64)
            if self._inside(tomogram, place) and self._off_particles(tomogram, place, self.shares.distance[0]):
                return number, place
        return self._background(rng)

    def _distractor(self, rng: np.random.Generator) -> tuple[int, npt.NDArray[np.int64]]:
        for _ in range(_TRIES):
            number = int(rng.integers(len(self.tomograms)))
            tomogram = self.tomograms[number]
            if not len(tomogram.distractors):
                continue
            place = tomogram.distractors[rng.integers(len(tomogram.distractors))].astype(np.int64)
            if self._inside(tomogram, place) and self._off_particles(tomogram, place, self.shares.distance[0]):
                return number, place
        return self._background(rng)

    def _background(self, rng: np.random.Generator) -> tuple[int, npt.NDArray[np.int64]]:
        while True:
            number = int(rng.integers(len(self.tomograms)))
            tomogram = self.tomograms[number]
            half = self.window // 2
            place = np.array([rng.integers(half, edge - half) for edge in tomogram.voxels.shape])
            if self._off_particles(tomogram, place, self.shares.distance[0]):
                return number, place

    def _hard(self, rng: np.random.Generator) -> tuple[int, npt.NDArray[np.int64]]:
        return self.hard[rng.integers(len(self.hard))] if self.hard else self._background(rng)

    def _inside(
        self, tomogram: LabelledTomogram, places: npt.NDArray[np.generic], margin: int = 0
    ) -> npt.NDArray[np.bool_]:
        """Whether the window about each place (…, 3) lies inside the tomogram, with a margin."""
        least = self.window // 2 + margin
        most = np.array(tomogram.voxels.shape) - 1 - least
        return ((places >= least) & (places <= most)).all(axis=-1)

    @staticmethod
    def _off_particles(
        tomogram: LabelledTomogram, place: npt.NDArray[np.generic], distance: float
    ) -> bool:
        return bool((np.linalg.norm(tomogram.centres - place, axis=1) >= distance).all())

    def _cut(self, places: Sequence[tuple[int, npt.NDArray[np.int64]]]) -> torch.Tensor:
        half = self.window // 2
        windows = torch.empty((len(places), *(self.window,) * 3), dtype=torch.int8)
        for window, (number, (z, y, x)) in zip(windows, places, strict=True):
            window.copy_(
                self.tomograms[number].voxels[
                    z - half : z + half + 1, y - half : y + half + 1, x - half : x + half + 1
                ]
            )
        return windows[:, None].float() / GREY_LEVELS
