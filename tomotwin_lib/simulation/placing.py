"""Room for one particle after the other: random places at which a mask meets nothing that is there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from tomotwin_lib.simulation.particles import Float32Array

_CANDIDATES = 256
_ROUNDS = 12
_PROBES = 48  # voxels of the mask that are looked at first: few candidates need more


class Placer:
    """A volume that is filled with particles.

    Parameters
    ----------
    density : (z, y, x), what is there already.
    class_mask : (z, y, x) uint16, not 0 where there is something.
    gap : voxels that stay free around every particle.
    rng : source of all randomness.
    """

    def __init__(
        self, density: Float32Array, class_mask: npt.NDArray[np.uint16], gap: int, rng: np.random.Generator
    ) -> None:
        self._shape = np.array(density.shape)
        self._gap = gap
        self._rng = rng
        # Windows stick out where particles lie near a face: everything is drawn on a larger canvas.
        self._border = 0
        self._density, self._mask = density, class_mask

    @property
    def density(self) -> Float32Array:
        """(z, y, x), with all particles placed so far."""
        return np.ascontiguousarray(self._density[self._inside])

    @property
    def class_mask(self) -> npt.NDArray[np.uint16]:
        """(z, y, x), with all particles placed so far."""
        return np.ascontiguousarray(self._mask[self._inside])

    def place(
        self,
        copy: Float32Array,
        level: float,
        number: int,
        margin: float,
        offset: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64] | None:
        """Add a particle at a random place where it has room.

        Parameters
        ----------
        copy : (w, w, w), w odd, its density.
        level : it is in the way of others where its density is above this.
        number : its value in the class mask.
        margin : least distance of its centre from every face.
        offset : (z, y, x) of its centre from the window's central voxel, in voxels.

        Returns
        -------
        (z, y, x) of its centre, or ``None`` if no room was found.
        """
        half = len(copy) // 2
        self._widen(half + self._gap + 1)
        # The central voxel, such that the centre keeps its distance.
        lowest = np.ceil(margin - offset).astype(int)
        highest = np.floor(self._shape - 1 - margin - offset).astype(int)
        if (highest < lowest).any():
            return None
        inside = copy > level
        occupied = inside
        if self._gap:
            occupied = binary_dilation(np.pad(inside, self._gap), iterations=self._gap)
        steps = np.array(self._mask.strides) // self._mask.itemsize
        flat = self._mask.reshape(-1)
        voxels = (np.argwhere(occupied) - len(occupied) // 2) @ steps
        probes = self._rng.choice(voxels, size=min(_PROBES, len(voxels)), replace=False)
        for _ in range(_ROUNDS):
            candidates = self._rng.integers(lowest, highest + 1, size=(_CANDIDATES, 3))
            starts = (candidates + self._border) @ steps
            # With the probes alone most candidates in a crowd are out; the others are looked at in full.
            for hopeful in np.flatnonzero(~flat[starts[:, None] + probes].any(axis=1)):
                if not flat[starts[hopeful] + voxels].any():
                    self._add(copy, inside, candidates[hopeful] + self._border, number)
                    return np.asarray(candidates[hopeful] + offset)
        return None

    def _add(
        self, copy: Float32Array, inside: npt.NDArray[np.bool_], centre: npt.NDArray[np.int_], number: int
    ) -> None:
        half = len(copy) // 2
        window = tuple(slice(middle - half, middle + half + 1) for middle in centre)
        self._density[window] += copy
        self._mask[window][inside] = number

    @property
    def _inside(self) -> tuple[slice, ...]:
        return tuple(slice(self._border, self._border + size) for size in self._shape)

    def _widen(self, border: int) -> None:
        more = border - self._border
        if more > 0:
            self._density, self._mask = np.pad(self._density, more), np.pad(self._mask, more)
            self._border = border
