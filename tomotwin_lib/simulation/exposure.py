"""What the two routes of imaging share: contrast, its transfer, and the weighting of back-projection."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from tomotwin_lib.simulation.imaging_settings import Imaging

CONTRAST_AN_ANGSTROM = 3.3e-3
"""By how much 1 Å of protein in ice changes an image's intensity, as a share of it, where contrast transfer
is best: twice the phase of 2.5 V more of inner potential than ice, at 0.00065 rad a volt and Å (300 kV)."""

MARGIN = 16
"""Voxels of padding where filters wrap around: more than contrast transfer and errors of alignment reach."""


def contrast_transfer(
    squared_frequency: torch.Tensor, imaging: Imaging, defocus_in_micrometres: float | torch.Tensor
) -> torch.Tensor:
    """Contrast transfer at squared frequencies in 1/Å², negative at low ones: dense matter comes out dark.

    With ``imaging.phase_flipped`` it is negative everywhere.

    Parameters
    ----------
    squared_frequency : any shape.
    imaging : voltage, aberration, amplitude contrast.
    defocus_in_micrometres : underfocus; a tensor is broadcast against the frequencies.
    """
    wavelength = imaging.microscope.wavelength_in_angstrom
    aberration = 1e7 * imaging.spherical_aberration_in_millimetres
    phase = np.pi * wavelength * squared_frequency * (
        1e4 * defocus_in_micrometres - 0.5 * aberration * wavelength**2 * squared_frequency
    ) + float(np.arcsin(imaging.amplitude_contrast))
    transfer = -torch.sin(phase)
    return -transfer.abs() if imaging.phase_flipped else transfer


def ramp(frequency: npt.NDArray[np.float64], size: int, imaging: Imaging) -> npt.NDArray[np.float64]:
    """The weights of back-projection at frequencies across the tilt axis, in cycles a voxel.

    |frequency| to the power of ``imaging.ramp_exponent``, the same at the Nyquist frequency for every power.
    The weight of frequency 0 is not 0: what is constant over a field of ``size`` voxels shows from a quarter
    of the first frequency on.
    """
    away = np.maximum(np.abs(frequency), 0.25 / size)
    return 0.5 * (2 * away) ** imaging.ramp_exponent
