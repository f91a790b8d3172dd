"""How a tilt series is taken: angles, the dose that each image adds, its counts, its error of alignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tomotwin_lib.simulation.imaging_settings import Imaging

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TiltScheme:
    """The images of a tilt series, in the order of their angles; arrays have one entry an image.

    Attributes
    ----------
    angles : radians about y. A point (x, z) is seen at x cos(angle) + z sin(angle) of the image, and it is at
        the height z cos(angle) − x sin(angle) on the beam's axis, all from the specimen's centre.
    dose : electrons/Å² that the specimen has had by the middle of the image's exposure.
    counts : electrons a pixel that reach the detector where there is nothing but ice.
    shifts : (image, 2), by how many voxels the image is aligned wrongly along x and y.
    """

    angles: Float64Array
    dose: Float64Array
    counts: Float64Array
    shifts: Float64Array


def tilt_scheme(imaging: Imaging, thickness_in_nanometres: float, rng: np.random.Generator) -> TiltScheme:
    """The tilt series that ``imaging`` asks for, taken symmetrically in dose.

    Tilted ice is thicker, by one over the cosine, and the electrons that it scatters are lost to the energy
    filter: high tilts have fewer counts for the same dose, and so more noise.

    Parameters
    ----------
    imaging : the settings.
    thickness_in_nanometres : of the ice.
    rng : source of the errors of alignment.
    """
    steps = int(np.floor(imaging.maximum_tilt_in_degrees / imaging.tilt_step_in_degrees + 1e-9))
    degrees = np.arange(-steps, steps + 1, dtype=np.float64) * imaging.tilt_step_in_degrees
    dose_an_image = imaging.dose_in_electrons_per_square_angstrom / len(degrees)
    dose = np.empty(len(degrees))
    dose[dose_symmetric_order(degrees)] = (np.arange(len(degrees)) + 0.5) * dose_an_image
    angles = np.deg2rad(degrees)
    pathways = thickness_in_nanometres / np.cos(angles)
    counts = (
        dose_an_image
        * imaging.voxel_size_in_angstrom**2
        * np.exp(-pathways / imaging.mean_free_path_in_nanometres)
    )
    deviation = imaging.alignment_error_in_angstrom / imaging.voxel_size_in_angstrom
    return TiltScheme(angles, dose, counts, rng.normal(scale=deviation, size=(len(degrees), 2)))


def dose_symmetric_order(degrees: Float64Array) -> npt.NDArray[np.int64]:
    """Indices of sorted, symmetric angles in the order in which they are taken: 0, +, −, −, +, +, −, …

    The scheme of Hagen, Wan and Briggs (2017), with groups of one: low tilts, which lose least in the ice,
    come while the specimen is fresh.
    """
    distance = np.rint(np.abs(degrees) / np.max(np.abs(np.diff(degrees)), initial=1e-9)).astype(int)
    # The side that was just seen is seen next, so that the stage turns over once a pair only.
    second = (degrees < 0) == (distance % 2 == 1)
    return np.lexsort((second, distance))
