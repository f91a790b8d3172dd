"""Copies of a molecule in many poses at once, by interpolation in PyTorch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.transform import Rotation
from torch.nn.functional import grid_sample

from tomotwin_lib.simulation.molecules import FINER, Molecule

_POINTS_AT_ONCE = 1 << 21  # 24 MiB of sampling points: few enough for the cache to help


def render_copies(
    molecule: Molecule,
    rotations: Rotation,
    offsets: npt.ArrayLike,
    device: torch.device | str = "cpu",
) -> torch.Tensor:  # (k, w, w, w)
    """Rotated and shifted copies of a molecule.

    Trilinear interpolation of a density that is sampled twice as finely: what that loses of the highest
    frequencies is less than a fifth, and of a whole molecule a few hundredths.

    Parameters
    ----------
    molecule : what is drawn.
    rotations : k of them; each carries the molecule's own frame (x, y, z) to the volume's.
    offsets : (k, 3), columns z y x, of each centre from the central voxel, in voxels, at most 0.5.
    device : where to compute.

    Returns
    -------
    (k, w, w, w) float32 on the device, axes (z, y, x); w is :func:`window_of` the molecule, and the central
    voxel has the index ``w // 2``.
    """
    matrices = torch.as_tensor(rotations.as_matrix().reshape(-1, 3, 3), dtype=torch.float32, device=device)
    shifts = torch.as_tensor(np.asarray(offsets, dtype=np.float32).reshape(-1, 3), device=device)
    source = torch.as_tensor(molecule.fine_density, device=device)[None, None]
    window = window_of(molecule)
    axis = torch.arange(window, dtype=torch.float32, device=device) - window // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = torch.stack((x, y, z), dim=-1).reshape(-1, 3)
    # grid_sample measures from the middle in units of half the extent.
    unit = FINER / ((source.shape[-1] - 1) / 2)
    copies = torch.empty((len(matrices), window, window, window), dtype=torch.float32, device=device)
    step = max(1, _POINTS_AT_ONCE // window**3)
    for start in range(0, len(matrices), step):
        some = slice(start, start + step)
        # Rows times the matrix are columns times its transpose: the inverse rotation, back to the own frame.
        own = (points[None] - shifts[some, None].flip(-1)) @ (matrices[some] * unit)
        grid = own.reshape(1, -1, window * window, window, 3)
        sampled = grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        copies[some] = sampled.reshape(-1, window, window, window)
    return copies


def window_of(molecule: Molecule) -> int:
    """Edge in voxels, odd, of the window that a copy in any pose and shift is drawn in, tails included."""
    offsets = np.argwhere(molecule.density > 0) - len(molecule.density) // 2
    return 2 * int(np.ceil(np.linalg.norm(offsets, axis=1).max() + 0.5)) + 1
