"""Where a network in training sees particles that are not there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import maximum_filter
from torch.nn import functional

from tomotwin_lib.embedding.precision import training_precision
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.training.labelled_tomograms import GREY_LEVELS, LabelledTomogram

PART_EDGE = 117
"""Most voxels along each edge of the part that is looked at: 41 positions, a few seconds on a CPU."""

_PEAK_SITES = 5


@torch.no_grad()
def hard_negatives(
    network: DenseNetwork,
    directions: torch.Tensor,
    tomogram: LabelledTomogram,
    rng: np.random.Generator,
    *,
    off: float,
    most: int,
) -> list[npt.NDArray[np.int64]]:
    """The strongest false peaks in a random part of a tomogram.

    Parameters
    ----------
    network : in evaluation mode.
    directions : (class, channel) that embeddings are compared with; of any norm.
    tomogram : at least one window in size.
    rng : chooses the part.
    off : least distance in voxels of a false peak from every particle's centre.
    most : number of peaks.

    Returns
    -------
    (3,) z y x in voxels each, the strongest first.
    """
    stride, half = network.total_stride, network.window_size // 2
    edges = [min(PART_EDGE, edge) for edge in tomogram.voxels.shape]
    corner = np.array(
        [
            rng.integers(0, edge - part, endpoint=True)
            for edge, part in zip(tomogram.voxels.shape, edges, strict=True)
        ]
    )
    part = tuple(slice(start, start + edge) for start, edge in zip(corner, edges, strict=True))
    device = directions.device
    volume = tomogram.voxels[part][None, None].float().div(GREY_LEVELS).to(device)
    with training_precision(device):
        embeddings = network.forward_dense(volume)[0].float()
    similarity = torch.einsum("czyx,kc->kzyx", embeddings, functional.normalize(directions, dim=1)).amax(
        dim=0
    )
    strength = similarity.cpu().numpy()
    peaks = np.argwhere(strength == maximum_filter(strength, size=_PEAK_SITES))
    places = corner + half + stride * peaks
    distances = np.linalg.norm(places[:, None] - tomogram.centres[None], axis=-1)
    false = (distances >= off).all(axis=1)
    order = np.argsort(-strength[tuple(peaks[false].T)])[:most]
    return list(places[false][order].astype(np.int64))
