"""Densities of known structures, which are the anchors that subvolumes are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from tomotwin_lib.embedding.preparation import standardise_window
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import label_from_name
from tomotwin_lib.formats.volumes import find_volumes, read_subvolume


class Densities:
    """Densities whose file names carry their labels, each padded to a window and standardised.

    Parameters
    ----------
    folder : searched for volumes, protein bright, with the voxel size of the subvolumes.
    window_size : edge of the window, in voxels.
    classes : labels in the order of their numbers; densities of others are left out.

    Attributes
    ----------
    names : of the files, in order.
    volumes : (density, 1, d, h, w).
    labels : (density,) numbers of their classes.

    Raises
    ------
    InputError
        If there is no volume, a name carries no label, or a density is no cube or larger than the window.
    """

    def __init__(self, folder: str | Path, window_size: int, classes: Sequence[str]) -> None:
        numbers = {label: number for number, label in enumerate(classes)}
        paths = [path for path in find_volumes([folder]) if label_from_name(path.name) in numbers]
        self.names = [path.name for path in paths]
        volumes = [centred_in_window(path, window_size) for path in paths]
        self.volumes = standardise_window(torch.from_numpy(np.stack(volumes)))[:, None]
        self.labels = torch.tensor([numbers[label_from_name(path.name)] for path in paths])

    def draw(self, labels: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One density, at random, of each class in a batch that has any.

        Parameters
        ----------
        labels : (b,) of the batch.
        generator : of the CPU.

        Returns
        -------
        (k, 1, d, h, w) densities and (k,) labels, on the device of ``labels``.
        """
        # A random order decides: the first of each class is drawn.
        order = torch.randperm(len(self.labels), generator=generator)
        drawn = [
            int(order[self.labels[order] == label][0])
            for label in labels.unique().tolist()
            if (self.labels == label).any()
        ]
        return self.volumes[drawn].to(labels.device), self.labels[drawn].to(labels.device)


def centred_in_window(path: str | Path, window_size: int) -> npt.NDArray[np.float32]:
    """Read a cubic density and surround it with zeros, so that its centre is that of the window.

    The centre of an even edge is the voxel behind its middle, as in FFTs and in RELION.

    Returns
    -------
    (z, y, x) array, each edge ``window_size``.

    Raises
    ------
    InputError
        If the file cannot be used, or the density is no cube or larger than the window.
    """
    density = read_subvolume(path)
    edge = density.shape[0]
    if density.shape != (edge,) * 3 or edge > window_size:
        raise InputError(
            path,
            f"it is {'×'.join(map(str, density.shape))} voxels (z×y×x)",
            f"Give a cube of at most {window_size} voxels, at the voxel size of the subvolumes",
        )
    before = window_size // 2 - edge // 2
    return np.pad(density, (before, window_size - edge - before))
