"""Template matching by plain normalised cross-correlation, the usual way to find particles (Frangakis 2002).

Every rotated template is correlated with the tomogram, each position's score is its largest correlation
coefficient within the template's spherical mask (Roseman 2003: the local mean and deviation of the tomogram
under the mask are taken out). The score is told at every second voxel, as networks are evaluated, with all of
the tomogram's resolution: the tomogram and the template are split into their eight interleaved parts, which
are correlated with each other at an eighth of the size and added up.
"""

from __future__ import annotations

import itertools
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
from tomotwin_lib.simulation.imaging import Imaging
from tomotwin_lib.simulation.microscope import frequency_axes, sampled_region
from tomotwin_lib.simulation.molecules import Molecule
from tomotwin_lib.simulation.rendering import render_copies
from tomotwin_lib.suppression import suppress_overlapping

STRIDE = 2
"""Distance in voxels of the positions that are scored."""

MOST_PICKS = 300
"""Local maxima of a template that are kept, the highest ones: far more than there are particles."""

_BATCH = 4  # rotated templates whose spectra are in memory together
_PHASES = list(itertools.product(range(STRIDE), repeat=3))
# The two numbers of super-Fibonacci spirals; the second is the positive root of x⁴ = x + 4.
_PHI, _PSI = float(np.sqrt(2)), 1.533751168755204288


@dataclass(frozen=True)
class Template:
    """What is searched for.

    Attributes
    ----------
    molecule : its density, bright; the mask is the sphere of its radius.
    contrast_transfer : whether the density lacks the microscope's contrast transfer, so that the tomogram's
        own is applied to it.
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
        # Nothing wraps around into positions whose mask lies inside the tomogram; others count little.
        even = [(0, -edge % STRIDE) for edge in data.shape]
        bright = np.pad(-(data - data.mean()) / data.std(), even, mode="edge")
        self._scored = tuple(edge // STRIDE for edge in bright.shape)
        tomogram = torch.as_tensor(bright, dtype=torch.float32, device=self.device)
        self._spectrum, self._squared = (self._spectra(volume) for volume in (tomogram, tomogram**2))

    def search(
        self, template: Template, rotations: Rotation
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """The largest coefficient at each scored position, −1 to 1, and the number of its rotation.

        Returns
        -------
        Both (z, y, x) at ``STRIDE``, from voxel 0 on.
        """
        radius = template.molecule.radius
        deviation = self._local_deviation(radius)
        best = torch.full(self._scored, -torch.inf, device=self.device)
        which = torch.zeros(self._scored, dtype=torch.int32, device=self.device)
        with torch.inference_mode():
            for first, rotated in self._rotated(template, rotations, radius):
                for offset, found in enumerate(self._correlate(rotated, self._spectrum)):
                    higher = found > best
                    best = torch.where(higher, found, best)
                    which.masked_fill_(higher, first + offset)
            best = (best / deviation).clamp(-1, 1)
        return best.cpu().numpy(), which.cpu().numpy()

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
        # Its sign is that of files, dark protein; what is searched is bright.
        return -sampled * contrast_transfer(squared, self.imaging, self.imaging.defocus_in_micrometres)

    def _local_deviation(self, radius: float) -> torch.Tensor:
        """√(Σ (f − mean)²) of the tomogram within the mask around each scored position."""
        edge = 2 * int(np.ceil(radius)) + 1
        mask = torch.as_tensor(_sphere(edge, radius), dtype=torch.float32, device=self.device)
        count = mask.sum()
        total = self._correlate(mask[None], self._spectrum)[0]
        squares = self._correlate(mask[None], self._squared)[0]
        # Far below what any noise has; keeps flat places from dividing by nothing.
        return (squares - total**2 / count).clamp_min(1e-3 * float(count)).sqrt()

    def _spectra(self, volume: torch.Tensor) -> torch.Tensor:
        parts = [volume[tuple(slice(start, None, STRIDE) for start in phase)] for phase in _PHASES]
        return torch.fft.rfftn(torch.stack(parts), dim=(1, 2, 3))

    def _correlate(self, templates: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
        """Σ template(r) f(p + r) at the scored positions p: (k, edge, edge, edge) → (k, z, y, x)."""
        half = templates.shape[-1] // 2
        if max(templates.shape[-1] // STRIDE + 1 - edge for edge in self._scored) > 0:
            raise InputError(
                "template", f"it is larger than the tomogram: {templates.shape[-1]} voxels", "Leave it out"
            )
        together = torch.zeros((len(templates), *spectra.shape[1:]), dtype=spectra.dtype, device=self.device)
        for number, phase in enumerate(_PHASES):
            # Voxels of the template that meet this part of the tomogram: half + r with r = phase, mod 2. The
            # first has r = phase − 2 m, and so stands m places before the position in the part.
            starts = [(half + at) % STRIDE for at in phase]
            part = templates[(slice(None), *(slice(start, None, STRIDE) for start in starts))]
            places = [(half + at) // STRIDE for at in phase]
            padded = _spectrum_of_small(part, self._scored)
            together += spectra[number] * padded.conj() * self._shift(places)
        return torch.fft.irfftn(together, s=self._scored, dim=(1, 2, 3))

    def _shift(self, places: list[int]) -> torch.Tensor:
        """Factor that moves a correlation by so many places along (z, y, x)."""
        kz, ky, kx = (
            torch.as_tensor(axis, device=self.device)
            for axis in frequency_axes(self._scored)  # type: ignore[arg-type]
        )
        angle = -2 * np.pi * (kz * places[0] + ky * places[1] + kx * places[2])
        return torch.polar(torch.ones_like(angle), angle)


def locate_peaks(
    scores: npt.NDArray[np.float32], number: int, box_size: int, overlap: float = 0.6
) -> pd.DataFrame:
    """The local maxima of a map of scores as picks, the best first.

    Between positions by a parabola along each axis; the better of two survives whose boxes overlap.

    Parameters
    ----------
    scores : (z, y, x) at ``STRIDE``.
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
    z, y, x = (STRIDE * exact).T.astype(np.float32)
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


def _spectrum_of_small(volumes: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """``rfftn`` of volumes (k, z, y, x) padded with zeros to ``shape``, without transforming the zeros."""
    depth, height, width = shape
    spectrum = torch.fft.rfft(volumes, n=width, dim=3)
    return torch.fft.fft(torch.fft.fft(spectrum, n=height, dim=2), n=depth, dim=1)


def _sphere(edge: int, radius: float) -> npt.NDArray[np.bool_]:
    axis = np.arange(edge) - edge // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.asarray(z**2 + y**2 + x**2 <= radius**2)
