"""Windows of labelled tomograms in batches: particles by class, and what must not look like any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.training.labelled_tomograms import GREY_LEVELS, LabelledTomogram
from tomotwin_lib.training.recipe import Shares

NO_PARTICLE = -1
"""The class of a window that shows no particle in its middle."""

HARD_KEPT = 1000
"""False peaks in the list: some hundred steps later the network has learnt them."""

_TRIES = 20
_BACKGROUND_TRIES = 10_000


@dataclass
class WindowDraws:
    """Draws batches of windows.

    Parameters
    ----------
    tomograms : where from; every particle is used whose window lies inside its tomogram. Their voxels lie on
        one device, and the windows with them.
    window : edge of the windows, in voxels, odd.
    shares : what a batch consists of.
    jitter : most voxels, along each axis, by which a particle's window may be off its nearest voxel.
    subvolumes : single particles to draw from too, as :func:`~.centred_subvolumes.read_centred_subvolumes`
        reads them. A class may be in both.
    fresh_noise : share of the windows, but hard ones, whose noise is exchanged for that of another place of
        their tomogram, where that is known. Without it a network learns to recognise each particle by its
        noise.

    Attributes
    ----------
    classes : the names that labels are places in: those with ``per_class`` particles or more in tomograms, or
        as many in subvolumes.
    hard : false peaks, the oldest first: number of the tomogram, and z y x.

    Raises
    ------
    InputError
        If a tomogram is smaller than the window, or fewer than two classes have ``per_class`` particles.
    """

    tomograms: Sequence[LabelledTomogram]
    window: int
    shares: Shares
    jitter: int = 1
    subvolumes: Sequence[LabelledTomogram] = ()
    fresh_noise: float = 1.0
    classes: list[str] = field(init=False)
    hard: list[tuple[int, npt.NDArray[np.int64]]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        for tomogram in self.tomograms:
            if min(tomogram.voxels.shape) < self.window:
                z, y, x = tomogram.voxels.shape
                raise InputError(
                    tomogram.name,
                    f"it is {z}×{y}×{x} voxels (z×y×x), less than a window of {self.window}",
                    "Give larger tomograms",
                )
        members = self._by_class(self.tomograms, 0)
        singles = self._by_class(self.subvolumes, len(self.tomograms))
        self.classes = sorted({*members, *singles})
        if len(self.classes) < 2:
            every = {label for tomogram in (*self.tomograms, *self.subvolumes) for label in tomogram.labels}
            raise InputError(
                "training tomograms",
                f"{len(self.classes)} of their {len(every)} classes have "
                f"{self.shares.per_class} particles or more that lie half a window off the faces",
                "At least two must: give more tomograms or particles",
            )
        self._members = [members.get(label, []) for label in self.classes]
        self._singles = [singles.get(label, []) for label in self.classes]
        self._weights = _class_shares(self._members, self.shares.abundance)
        self._single_weights = _class_shares(self._singles, self.shares.abundance)

    def _by_class(
        self, tomograms: Sequence[LabelledTomogram], first: int
    ) -> dict[str, list[tuple[int, int]]]:
        """Number of the tomogram, from ``first`` on, and of the particle, of those that can be drawn."""
        found: dict[str, list[tuple[int, int]]] = {}
        for number, tomogram in enumerate(tomograms, first):
            inside = self._inside(tomogram, np.rint(tomogram.centres), self.jitter)
            for index in np.flatnonzero(inside):
                found.setdefault(tomogram.labels[int(index)], []).append((number, int(index)))
        return {label: own for label, own in found.items() if len(own) >= self.shares.per_class}

    def _tomogram(self, number: int) -> LabelledTomogram:
        """Subvolumes are numbered behind the tomograms."""
        wide = len(self.tomograms)
        return self.tomograms[number] if number < wide else self.subvolumes[number - wide]

    def keep_hard(self, number: int, places: Sequence[npt.NDArray[np.int64]]) -> None:
        """Take false peaks of a tomogram into the list that hard negatives are drawn from; the oldest go."""
        inside = [(number, place) for place in places if self._inside(self.tomograms[number], place)]
        self.hard = (self.hard + inside)[-HARD_KEPT:]

    def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch.

        Returns
        -------
        Windows (b, 1, d, h, w), float32, in deviations of their tomograms, particles first; and labels (b,),
        on the CPU: places in ``classes``, ``NO_PARTICLE`` for the others.
        """
        places, labels = self.places(rng)
        windows = self.cut(places)
        # The last are the hard ones: with other noise they would look like no particle any more.
        renewed = len(places) - self.shares.hard
        for window, (number, middle) in zip(windows[:renewed], places[:renewed], strict=True):
            noise = self._tomogram(number).noise
            if noise is not None and rng.random() < self.fresh_noise:
                self._renew_noise(window[0], noise, middle, rng)
        return windows, torch.tensor(labels)

    def _renew_noise(
        self,
        window: torch.Tensor,  # (d, h, w), changed in place
        noise: torch.Tensor,  # of its tomogram
        middle: npt.NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        half = self.window // 2
        other = [int(rng.integers(half, edge - half)) for edge in noise.shape]
        window += (noise[self._box(other)].float() - noise[self._box(middle)].float()) / GREY_LEVELS

    def places(self, rng: np.random.Generator) -> tuple[list[tuple[int, npt.NDArray[np.int64]]], list[int]]:
        """Where the windows of a batch lie (number of the tomogram, z y x of the middle); their labels."""
        shares = self.shares
        places: list[tuple[int, npt.NDArray[np.int64]]] = []
        labels: list[int] = []
        with_singles = self._drawn_classes(rng, shares.subvolumes, self._single_weights)
        chosen = [label for label in with_singles if self._members[label]]
        rest = self._weights.copy()
        rest[chosen] = 0
        chosen += self._drawn_classes(rng, shares.particles - len(chosen) * shares.per_class, rest)
        drawn = [(label, self._members[label]) for label in chosen]
        drawn += [(label, self._singles[label]) for label in with_singles]
        for label, members in drawn:
            for member in rng.choice(len(members), shares.per_class, replace=False):
                number, index = members[member]
                nearest = np.rint(self._tomogram(number).centres[index]).astype(np.int64)
                places.append((number, nearest + rng.integers(-self.jitter, self.jitter, 3, endpoint=True)))
                labels.append(label)
        for count, draw in (
            (shares.off_centre, self._off_centre),
            (shares.distractors, self._distractor),
            (shares.background, self._background),
            (shares.hard, self._hard),
        ):
            places += [draw(rng) for _ in range(count)]
        labels += [NO_PARTICLE] * (len(places) - len(labels))
        return places, labels

    def _drawn_classes(
        self, rng: np.random.Generator, windows: int, weights: npt.NDArray[np.float64]
    ) -> list[int]:
        """Different classes for so many windows, or as many as have a weight."""
        wanted = min(windows // self.shares.per_class, int(np.count_nonzero(weights)))
        if wanted < 1:
            return []
        drawn: list[int] = rng.choice(len(weights), wanted, replace=False, p=weights / weights.sum()).tolist()
        return drawn

    def _off_centre(self, rng: np.random.Generator) -> tuple[int, npt.NDArray[np.int64]]:
        for _ in range(_TRIES if self._weights.any() else 0):
            members = self._members[rng.choice(len(self._members), p=self._weights)]
            number, index = members[rng.integers(len(members))]
            tomogram = self.tomograms[number]
            direction = rng.standard_normal(3)
            shift = direction / np.linalg.norm(direction) * rng.uniform(*self.shares.distance)
            place = np.rint(tomogram.centres[index] + shift).astype(np.int64)
            if self._inside(tomogram, place) and self._off_particles(
                tomogram, place, self.shares.distance[0]
            ):
                return number, place
        return self._background(rng)

    def _distractor(self, rng: np.random.Generator) -> tuple[int, npt.NDArray[np.int64]]:
        for _ in range(_TRIES):
            number = int(rng.integers(len(self.tomograms)))
            tomogram = self.tomograms[number]
            if not len(tomogram.distractors):
                continue
            place = tomogram.distractors[rng.integers(len(tomogram.distractors))].astype(np.int64)
            if self._inside(tomogram, place) and self._off_particles(
                tomogram, place, self.shares.distance[0]
            ):
                return number, place
        return self._background(rng)

    def _background(self, rng: np.random.Generator) -> tuple[int, npt.NDArray[np.int64]]:
        half = self.window // 2
        for _ in range(_BACKGROUND_TRIES):
            number = int(rng.integers(len(self.tomograms)))
            tomogram = self.tomograms[number]
            place = np.array([rng.integers(half, edge - half) for edge in tomogram.voxels.shape])
            if self._off_particles(tomogram, place, self.shares.distance[0]):
                return number, place
        raise InputError(
            "training tomograms",
            f"hardly a window lies {self.shares.distance[0]:g} voxels or more off all particles",
            "Give larger tomograms",
        )

    def _hard(self, rng: np.random.Generator) -> tuple[int, npt.NDArray[np.int64]]:
        return self.hard[rng.integers(len(self.hard))] if self.hard else self._background(rng)

    def _inside(
        self, tomogram: LabelledTomogram, places: npt.NDArray[Any], margin: int = 0
    ) -> npt.NDArray[np.bool_]:
        """Whether the window about each place (…, 3) lies inside the tomogram, with a margin."""
        least = self.window // 2 + margin
        most = np.array(tomogram.voxels.shape) - 1 - least
        return np.asarray(((places >= least) & (places <= most)).all(axis=-1))

    @staticmethod
    def _off_particles(tomogram: LabelledTomogram, place: npt.NDArray[Any], distance: float) -> bool:
        return bool((np.linalg.norm(tomogram.centres - place, axis=1) >= distance).all())

    def cut(self, places: Sequence[tuple[int, npt.NDArray[np.int64]]]) -> torch.Tensor:
        """The windows about places, (b, 1, d, h, w), float32, in deviations of their tomograms."""
        device = self.tomograms[0].voxels.device
        windows = torch.empty((len(places), *(self.window,) * 3), dtype=torch.int8, device=device)
        for window, (number, middle) in zip(windows, places, strict=True):
            window.copy_(self._tomogram(number).voxels[self._box(middle)])
        return windows[:, None].float() / GREY_LEVELS

    def _box(self, middle: Sequence[int] | npt.NDArray[np.int64]) -> tuple[slice, ...]:
        half = self.window // 2
        return tuple(slice(int(one) - half, int(one) + half + 1) for one in middle)


def _class_shares(members: Sequence[Sequence[object]], abundance: float) -> npt.NDArray[np.float64]:
    """How likely each class is drawn, by the power of how many members it has; 0 where it has none."""
    weights = np.array([len(own) ** abundance if own else 0.0 for own in members])
    return np.asarray(weights / max(weights.sum(), 1))
