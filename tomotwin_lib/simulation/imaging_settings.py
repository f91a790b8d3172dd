"""How a specimen is imaged: the settings of microscope, tilt series and reconstruction, checked."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.microscope import Microscope

MOST_DEFOCUS = 50.0
"""Micrometres; what is more was meant in ångström."""


@dataclass(frozen=True)
class Imaging:
    """How a specimen is imaged; the defaults are a usual 300 kV tilt series, seen at 10 Å a voxel.

    Attributes
    ----------
    defocus_in_micrometres : underfocus at the specimen's centre.
    amplitude_contrast : share of the contrast that does not depend on the defocus.
    b_factor_in_square_angstrom : the signal's envelope is exp(−B k² / 4).
    maximum_tilt_in_degrees, tilt_step_in_degrees : the specimen is tilted about y from minus to plus the
        maximum, as far as whole steps from 0 go.
    dose_in_electrons_per_square_angstrom : of the whole tilt series.
    dose_b_factor_in_square_angstrom : B grows by so much with every electron/Å² that the specimen has had
        (4 in RELION and M: Bharat et al. 2015, Tegunov et al. 2021).
    thickness_in_nanometres : of the ice; the depth of the volume where ``None``. It costs counts.
    mean_free_path_in_nanometres : of the electrons in ice.
    alignment_error_in_angstrom : standard deviation of each image's shift along x and along y.
    modulation_at_nyquist : the detector's modulation transfer at the Nyquist frequency of the voxels, for
        signal and noise alike; a Gaussian. Images are binned, so it is high.
    low_pass_in_angstrom : the reconstruction is filtered by a Gaussian that is one half at this resolution;
        ``None`` for no filter.
    ramp_exponent : images are weighted by their distance from the tilt axis in Fourier space to this power:
        1 is weighted back-projection, whose noise is strongest at high frequencies; with 0.5 the noise is
        white and low frequencies are stronger, as SIRT-like filters leave them.
    phase_flipped : whether contrast transfer is corrected by turning the phases of where it is reversed.
    snr : variance of the signal inside the particles over the variance of the noise, both after all filters;
        ``None`` for the shot noise of the dose with a perfect detector.
    """

    voxel_size_in_angstrom: float = 10.0
    voltage_in_kilovolts: float = 300.0
    spherical_aberration_in_millimetres: float = 2.7
    amplitude_contrast: float = 0.1
    defocus_in_micrometres: float = 3.5
    b_factor_in_square_angstrom: float = 200.0
    maximum_tilt_in_degrees: float = 60.0
    tilt_step_in_degrees: float = 3.0
    dose_in_electrons_per_square_angstrom: float = 100.0
    dose_b_factor_in_square_angstrom: float = 4.0
    thickness_in_nanometres: float | None = None
    mean_free_path_in_nanometres: float = 300.0
    alignment_error_in_angstrom: float = 4.0
    modulation_at_nyquist: float = 0.8
    low_pass_in_angstrom: float | None = 20.0
    ramp_exponent: float = 1.0
    phase_flipped: bool = False
    snr: float | None = 0.15

    def __post_init__(self) -> None:
        zero_is_fine = {
            "amplitude_contrast",
            "spherical_aberration_in_millimetres",
            "defocus_in_micrometres",
            "b_factor_in_square_angstrom",
            "dose_b_factor_in_square_angstrom",
            "alignment_error_in_angstrom",
            "ramp_exponent",
        }
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or isinstance(value, bool):
                continue
            name = field.name.replace("_", " ")
            if not np.isfinite(value) or value < 0 or (value == 0 and field.name not in zero_is_fine):
                least = "0 or more" if field.name in zero_is_fine else "above 0"
                raise InputError(name, f"{value} cannot be used", f"Give a number {least}")
        for name, value, limit in (
            ("amplitude contrast", self.amplitude_contrast, 1.0),
            ("modulation at nyquist", self.modulation_at_nyquist, 1.0),
            ("maximum tilt in degrees", self.maximum_tilt_in_degrees, 85.0),
            ("defocus in micrometres", self.defocus_in_micrometres, MOST_DEFOCUS),
        ):
            if value > limit:
                raise InputError(name, f"{value} cannot be used", f"Give at most {limit:g}")
        if self.tilt_step_in_degrees > self.maximum_tilt_in_degrees:
            raise InputError(
                "tilt step in degrees",
                f"a step of {self.tilt_step_in_degrees} is larger than the tilt range",
                f"Give at most {self.maximum_tilt_in_degrees}",
            )

    @property
    def microscope(self) -> Microscope:
        """The microscope of these settings, for its contrast transfer."""
        return Microscope(
            voxel_size_in_angstrom=self.voxel_size_in_angstrom,
            voltage_in_kilovolts=self.voltage_in_kilovolts,
            spherical_aberration_in_millimetres=self.spherical_aberration_in_millimetres,
            amplitude_contrast=self.amplitude_contrast,
            b_factor_in_square_angstrom=self.b_factor_in_square_angstrom,
            maximum_tilt_in_degrees=self.maximum_tilt_in_degrees,
        )

    @property
    def shared_b_factor(self) -> float:
        """B in Å² of what dampens signal and noise alike: detector and low-pass filter together."""
        nyquist = 0.5 / self.voxel_size_in_angstrom
        b_factor = -4 * float(np.log(self.modulation_at_nyquist)) / nyquist**2
        if self.low_pass_in_angstrom is not None:
            b_factor += 4 * float(np.log(2)) * self.low_pass_in_angstrom**2
        return b_factor
