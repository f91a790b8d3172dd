"""Training subvolumes set aside to validate with, where there is no folder of others."""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import label_from_name
from tomotwin_lib.formats.volumes import find_volumes

# The share of each class that is set aside, as in TomoTwin.
SHARE = 0.2
# A single subvolume has no other of its class to be compared with: its scores would mean nothing.
FEWEST = 2


@dataclass(frozen=True)
class Split:
    """The subvolumes of a folder: those to train on and those to validate with, each sorted by path."""

    training: tuple[Path, ...]
    validation: tuple[Path, ...]

    def note(self) -> str:
        """How many of each class are set aside, in a sentence."""
        aside, others = by_class(self.validation), by_class(self.training)
        told = [
            f"{len(aside.get(label, []))} of {len(aside.get(label, [])) + len(paths)} {label}"
            for label, paths in others.items()
        ]
        count = len(self.validation)
        return (
            f"no --validvolumes: {count} of {count + len(self.training)} subvolumes are set aside "
            f"to validate with ({', '.join(told)})"
        )


def split_by_class(folder: str | Path, seed: int) -> Split:
    """Set a fifth of each class aside, chosen at random: two at least, but none of a class of less than four.

    The choice follows from the seed and the names of the class's files, wherever the folder lies.

    Raises
    ------
    InputError
        If there is no volume, a name tells no class, or fewer than two classes have four subvolumes.
    """
    classes = by_class(find_volumes([folder]))
    validated_classes(folder, classes)
    training: list[Path] = []
    validation: list[Path] = []
    for label, paths in classes.items():
        count = max(math.floor(SHARE * len(paths) + 0.5), FEWEST) if len(paths) >= 2 * FEWEST else 0
        # A stream of its own for each class, so that a new class changes nothing about the others.
        order = np.random.default_rng([seed, zlib.crc32(label.encode())]).permutation(len(paths))
        validation += [paths[index] for index in order[:count]]
        training += [paths[index] for index in order[count:]]
    return Split(tuple(sorted(training)), tuple(sorted(validation)))


def validated_classes(folder: str | Path, classes: dict[str, list[Path]] | None = None) -> list[str]:
    """The classes that a split of the folder validates: those with four subvolumes or more.

    Raises
    ------
    InputError
        As :func:`split_by_class`.
    """
    classes = by_class(find_volumes([folder])) if classes is None else classes
    several = [label for label, paths in classes.items() if len(paths) >= 2 * FEWEST]
    if len(several) < 2:
        raise InputError(
            folder,
            "there are too few subvolumes to set some aside for validation: "
            f"{', '.join(several) or 'no class'} alone has {2 * FEWEST} or more",
            f"Give --validvolumes, or {2 * FEWEST} subvolumes or more of at least two classes",
        )
    return several


def by_class(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """The files of each class, classes and files sorted; a name that tells no class is an InputError."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(paths):
        found[label_from_name(path.name)].append(path)
    return dict(sorted(found.items()))
