"""What the microscope does to a specimen: contrast transfer, the missing wedge, noise.

The filters act on whole volumes in Fourier space, on the half spectrum of a real transform. Every tilted
image sees a plane of frequencies that holds the tilt axis, and each plane is filtered by the same radial
function, so one radial function times the region that the planes sweep is the whole tilt series. Left out:
the change of defocus through the specimen and across tilted images, and the gaps between the tilts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

Float32Array = npt.NDArray[np.float32]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Microscope:
    """Settings of the simulated microscope; the defaults are a usual 300 kV instrument.

    Attributes
    ----------
    amplitude_contrast : share of the contrast that does not depend on the defocus.
    b_factor_in_square_angstrom : the envelope is exp(−B k² / 4), for signal and noise alike.
    maximum_tilt_in_degrees : the specimen is tilted about y from minus to plus this angle.
    """

    voxel_size_in_angstrom: float = 10.0
    voltage_in_kilovolts: float = 300.0
    spherical_aberration_in_millimetres: float = 2.7
    amplitude_contrast: float = 0.1
    b_factor_in_square_angstrom: float = 600.0
    maximum_tilt_in_degrees: float = 60.0

    @property
    def wavelength_in_angstrom(self) -> float:
        """Relativistic wavelength of the electrons: 0.0197 Å at 300 kV."""
        volts = 1e3 * self.voltage_in_kilovolts
        return 12.2642 / float(np.sqrt(volts * (1 + 0.978466e-6 * volts)))

    def contrast_transfer(
        self, squared_frequency: Float32Array, defocus_in_micrometres: float
    ) -> Float32Array:
        """Contrast transfer at squared frequencies in 1/Å², underfocus positive.

        Negative at low frequencies, so dense matter comes out dark, as in a recorded tomogram.
        """
        wavelength = self.wavelength_in_angstrom
        defocus = 1e4 * defocus_in_micrometres
        aberration = 1e7 * self.spherical_aberration_in_millimetres
        phase = np.pi * wavelength * squared_frequency * (
            defocus - 0.5 * aberration * wavelength**2 * squared_frequency
        ) + np.arcsin(self.amplitude_contrast)
        return (-np.sin(phase)).astype(np.float32)

    def envelope(self, squared_frequency: Float32Array) -> Float32Array:
        """How far frequencies (squared, in 1/Å²) are dampened."""
        return np.exp(-self.b_factor_in_square_angstrom / 4 * squared_frequency).astype(np.float32)

    def squared_frequency(self, shape: Shape) -> Float32Array:
        """Squared spatial frequency in 1/Å² on the half spectrum of a volume of ``shape`` (z, y, x)."""
        kz, ky, kx = frequency_axes(shape)
        return ((kz**2 + ky**2 + kx**2) / self.voxel_size_in_angstrom**2).astype(np.float32)


def frequency_axes(shape: Shape) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Frequencies along z, y and x in cycles a voxel, shaped to broadcast to (z, y, x // 2 + 1)."""
    depth, height, width = shape
    return (
        np.fft.fftfreq(depth).astype(np.float32)[:, None, None],
        np.fft.fftfreq(height).astype(np.float32)[None, :, None],
        np.fft.rfftfreq(width).astype(np.float32)[None, None, :],
    )


def sampled_region(shape: Shape, maximum_tilt_in_degrees: float) -> npt.NDArray[np.bool_]:
    """Where a tilt series about y has data, on the half spectrum (z, y, x // 2 + 1).

    What is missing is the double wedge |kz| > |kx| tan(maximum tilt): the same in every plane of constant ky.
    """
    kz, _, kx = frequency_axes(shape)
    seen = np.abs(kz) <= np.abs(kx) * np.float32(np.tan(np.deg2rad(maximum_tilt_in_degrees)))
    return np.broadcast_to(seen, (shape[0], shape[1], shape[2] // 2 + 1))


def filtered(volume: Float32Array, transfer: Float32Array) -> Float32Array:
    """A volume (z, y, x) whose spectrum is multiplied by ``transfer`` (z, y, x // 2 + 1); it wraps around."""
    spectrum = scipy.fft.rfftn(volume, workers=-1)
    spectrum *= transfer
    depth, height, width = volume.shape
    return np.asarray(scipy.fft.irfftn(spectrum, s=(depth, height, width), workers=-1), dtype=np.float32)
