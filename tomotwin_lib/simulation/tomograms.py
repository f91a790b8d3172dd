"""A tomogram: particles placed at random without overlap, seen through the microscope, with noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.transform import Rotation

from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.microscope import Microscope, Shape, filtered, sampled_region
from tomotwin_lib.simulation.particles import KINDS, WINDOW, Float32Array, ParticleKind, render

CANDIDATES = 2000
ROUNDS_OF_CANDIDATES = 15


@dataclass(frozen=True)
class SimulatedTomogram:
    """A simulated tomogram and the truth about it.

    Attributes
    ----------
    data : (z, y, x), signal plus noise, particles dark.
    signal : (z, y, x), what ``data`` is without its noise.
    density : (z, y, x), the particles before the microscope, bright, between 0 and 1.
    particles : one row a particle, columns class, X, Y, Z (centre, in voxels, not rounded) and phi, psi,
        theta (degrees): turn about z by phi, then about x by theta, then about z by psi, all about axes that
        stand still, to carry the particle's own frame to its pose.
    defocus_in_micrometres : underfocus.
    """

    data: Float32Array
    signal: Float32Array
    density: Float32Array
    particles: pd.DataFrame
    defocus_in_micrometres: float


def simulate_tomogram(
    shape: Shape,
    particles_per_class: int,
    *,
    rng: np.random.Generator,
    kinds: Sequence[ParticleKind] = tuple(KINDS.values()),
    snr: float = 0.15,
    margin: float = 0.0,
    defocus_in_micrometres: tuple[float, float] = (3.0, 4.0),
    microscope: Microscope | None = None,
) -> SimulatedTomogram:
    """Simulate a tomogram with the same number of particles of every kind.

    Parameters
    ----------
    shape : (z, y, x) in voxels.
    particles_per_class : how many of each kind.
    rng : source of all randomness; the same state gives the same tomogram.
    kinds : what to place.
    snr : variance of the signal inside the particles (density of at least one half) over the variance of the
        noise, both after all filters.
    margin : least distance of a centre from every face, in voxels, where it is more than the particle's
        radius; half a window leaves every particle a whole window.
    defocus_in_micrometres : range from which one underfocus is drawn.
    microscope : its settings; the defaults where ``None``.

    Raises
    ------
    InputError
        If ``snr`` is not positive, the volume is too small for the window, or the particles do not fit.
    """
    require_snr(snr)
    microscope = microscope or Microscope()
    particles, rotations = _place(shape, particles_per_class, kinds, margin, rng)
    density = _paint(shape, particles, rotations)
    defocus = float(rng.uniform(*defocus_in_micrometres))

    squared_frequency = microscope.squared_frequency(shape)
    # The detector's noise knows no contrast transfer, but it is blurred and it has the same missing wedge.
    seen = microscope.envelope(squared_frequency)
    seen *= sampled_region(shape, microscope.maximum_tilt_in_degrees)
    noise = filtered(rng.standard_normal(shape, dtype=np.float32), seen)
    signal = filtered(density, seen * microscope.contrast_transfer(squared_frequency, defocus))
    inside = signal[density >= 0.5].var(dtype=np.float64)
    noise *= np.float32(np.sqrt(inside / snr / noise.var(dtype=np.float64)))
    return SimulatedTomogram(signal + noise, signal, density, particles, defocus)


def require_snr(snr: float) -> None:
    """Refuse a signal-to-noise ratio that is not a positive number.

    Raises
    ------
    InputError
        If ``snr`` is zero, negative, infinite or not a number.
    """
    if not (np.isfinite(snr) and snr > 0):
        raise InputError(
            "snr", f"a signal-to-noise ratio of {snr:g} cannot be used", "Give more than 0, such as 0.15"
        )


def require_shape(source: str, shape: Sequence[int]) -> Shape:
    """The (z, y, x) of a tomogram that holds at least one window.

    Raises
    ------
    InputError
        If ``shape`` is not three whole numbers of at least the window's edge.
    """
    if len(shape) != 3 or any(int(size) != size or size < WINDOW for size in shape):
        raise InputError(
            source,
            f"a tomogram of {' × '.join(str(size) for size in shape)} voxels (z × y × x) holds no window of "
            f"{WINDOW} voxels",
            f"Give three whole numbers of at least {WINDOW}",
        )
    depth, height, width = (int(size) for size in shape)
    return depth, height, width


def _place(
    shape: Shape,
    particles_per_class: int,
    kinds: Sequence[ParticleKind],
    margin: float,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, list[tuple[ParticleKind, Rotation]]]:
    """Centres by random sequential addition: no two bounding spheres meet; one of each kind a round."""
    shape = require_shape("tomogram shape", shape)
    if int(particles_per_class) != particles_per_class or particles_per_class < 1:
        raise InputError(
            "particles per class", f"{particles_per_class} is not a count", "Give a whole number of 1 or more"
        )
    centres = np.empty((0, 3))
    radii = np.empty(0)
    placed: list[ParticleKind] = []
    # Large ones first in each round: a small one finds room between large ones, not the other way about.
    by_size = sorted(kinds, key=lambda kind: -kind.box_size)
    for done in range(particles_per_class):
        for kind in by_size:
            centre = _free_centre(shape, kind.radius, margin, centres, radii, rng)
            if centre is None:
                raise InputError(
                    "particles per class",
                    f"{particles_per_class} of each of {len(kinds)} kinds do not fit into "
                    f"{' × '.join(map(str, shape))} voxels without overlap: {done} of each did",
                    f"Ask for {done} of each or a larger tomogram" if done else "Ask for a larger tomogram",
                )
            centres = np.vstack((centres, centre))
            radii = np.append(radii, kind.radius)
            placed.append(kind)
    # Quaternions of four normal deviates point evenly in all directions, so the rotations are uniform.
    rotations = [Rotation.from_quat(rng.standard_normal(4)) for _ in placed]
    angles = np.array([rotation.as_euler("zxz", degrees=True) for rotation in rotations])
    particles = pd.DataFrame({"class": [kind.code for kind in placed]})
    particles[["Z", "Y", "X"]] = centres
    particles[["phi", "theta", "psi"]] = angles
    particles = particles[["class", "X", "Y", "Z", "phi", "psi", "theta"]]
    return particles, list(zip(placed, rotations, strict=True))


def _free_centre(
    shape: Shape,
    radius: float,
    margin: float,
    centres: npt.NDArray[np.float64],
    radii: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> npt.NDArray[np.float64] | None:
    """A random centre (z, y, x) whose sphere meets no other and no face; ``None`` if none is found."""
    lowest = max(radius, margin)
    highest = np.array(shape) - 1 - lowest
    if (highest < lowest).any():
        return None
    for _ in range(ROUNDS_OF_CANDIDATES):
        candidates = rng.uniform(lowest, highest, size=(CANDIDATES, 3))
        distances = np.linalg.norm(candidates[:, None] - centres[None], axis=-1)
        free = (distances >= radii + radius).all(axis=1)
        if free.any():
            return candidates[int(np.argmax(free))]
    return None


def _paint(
    shape: Shape, particles: pd.DataFrame, placed: Sequence[tuple[ParticleKind, Rotation]]
) -> Float32Array:
    """The sum of all particles, shape (z, y, x)."""
    half = WINDOW // 2
    # Windows stick out where particles lie near a face: they are drawn on a larger canvas.
    canvas = np.zeros([size + 2 * half for size in shape], dtype=np.float32)
    for centre, (kind, rotation) in zip(particles[["Z", "Y", "X"]].to_numpy(), placed, strict=True):
        nearest = np.rint(centre).astype(int)
        place = tuple(slice(start, start + WINDOW) for start in nearest)
        canvas[place] += render(kind, rotation, centre - nearest)
    return canvas[tuple(slice(half, half + size) for size in shape)].copy()
