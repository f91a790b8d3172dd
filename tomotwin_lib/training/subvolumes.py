"""A folder of labelled subvolumes as a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from tomotwin_lib.embedding.preparation import standardise_window
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import label_from_name
from tomotwin_lib.formats.volumes import find_volumes, read_subvolume

# Below this size a data set is read once and kept; above, each batch reads its files again.
CACHE_BYTES = 4 * 1024**3


class LabelledSubvolumes(Dataset[tuple[torch.Tensor, int]]):
    """Subvolumes whose file names carry their labels, each standardised to mean 0 and deviation 1.

    Parameters
    ----------
    folder : searched for volumes.
    paths : those of its volumes that are used; all where ``None``.
    window_size : edge that every subvolume must have, in voxels.
    classes : the labels in the order of their numbers; those found in the folder where ``None``.
    progress : show a progress bar while the files are read.

    Raises
    ------
    InputError
        If there is no volume, a name carries no label or one that is not among ``classes``, or a volume
        cannot be used.
    """

    def __init__(
        self,
        folder: str | Path,
        window_size: int,
        classes: list[str] | None = None,
        *,
        paths: Sequence[Path] | None = None,
        progress: bool = True,
    ) -> None:
        self.paths = find_volumes([folder] if paths is None else paths)
        self.window_size = window_size
        labels = [label_from_name(path.name) for path in self.paths]
        self.classes = sorted(set(labels)) if classes is None else classes
        strangers = sorted(set(labels) - set(self.classes))
        if strangers:
            raise InputError(
                folder,
                f"no training subvolumes of {', '.join(strangers)}",
                "Use the same classes in both folders",
            )
        numbers = {label: number for number, label in enumerate(self.classes)}
        self.labels = np.array([numbers[label] for label in labels])
        self._cache: list[torch.Tensor] | None = None
        if len(self.paths) * 4 * window_size**3 <= CACHE_BYTES:
            bar = tqdm(
                self.paths,
                desc=f"reading {Path(folder).name}",
                unit="file",
                disable=not progress,
                leave=False,
            )
            self._cache = [self._read(path) for path in bar]

    def counts(self) -> dict[str, int]:
        """Number of subvolumes of each class."""
        return {label: int((self.labels == number).sum()) for number, label in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """One subvolume, shape (1, d, h, w), and the number of its class."""
        volume = self._cache[index] if self._cache is not None else self._read(self.paths[index])
        return volume, int(self.labels[index])

    def _read(self, path: Path) -> torch.Tensor:
        return standardise_window(torch.from_numpy(read_subvolume(path, self.window_size))[None])
