"""A tilt series as it is recorded, and its reconstruction by weighted back-projection.

Every tilt is projected in slabs across the beam, each with the contrast transfer of its own height: that is
the gradient of the defocus across a tilted image and through the ice, both. The counts of an image are drawn
from Poisson's distribution. Images are shifted by their error of alignment, weighted, and back-projected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.fft import next_fast_len

from tomotwin_lib.simulation.exposure import CONTRAST_AN_ANGSTROM, MARGIN, contrast_transfer, ramp
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.microscope import Float32Array
from tomotwin_lib.simulation.tilt_scheme import TiltScheme

SLAB_IN_ANGSTROM = 400.0
"""Thickness of a slab with one defocus: at 20 Å, its edges are 0.03 radians off."""

LEAST_INTENSITY = 0.05
"""Share of the electrons that the densest matter leaves: a linear contrast would ask for less than none."""

FINER = 2
"""Images are drawn so many times finer along x, to interpolate between their pixels."""


def image_by_tilt_series(
    density: Float32Array,
    imaging: Imaging,
    scheme: TiltScheme,
    rng: np.random.Generator,
    device: torch.device,
) -> tuple[Float32Array, Float32Array]:
    """Signal and shot noise of a reconstruction, each (z, y, x); see :func:`.imaging.image_specimen`."""
    depth, height, width = density.shape
    volume = torch.as_tensor(density, device=device).permute(1, 0, 2).contiguous()
    # Wide enough for the volume's corners at any tilt; padded, since filters and shifts wrap around.
    shape = (
        next_fast_len(height + MARGIN, real=True),
        next_fast_len(int(np.ceil(np.hypot(depth, width))) + 2 * MARGIN, real=True),
    )
    both = torch.zeros((depth * width, 2 * height), device=device)
    with torch.inference_mode():
        for number, angle in enumerate(scheme.angles):
            dose = float(scheme.dose[number])
            contrast = projected(volume, float(angle), shape, imaging, dose)
            noise = _shot_noise(contrast, float(scheme.counts[number]), imaging, rng)
            images = _weighted(
                torch.stack((contrast, noise)), imaging, scheme.shifts[number], max(depth, width)
            )
            back_project(images[:, :height].flatten(0, 1), float(angle), both, (depth, width))
    signal, noise = both.view(depth, width, 2, height).permute(2, 0, 3, 1).contiguous().cpu().numpy()
    return signal, noise


def projected(
    volume: torch.Tensor,  # (y, z, x)
    angle: float,
    shape: tuple[int, int],
    imaging: Imaging,
    dose: float,
) -> torch.Tensor:  # (y, x)
    """The image of a density at a tilt, without noise, in units of the density times one voxel.

    Row 0 is the volume's first along y; the volume's centre is seen at ``(shape[1] - 1) / 2`` along x.

    Parameters
    ----------
    volume : (y, z, x), bright.
    angle : radians; see :class:`.tilt_scheme.TiltScheme`.
    shape : (y, x) of the image, at least as large as the volume.
    imaging : the settings.
    dose : electrons/Å² that the specimen has had.
    """
    squared = _squared_frequency(shape, imaging, volume.device)
    as_recorded = replace(imaging, phase_flipped=False)
    spectrum = torch.zeros(squared.shape, dtype=torch.complex64, device=volume.device)
    for slab, height in _slabs(volume, angle, shape[1], imaging.voxel_size_in_angstrom):
        # The beam comes from above: what lies lower is nearer to the lens, and further under its focus.
        underfocus = imaging.defocus_in_micrometres - 1e-4 * imaging.voxel_size_in_angstrom * height
        transfer = contrast_transfer(squared, as_recorded, underfocus)
        spectrum += torch.fft.rfft2(slab, s=shape) * transfer
    b_factor = imaging.b_factor_in_square_angstrom + imaging.dose_b_factor_in_square_angstrom * dose
    spectrum *= torch.exp(-b_factor / 4 * squared)
    return torch.fft.irfft2(spectrum, s=shape)


def _slabs(
    volume: torch.Tensor, angle: float, width: int, voxel_size_in_angstrom: float
) -> Iterator[tuple[torch.Tensor, float]]:
    """Sums along the beam (y, x) over slabs of the tilted volume, with the height of each one's middle."""
    _, depth, across = volume.shape
    reach = (depth * np.cos(angle) + across * abs(np.sin(angle))) / 2 + 1
    heights = np.arange(-np.ceil(reach), np.ceil(reach) + 1)
    thickness = max(1, round(SLAB_IN_ANGSTROM / voxel_size_in_angstrom))
    seen_at = np.arange(width) - (width - 1) / 2
    for start in range(0, len(heights), thickness):
        part = heights[start : start + thickness, None]
        x = seen_at * np.cos(angle) - part * np.sin(angle)
        z = seen_at * np.sin(angle) + part * np.cos(angle)
        # From −1 in the middle of the first voxel to 1 in that of the last.
        grid = np.stack((2 * x / (across - 1), 2 * z / (depth - 1)), axis=-1)[None]
        points = torch.as_tensor(grid, dtype=torch.float32, device=volume.device)
        yield (
            torch.nn.functional.grid_sample(volume[None], points, align_corners=True)[0].sum(dim=1),
            float(part.mean()),
        )


def _shot_noise(
    contrast: torch.Tensor, counts: float, imaging: Imaging, rng: np.random.Generator
) -> torch.Tensor:
    """What an exposure adds to an image (y, x), in the image's units."""
    unit = CONTRAST_AN_ANGSTROM * imaging.voxel_size_in_angstrom
    expected = counts * (1 + unit * contrast.cpu().numpy().astype(np.float64)).clip(LEAST_INTENSITY)
    noise = (rng.poisson(expected) - expected) / (counts * unit)
    return torch.as_tensor(noise, dtype=torch.float32, device=contrast.device)


def _weighted(
    images: torch.Tensor, imaging: Imaging, shift: np.ndarray, size: int
) -> torch.Tensor:  # (image, y, finer x)
    """Images (image, y, x) as detected, aligned and ready for back-projection."""
    height, width = images.shape[1:]
    device = images.device
    ky = torch.fft.fftfreq(height, device=device)[:, None]
    kx = torch.fft.rfftfreq(width, device=device)
    squared = _squared_frequency((height, width), imaging, device)
    factor = torch.exp(-imaging.shared_b_factor / 4 * squared)
    factor = (
        factor
        * torch.as_tensor(
            ramp(np.fft.rfftfreq(width).astype(np.float64), size, imaging), device=device
        ).float()
    )
    if imaging.phase_flipped:
        # One sign for the whole image, as most programs correct it; heights other than 0 are a little off.
        plain = contrast_transfer(
            squared, replace(imaging, phase_flipped=False), imaging.defocus_in_micrometres
        )
        factor = factor * -torch.sign(plain)
    turn = torch.exp(-2j * torch.pi * (kx * float(shift[0]) + ky * float(shift[1])))
    spectrum = torch.fft.rfft2(images) * (factor * turn * np.deg2rad(imaging.tilt_step_in_degrees))
    return FINER * torch.fft.irfft2(spectrum, s=(height, FINER * width))


def back_project(
    images: torch.Tensor,  # (row, finer x)
    angle: float,
    volume: torch.Tensor,  # (z * x, row)
    shape: tuple[int, int],
) -> None:
    """Add to a volume (z * x, row) of ``shape`` (z, x) the rows of a tilted image, along its beam.

    The image is at least a pixel wider than the volume's diagonal, and its middle sees the volume's.
    """
    depth, width = shape
    finer_width = images.shape[1]
    z = np.arange(depth)[:, None] - (depth - 1) / 2
    x = np.arange(width) - (width - 1) / 2
    seen_at = ((x * np.cos(angle) + z * np.sin(angle)) + (finer_width / FINER - 1) / 2) * FINER
    left = np.floor(seen_at)
    columns = torch.as_tensor(left.ravel(), dtype=torch.int64, device=images.device)
    share = torch.as_tensor((seen_at - left).ravel()[:, None], dtype=torch.float32, device=images.device)
    rows = images.T.contiguous()
    volume += torch.lerp(rows[columns], rows[columns + 1], share)


def _squared_frequency(shape: tuple[int, int], imaging: Imaging, device: torch.device) -> torch.Tensor:
    """Squared frequencies in 1/Å² on the half spectrum of an image of ``shape`` (y, x)."""
    ky = torch.fft.fftfreq(shape[0], device=device)[:, None]
    kx = torch.fft.rfftfreq(shape[1], device=device)
    return (ky**2 + kx**2) / imaging.voxel_size_in_angstrom**2
