"""Labelled subvolumes beside whole tomograms: each is a small tomogram with one particle, in its middle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from tomotwin_lib.formats.ground_truth import label_from_name
from tomotwin_lib.formats.volumes import find_volumes, read_subvolume
from tomotwin_lib.training.labelled_tomograms import LabelledTomogram, grey_voxels

MARGIN = 4
"""Voxels of reflection about each subvolume: as far as a window's middle may be off the particle's."""


def read_centred_subvolumes(
    places: Sequence[str | Path], window: int = 37, *, progress: bool = True
) -> list[LabelledTomogram]:
    """Read subvolumes to train on together with tomograms.

    Parameters
    ----------
    places : volumes (z, y, x), or folders of them: protein bright, a particle in the middle of each, its
        label in the file's name.
    window : edge in voxels that each must have.
    progress : show a bar.

    Returns
    -------
    One tomogram a subvolume, ``MARGIN`` voxels larger on each side, standardised by itself.

    Raises
    ------
    InputError
        If there is no volume, one is of another size or without contrast, or a name tells no label.
    """
    paths = find_volumes(places)
    labels = [label_from_name(str(path)) for path in paths]
    middle = np.full((1, 3), window // 2 + MARGIN, np.float32)
    found = []
    bar = tqdm(paths, desc="reading subvolumes", unit="file", disable=not progress, leave=False)
    for path, label in zip(bar, labels, strict=True):
        # Files of subvolumes are bright, tomograms dark.
        grey = np.pad(grey_voxels(-read_subvolume(path, window)).numpy(), MARGIN, mode="reflect")
        found.append(
            LabelledTomogram(path.stem, torch.from_numpy(grey), middle, [label], np.empty((0, 3), np.int32))
        )
    return found
