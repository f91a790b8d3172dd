"""Template matching by plain normalised cross-correlation, the usual way to find particles (Frangakis 2002).

Every rotated template is correlated with the tomogram at every voxel; a position's score is its largest
correlation coefficient within the template's spherical mask (Roseman 2003: the local mean and deviation of
the tomogram under the mask are taken out). At every second voxel, as networks are evaluated, it would not do:
with contrast transfer a correlation has fallen to a third one voxel off along two axes.

Written here since pytme, the library for it, is licensed under the GPL-2.0 only and is built by a compiler.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.ndimage import maximum_filter
from scipy.spatial.transform import Rotation

from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.exposure import contrast_transfer
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.microscope import frequency_axes, sampled_region
from tomotwin_lib.simulation.molecules import Molecule
from tomotwin_lib.simulation.rendering import render_copies
from tomotwin_lib.suppression import suppress_overlapping

MOST_PICKS = 300
"""Local maxima of a template that are kept, the highest ones: far more than there are particles."""

_BATCH = 16  # templates that are rotated together
# The two numbers of super-Fibonacci spirals; the second is the positive root of x⁴ = x + 4.
_PHI, _PSI = float(np.sqrt(2)), 1.533751168755204288


@dataclass(frozen=True)
class Template:
    """What is searched for.

    Attributes
    ----------
    molecule : its density, bright; the mask is the sphere of its radius.
    contrast_transfer : whether the density lacks what the microscope does to it, so that the tomogram's own
        contrast transfer and envelope are applied to it.
    """

    molecule: Molecule
    contrast_transfer: bool


def template_of_reference(
    code: str, reference: npt.NDArray[np.float32], radius: float, voxel: float
) -> Template:
    """A reference (z, y, x; bright, edge odd) as it is, cut to the sphere of ``radius`` voxels."""
    inside = _sphere(len(reference), radius)
    values = reference - reference[inside].mean()
    density = np.where(inside, values, np.float32(0)).astype(np.float32)
    return Template(Molecule(code, code, density, voxel), contrast_transfer=False)


def orientations(step_in_degrees: float) -> Rotation:
    """Rotations that lie evenly, about as many as cells of that edge fit into all rotations.

    Super-Fibonacci spirals (Alexa, CVPR 2022).

    Raises
    ------
    InputError
        If the step is not above 0 and at most 180 degrees.
    """
    if not 0 < step_in_degrees <= 180:
        raise InputError("angular step", f"{step_in_degrees} cannot be used", "Give 30, for example")
    # The volume of all rotations in Euler angles, 8 π², over that of a cell.
    count = int(np.ceil(8 * np.pi**2 / np.deg2rad(step_in_degrees) ** 3))
    place = np.arange(count) + 0.5
    inner, outer = np.sqrt(place / count), np.sqrt(1 - place / count)
    alpha, beta = 2 * np.pi * place / _PHI, 2 * np.pi * place / _PSI
    return Rotation.from_quat(
        np.stack(
            (inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta), outer * np.cos(beta)), 1
        )
    )


class Matcher:
    """A tomogram, ready to be searched for templates.

    Parameters
    ----------
    data : (z, y, x), protein dark.
    imaging : of the tomogram; its missing wedge is applied to every template.
    device : where to compute.
    """

    def __init__(
        self, data: npt.NDArray[np.float32], imaging: Imaging, device: torch.device | str = "cpu"
    ) -> None:
        self.imaging, self.device = imaging, torch.device(device)
        # What wraps around does so only where a mask reaches out of the tomogram.
        bright = torch.as_tensor(-(data - data.mean()) / data.std(), device=self.device)
        self._shape = data.shape
        self._spectrum, self._squared = torch.fft.rfftn(bright), torch.fft.rfftn(bright**2)

    def search(
        self, template: Template, rotations: Rotation
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """The largest coefficient at each voxel, −1 to 1, and the number of its rotation; both (z, y, x)."""
        radius = template.molecule.radius
        best = torch.full(self._shape, -torch.inf, device=self.device)
        which = torch.zeros(self._shape, dtype=torch.int32, device=self.device)
        half = 0
        with torch.inference_mode():
            for first, rotated in self._rotated(template, rotations, radius):
                half = rotated.shape[-1] // 2
                for offset, one in enumerate(rotated):
                    found = self._correlate(one, self._spectrum)
                    which.masked_fill_(found > best, first + offset)
                    torch.maximum(best, found, out=best)
            best = (_centred(best, half) / self._local_deviation(radius)).clamp(-1, 1)
        return best.cpu().numpy(), _centred(which, half).cpu().numpy()

    def _rotated(
        self, template: Template, rotations: Rotation, radius: float
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Templates as the tomogram would show them, of mean 0 and norm 1 in the mask, 0 outside."""
        for first in range(0, len(rotations), _BATCH):
            some = rotations[first : first + _BATCH]
            copies = render_copies(template.molecule, some, np.zeros((len(some), 3)), self.device)
            edge = copies.shape[-1]
            # Twice the edge: what the filter spreads does not come back in at the other side.
            shape = (2 * edge,) * 3
            spectrum = torch.fft.rfftn(copies, s=shape, dim=(1, 2, 3))
            spectrum *= self._transfer(shape, template.contrast_transfer)
            seen = torch.fft.irfftn(spectrum, s=shape, dim=(1, 2, 3))[:, :edge, :edge, :edge]
            inside = torch.as_tensor(_sphere(edge, radius), device=self.device)
            values = seen[:, inside]
            values = values - values.mean(dim=1, keepdim=True)
            values = values / values.norm(dim=1, keepdim=True).clamp_min(1e-12)
            masked = torch.zeros_like(seen)
            masked[:, inside] = values
            yield first, masked

    def _transfer(self, shape: tuple[int, int, int], with_contrast: bool) -> torch.Tensor:
        sampled = torch.as_tensor(
            sampled_region(shape, self.imaging.maximum_tilt_in_degrees).astype(np.float32), device=self.device
        )
        if not with_contrast:
            return sampled
        kz, ky, kx = (torch.as_tensor(axis, device=self.device) for axis in frequency_axes(shape))
        squared = (kz**2 + ky**2 + kx**2) / self.imaging.voxel_size_in_angstrom**2
        # The envelope of the middle of the tilt series.
        mean_dose = self.imaging.dose_in_electrons_per_square_angstrom / 2
        b_factor = self.imaging.b_factor_in_square_angstrom + self.imaging.shared_b_factor
        b_factor += self.imaging.dose_b_factor_in_square_angstrom * mean_dose
        envelope = torch.exp(-b_factor / 4 * squared)
        transfer = contrast_transfer(squared, self.imaging, self.imaging.defocus_in_micrometres)
        # Its sign is that of files, dark protein; what is searched is bright.
        return -sampled * envelope * transfer

    def _local_deviation(self, radius: float) -> torch.Tensor:
        """√(Σ (f − mean)²) of the tomogram within the mask around each voxel."""
        edge = 2 * int(np.ceil(radius)) + 1
        mask = torch.as_tensor(_sphere(edge, radius), dtype=torch.float32, device=self.device)
        count = mask.sum()
        total, squares = (
            _centred(self._correlate(mask, spectrum), edge // 2)
            for spectrum in (self._spectrum, self._squared)
        )
        # Far below what any noise has; keeps flat places from dividing by nothing.
        return (squares - total**2 / count).clamp_min(1e-3 * float(count)).sqrt()

    def _correlate(self, template: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
        """Σ template(n) f(p + n) at every voxel p, n counted from the template's corner."""
        if any(edge > length for edge, length in zip(template.shape, self._shape, strict=True)):
            raise InputError(
                "template", f"it is larger than the tomogram: {template.shape[0]} voxels", "Leave it out"
            )
        small = _spectrum_of_small(template, self._shape)
        return torch.fft.irfftn(small.conj_physical_().mul_(spectrum), s=self._shape)


def locate_peaks(
    scores: npt.NDArray[np.float32], number: int, box_size: int, overlap: float = 0.6
) -> pd.DataFrame:
    """The local maxima of a map of scores as picks, the best first.

    Between voxels by a parabola along each axis; the better of two survives whose boxes overlap.

    Parameters
    ----------
    scores : (z, y, x).
    number : of the reference; box_size : of its particles, in voxels; overlap : as for
        :func:`~tomotwin_lib.locating.locate`.

    Returns
    -------
    Columns as of :func:`~tomotwin_lib.locating.locate`; size is 1.
    """
    inner = np.zeros(scores.shape, dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = True
    peaks = np.argwhere(inner & (scores == maximum_filter(scores, 3)))
    values = scores[tuple(peaks.T)]
    order = np.argsort(-values, kind="stable")[: 4 * MOST_PICKS]
    peaks, values = peaks[order], values[order]
    exact = peaks + np.stack([_vertex(scores, peaks, axis) for axis in range(3)], axis=1)
    z, y, x = exact.T.astype(np.float32)
    picks = pd.DataFrame({"X": x, "Y": y, "Z": z, "size": 1, "metric_best": values})
    picks = picks.assign(predicted_class=number, width=box_size, height=box_size, depth=box_size)
    return suppress_overlapping(picks, overlap).head(MOST_PICKS)


def _vertex(
    scores: npt.NDArray[np.float32], peaks: npt.NDArray[np.int64], axis: int
) -> npt.NDArray[np.float64]:
    """By how much the parabola through a peak and its neighbours along an axis is highest beside it."""
    step = np.eye(3, dtype=int)[axis]
    before, at, after = (scores[tuple((peaks + by * step).T)].astype(np.float64) for by in (-1, 0, 1))
    curvature = before - 2 * at + after
    return np.where(curvature < 0, (before - after) / (2 * np.where(curvature < 0, curvature, -1)), 0.0)


def _spectrum_of_small(volume: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """``rfftn`` of a volume (z, y, x) padded with zeros to ``shape``, without transforming the zeros."""
    depth, height, width = shape
    spectrum = torch.fft.rfft(volume, n=width, dim=2)
    return torch.fft.fft(torch.fft.fft(spectrum, n=height, dim=1), n=depth, dim=0)


def _centred(found: torch.Tensor, half: int) -> torch.Tensor:
    """Values told at a template's corner, told at its centre."""
    return found.roll((half,) * 3, (0, 1, 2))


def _sphere(edge: int, radius: float) -> npt.NDArray[np.bool_]:
    axis = np.arange(edge) - edge // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.asarray(z**2 + y**2 + x**2 <= radius**2)
