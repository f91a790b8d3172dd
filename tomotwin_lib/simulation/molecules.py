"""Molecules to be placed in a specimen: centred densities, from maps, atomic models or built-in shapes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform, center_of_mass, gaussian_filter, zoom
from scipy.spatial.transform import Rotation

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import label_from_name
from tomotwin_lib.formats.volumes import read_subvolume, read_volume
from tomotwin_lib.simulation.particles import Float32Array, ParticleKind, render

CUBIC_ANGSTROM_PER_DALTON = 1.21
"""Volume of protein: a partial specific volume of 0.73 ml/g (Harpaz et al. 1994, Structure 2:641)."""

BLUR_IN_VOXELS = 0.8
"""Deviation of the Gaussian that a density is smeared with: 4 % of the amplitude is left at Nyquist."""

EXTENT_LEVEL = 0.1
"""A molecule ends where its density falls below this share of its maximum."""

FINER = 2
"""Copies are interpolated from a density sampled so many times more finely."""

MODEL_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
"""Ends of the names of atomic models; each may be followed by ``.gz``."""

_FLOOR = 0.03  # share of the maximum below which a measured map is noise, or a smeared one a tail
_SPLIT = 2  # atoms are counted on a grid so many times finer than the density


@dataclass(frozen=True, eq=False)
class Molecule:
    """A molecule as it is placed: its density and its size.

    Attributes
    ----------
    code : label, as the class of particles and in file names.
    name : what it is, in words.
    density : (n, n, n), n odd, bright, about 1 in protein, 0 on the faces; the centre of mass is the
        central voxel, and the axes (z, y, x) are the molecule's own frame.
    voxel_size_in_angstrom : of the density.
    """

    code: str
    name: str
    density: Float32Array
    voxel_size_in_angstrom: float

    @cached_property
    def radius(self) -> float:
        """Radius in voxels of the sphere about the centre that holds all above a tenth of the maximum."""
        return _radius(self.density, EXTENT_LEVEL)

    @property
    def box_size(self) -> int:
        """Edge in voxels, odd, of the box about the centre that holds the molecule in any pose."""
        return 2 * int(np.ceil(self.radius)) + 1

    @cached_property
    def fine_density(self) -> Float32Array:
        """The density sampled :data:`FINER` times as finely by cubic splines, centred likewise."""
        edge = FINER * (len(self.density) - 1) + 1
        return np.asarray(zoom(self.density, edge / len(self.density), order=3), dtype=np.float32)


def read_molecule(
    path: str | Path, voxel_size_in_angstrom: float = 10.0, code: str | None = None
) -> Molecule:
    """Read a density map (MRC) or an atomic model (PDB, mmCIF) as a molecule.

    Maps are resampled to the voxel size, low-passed where that is coarser; the median of their faces becomes
    0, and noise below a few hundredths of the maximum too. Of models, the first biological assembly is taken
    where the file describes one, and all of the first model else; waters and hydrogens are left out. Either
    is :func:`scaled`.

    Parameters
    ----------
    path : the file; protein is bright in maps.
    voxel_size_in_angstrom : of the molecule's density.
    code : label; the one in the file's name where ``None``.

    Raises
    ------
    InputError
        If the file cannot be used, tells no voxel size, has dark protein or no atoms, its name tells no
        label, or the extra ``structures`` that reads models is not installed.
    """
    path = Path(path)
    label = label_from_name(str(path)) if code is None else code
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if suffixes and suffixes[-1] in MODEL_SUFFIXES:
        # Only here, so that all else works without the parser of atomic models.
        from tomotwin_lib.simulation.atomic_models import read_atoms

        points, masses = read_atoms(path)
        density = scaled(
            density_of_points(points, masses * CUBIC_ANGSTROM_PER_DALTON, voxel_size_in_angstrom)
        )
    else:
        density = _density_of_map(path, voxel_size_in_angstrom)
    return Molecule(label, path.stem, density, voxel_size_in_angstrom)


def molecule_of_kind(kind: ParticleKind, voxel_size_in_angstrom: float = 10.0) -> Molecule:
    """One of the built-in shapes, which are made for voxels of 10 Å, as a molecule."""
    density = cropped(render(kind, Rotation.identity()))
    return Molecule(kind.code, kind.name, density, voxel_size_in_angstrom)


def density_of_points(
    points: npt.NDArray[np.float64], volumes: npt.NDArray[np.float64], voxel_size_in_angstrom: float
) -> Float32Array:
    """The density of matter given as points, centred and smeared by :data:`BLUR_IN_VOXELS`.

    Parameters
    ----------
    points : (k, 3), columns x y z, in Å.
    volumes : (k,) in Å3, what each point fills with a density of 1.
    voxel_size_in_angstrom : of the density.

    Returns
    -------
    (n, n, n), n odd; its sum is that of the volumes, in voxels, but for the tails that are cut.
    """
    centre = np.average(points, axis=0, weights=volumes)
    fine = (points - centre)[:, ::-1] * (_SPLIT / voxel_size_in_angstrom)
    half = int(np.ceil(np.abs(fine).max() / _SPLIT + 4 * BLUR_IN_VOXELS)) + 1
    edge = 2 * half * _SPLIT + 1
    indices = np.rint(fine).astype(int) + half * _SPLIT
    flat = np.ravel_multi_index((indices[:, 0], indices[:, 1], indices[:, 2]), (edge,) * 3)
    counted = np.bincount(flat, weights=volumes / (voxel_size_in_angstrom / _SPLIT) ** 3, minlength=edge**3)
    smeared = gaussian_filter(
        counted.reshape((edge,) * 3).astype(np.float32), BLUR_IN_VOXELS * _SPLIT, mode="constant"
    )
    return cropped(smeared[::_SPLIT, ::_SPLIT, ::_SPLIT])


def cropped(density: Float32Array) -> Float32Array:
    """A centred cube of odd edge cut down to what it holds, tails set to 0, and a face of zeros around."""
    density = np.where(density < _FLOOR * density.max(), np.float32(0), density).astype(np.float32)
    centre = len(density) // 2
    half = int(np.abs(np.argwhere(density > 0) - centre).max()) + 1
    padded = np.pad(density, max(0, half - centre))
    start = len(padded) // 2 - half
    return np.ascontiguousarray(padded[(slice(start, start + 2 * half + 1),) * 3])


def _density_of_map(path: Path, voxel_size_in_angstrom: float) -> Float32Array:
    stored = read_volume(path).voxel_size_in_angstrom
    if stored is None:
        raise InputError(path, "its header tells no voxel size", "Write the voxel size into the header")
    density = read_subvolume(path)
    faces = np.concatenate([np.take(density, end, axis).ravel() for axis in range(3) for end in (0, -1)])
    density = density - np.float32(np.median(faces))
    if density.max() <= -density.min():
        raise InputError(path, "what is in it is darker than its faces", "Give a map with bright protein")
    ratio = voxel_size_in_angstrom / stored
    if ratio > 1:
        density = gaussian_filter(density, BLUR_IN_VOXELS * float(np.sqrt(ratio**2 - 1)), mode="constant")
    density = np.where(density < _FLOOR * density.max(), np.float32(0), density)
    # One interpolation both resamples and centres; its box reaches the farthest corner of what is there.
    centre = np.array(center_of_mass(density))
    reach = np.abs(np.argwhere(density > 0) - centre).max()
    half = int(np.ceil(reach / ratio)) + 1
    resampled = affine_transform(
        density, np.full(3, ratio), offset=centre - half * ratio, output_shape=(2 * half + 1,) * 3, order=3
    )
    return scaled(cropped(np.asarray(resampled, dtype=np.float32)))


def scaled(density: Float32Array) -> Float32Array:
    """A density of which nine tenths lie below 1, tails apart: protein is about 1 in any molecule."""
    bright = density[density > EXTENT_LEVEL * density.max()]
    return (density / np.percentile(bright, 90)).astype(np.float32)


def _radius(density: Float32Array, level: float) -> float:
    offsets = np.argwhere(density > level * density.max()) - len(density) // 2
    return float(np.linalg.norm(offsets, axis=1).max())
