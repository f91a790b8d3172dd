"""A tilt series and its weighted back-projection as one filter in Fourier space.

By the projection-slice theorem an image holds the plane of the specimen's spectrum that its tilt selects, and
weighted back-projection puts every plane back, weighted by its distance from the tilt axis. So the
reconstruction's spectrum is the specimen's, times a sum over the planes. All that differs from image to image
(the weight, the dose's envelope, the error of alignment) is a factor of (kz, kx) times a factor of ky, since
every plane holds the tilt axis y: the sum over all images is one product of matrices, and exact for every
tilt. Left out, beside the tilt series: the change of defocus with the height in the specimen.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.fft import next_fast_len

from tomotwin_lib.simulation.exposure import CONTRAST_AN_ANGSTROM, MARGIN, contrast_transfer, ramp
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.microscope import Float32Array, Shape, frequency_axes
from tomotwin_lib.simulation.tilt_scheme import TiltScheme


def image_in_fourier_space(
    density: Float32Array,
    imaging: Imaging,
    scheme: TiltScheme,
    rng: np.random.Generator,
    device: torch.device,
) -> tuple[Float32Array, Float32Array]:
    """Signal and shot noise of a reconstruction, each (z, y, x); see :func:`.imaging.image_specimen`."""
    shape = padded_shape(density.shape)  # type: ignore[arg-type]
    signal_factor, noise_factor = plane_factors(shape, imaging, scheme, device)
    with torch.inference_mode():
        spectrum = torch.fft.rfftn(torch.as_tensor(density, device=device), s=shape)
        spectrum *= signal_factor
        spectrum *= grid_contrast_transfer(shape, imaging, device)
        signal = _cropped(torch.fft.irfftn(spectrum, s=shape), density.shape)
        white = torch.as_tensor(rng.standard_normal(shape, dtype=np.float32), device=device)
        spectrum = torch.fft.rfftn(white)
        spectrum *= noise_factor
        noise = _cropped(torch.fft.irfftn(spectrum, s=shape), density.shape)
    return signal, noise


def padded_shape(shape: Shape) -> Shape:
    """The grid (z, y, x) to filter on: so much larger that nothing wraps around into the volume.

    Gaps between the tilts make rays that run through the whole depth. The window that each plane's thickness
    stands for lets them fade to nothing within half the padded depth, and at high tilts they lean into x.
    """
    depth, height, width = shape
    lean = max(MARGIN, depth // 2)
    wanted = (depth + lean, height + MARGIN, width + lean)
    padded_depth, padded_height, padded_width = (next_fast_len(size, real=True) for size in wanted)
    return padded_depth, padded_height, padded_width


def plane_factors(
    shape: Shape, imaging: Imaging, scheme: TiltScheme, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors of the signal (complex) and of white noise (real), each (z, y, x // 2 + 1)."""
    depth, height, width = shape
    kz = np.fft.fftfreq(depth)[:, None, None]
    ky = np.fft.fftfreq(height)
    kx = np.fft.rfftfreq(width)
    angles = scheme.angles[:, None]
    along = kx * np.cos(angles) + kz * np.sin(angles)  # (z, tilt, x)
    off_plane = kz * np.cos(angles) - kx * np.sin(angles)
    # A plane as thick as the padded depth can tell: of an area of 1, so that it stands for a plane of none.
    thick = depth * np.clip(1 - np.abs(off_plane) * depth, 0, None)
    step = np.deg2rad(imaging.tilt_step_in_degrees)
    weight = ramp(along, depth, imaging) * step

    voxel = imaging.voxel_size_in_angstrom
    own = imaging.b_factor_in_square_angstrom + imaging.dose_b_factor_in_square_angstrom * scheme.dose
    b_factors = (own + imaging.shared_b_factor) / (4 * voxel**2)
    shifted = np.exp(-b_factors[:, None] * along**2 - 2j * np.pi * along * scheme.shifts[:, :1])
    in_plane = thick * weight * shifted
    across = np.exp(-b_factors * ky[:, None] ** 2 - 2j * np.pi * ky[:, None] * scheme.shifts[:, 1])
    signal = torch.as_tensor(across, dtype=torch.complex64, device=device) @ torch.as_tensor(
        in_plane, dtype=torch.complex64, device=device
    )

    # Shot noise: a variance of one over the counts in each image, in units of the contrast of protein.
    variance = 1 / (scheme.counts * (CONTRAST_AN_ANGSTROM * voxel) ** 2)
    power = (thick * weight**2 * variance[:, None]).sum(axis=1)
    shared = imaging.shared_b_factor / (4 * voxel**2)
    radial = np.sqrt(power) * np.exp(-shared * (kz[:, 0] ** 2 + kx**2))
    noise = (
        torch.as_tensor(radial, dtype=torch.float32, device=device)[:, None, :]
        * torch.as_tensor(np.exp(-shared * ky**2), dtype=torch.float32, device=device)[:, None]
    )
    return signal, noise


def grid_contrast_transfer(shape: Shape, imaging: Imaging, device: torch.device) -> torch.Tensor:
    """Contrast transfer on the half spectrum, turned round where phases are flipped."""
    kz, ky, kx = (torch.as_tensor(axis, device=device) for axis in frequency_axes(shape))
    squared = (kz**2 + ky**2 + kx**2) / imaging.voxel_size_in_angstrom**2
    return contrast_transfer(squared, imaging, imaging.defocus_in_micrometres)


def _cropped(volume: torch.Tensor, shape: tuple[int, ...]) -> Float32Array:
    depth, height, width = shape
    return volume[:depth, :height, :width].contiguous().cpu().numpy()
