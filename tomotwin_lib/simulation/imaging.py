"""From a specimen to its tomogram: the two routes, the noise at the ratio asked for.

``tilt_series`` takes every image and reconstructs; ``fourier`` applies what that amounts to as one filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.fourier_route import image_in_fourier_space
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.microscope import Float32Array
from tomotwin_lib.simulation.tilt_scheme import tilt_scheme
from tomotwin_lib.simulation.tilt_series import image_by_tilt_series

Method = Literal["tilt_series", "fourier"]
METHODS: tuple[Method, ...] = ("fourier", "tilt_series")


@dataclass(frozen=True)
class ImagedTomogram:
    """A tomogram as the microscope and the reconstruction make it.

    Attributes
    ----------
    data : (z, y, x), signal plus noise, dense matter dark.
    signal : (z, y, x), what ``data`` is without its noise.
    imaging : the settings.
    snr : the ratio that was reached: the one asked for, or that of the dose.
    """

    data: Float32Array
    signal: Float32Array
    imaging: Imaging
    snr: float


def image_specimen(
    density: Float32Array,
    imaging: Imaging,
    rng: np.random.Generator,
    method: Method = "fourier",
    *,
    inside: npt.NDArray[np.bool_] | None = None,
    device: str | torch.device = "cpu",
) -> ImagedTomogram:
    """Image a specimen and reconstruct its tomogram.

    Parameters
    ----------
    density : (z, y, x), bright, protein about 1, ice 0, at the voxel size of ``imaging``.
    imaging : the settings.
    rng : source of all randomness: errors of alignment, noise.
    method : ``fourier`` applies the whole tilt series as one filter, in seconds; ``tilt_series`` projects,
        exposes and back-projects, with the change of defocus through the specimen, in about ten times that.
    inside : (z, y, x), where the particles are, for the signal-to-noise ratio; where ``None``, the density
        between one half and two, which leaves out gold.
    device : where to compute. The same ``rng`` gives the same tomogram within rounding on every device.

    Raises
    ------
    InputError
        If the method is unknown, the density is no volume, or there is nothing inside.
    """
    if method not in METHODS:
        raise InputError("method", f"{method!r} is unknown", f"Use {' or '.join(METHODS)}")
    if density.ndim != 3 or min(density.shape) < 2:
        raise InputError("density", f"an array of shape {density.shape} is no volume", "Give (z, y, x)")
    if inside is None:
        inside = (density >= 0.5) & (density <= 2.0)
    if imaging.snr is not None and not inside.any():
        raise InputError(
            "density", "there is no particle to measure the signal in", "Place particles, or give snr None"
        )
    thickness = imaging.thickness_in_nanometres
    if thickness is None:
        thickness = density.shape[0] * imaging.voxel_size_in_angstrom / 10
    scheme = tilt_scheme(imaging, thickness, rng)
    route = image_in_fourier_space if method == "fourier" else image_by_tilt_series
    signal, noise = route(density, imaging, scheme, rng, torch.device(device))
    strength = float(signal[inside].var(dtype=np.float64)) if inside.any() else 0.0
    spread = float(noise.var(dtype=np.float64))
    snr = strength / spread
    if imaging.snr is not None:
        noise *= np.float32(np.sqrt(snr / imaging.snr))
        snr = imaging.snr
    noise += signal
    return ImagedTomogram(noise, signal, imaging, snr)
