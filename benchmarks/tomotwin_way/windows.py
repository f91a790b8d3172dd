"""Embedding window by window."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tomotwin_lib.products import FloatArray, IntArray

BATCH_SIZE = 64


class Windows(Dataset[torch.Tensor]):
    """The windows around some positions of a tomogram, cut and standardised one by one.

    Parameters
    ----------
    tomogram : (z, y, x), protein dark; it is multiplied by −1 and padded by half a window of reflection.
    centres : (window, 3) voxels z y x.
    window_size : edge of a window, in voxels.
    standardise : ``"window"``, each by its own mean and deviation, or ``"volume"``, all by the tomogram's.
    """

    def __init__(
        self, tomogram: FloatArray, centres: IntArray, window_size: int = 37, standardise: str = "window"
    ) -> None:
        bright = -np.asarray(tomogram, dtype=np.float32)
        if standardise == "volume":
            bright = (bright - bright.mean(dtype=np.float64)) / bright.std(dtype=np.float64)
        # A window that begins at p of the padded volume has its centre at p of the tomogram.
        self.padded = np.pad(bright.astype(np.float32), window_size // 2, mode="reflect")
        self.corners = np.asarray(centres)
        self.window_size = window_size
        self.each = standardise == "window"

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, index: int) -> torch.Tensor:
        z, y, x = (int(corner) for corner in self.corners[index])
        size = self.window_size
        window = self.padded[z : z + size, y : y + size, x : x + size]
        if self.each:
            window = (window - window.mean()) / window.std()
        return torch.from_numpy(np.ascontiguousarray(window))[None]


def embed_window_by_window(network: nn.Module, windows: Windows) -> FloatArray:
    """Run the network on one window after another, in batches of 64.

    Follows: "TomoTwin runs a 37³ window through its network for every position"; batches of 64 are the
    default of ``tomotwin_embed.py tomogram``.

    In its favour: the tomogram is padded and standardised beforehand, off the clock; no gradients are
    recorded; the windows are cut in this process, as it takes a hundredth of the time of the network and
    other processes would take turns with it on the same cores. The network is used as it was trained.

    Parameters
    ----------
    network : in evaluation mode; takes (b, 1, d, h, w).

    Returns
    -------
    (window, channel).
    """
    batches = []
    with torch.inference_mode():
        for batch in DataLoader(windows, batch_size=BATCH_SIZE):
            batches.append(network(batch).numpy())
    return np.concatenate(batches)
