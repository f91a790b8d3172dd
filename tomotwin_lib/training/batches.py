"""Batches in which every class drawn has equally many samples, so that each anchor has positives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler


class ClassBalancedBatches(Sampler[list[int]]):
    """The batches of one epoch.

    Parameters
    ----------
    labels : (sample,) number of each sample's class.
    batch_size : samples in a batch, rounded down to whole classes, but at least two classes and at most all.
    per_class : samples of each class drawn; repeated where a class has fewer.
    seed : the same seed gives the same batches.
    anchors : (class,) numbers of the classes that can be anchors: each batch has one of them at least, as
        nothing is learnt from a batch without. All can where ``None``.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.integer],
        batch_size: int,
        per_class: int,
        seed: int,
        anchors: npt.NDArray[np.integer] | None = None,
    ) -> None:
        classes = np.unique(labels)
        self.members = [np.flatnonzero(labels == label) for label in classes]
        self.can_anchor = np.isin(classes, classes if anchors is None else anchors)
        self.per_class = per_class
        self.classes_per_batch = min(max(batch_size // per_class, 2), len(self.members))
        self.count = max(round(len(labels) / (self.classes_per_batch * per_class)), 1)
        self.seed = seed

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng(self.seed)
        for _ in range(self.count):
            classes = self._draw_classes(generator)
            while not self.can_anchor[classes].any():
                classes = self._draw_classes(generator)
            yield [
                int(index)
                for number in classes
                for index in generator.choice(
                    self.members[number], self.per_class, replace=len(self.members[number]) < self.per_class
                )
            ]

    def _draw_classes(self, generator: np.random.Generator) -> npt.NDArray[np.integer]:
        return generator.choice(len(self.members), self.classes_per_batch, replace=False)
