"""Template matching is what a direct sum says, and finds a particle where and as it was planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks.comparison.template_matching import (
    Matcher,
    Template,
    locate_peaks,
    orientations,
    template_of_reference,
)
from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.imaging import image_specimen
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.molecules import Molecule, density_of_points
from tomotwin_lib.simulation.rendering import render_copies


@pytest.fixture(scope="module")
def hook() -> Molecule:
    """A molecule without any symmetry."""
    points = np.array([[0, 0, 0], [30, 0, 0], [60, 0, 0], [60, 35, 0], [0, 0, 45], [-25, 0, 45.0]])
    return Molecule("hook", "hook", density_of_points(points, np.full(6, 4e4), 10.0), 10.0)


def planted(molecule: Molecule, rotation: Rotation, centre: tuple[int, int, int]) -> np.ndarray:
    """A specimen (40, 48, 52) with one copy around a voxel (z, y, x)."""
    density = np.zeros((40, 48, 52), dtype=np.float32)
    copy = render_copies(molecule, rotation, np.zeros((1, 3)))[0].numpy()
    half = len(copy) // 2
    density[tuple(slice(at - half, at - half + len(copy)) for at in centre)] = copy
    return density


def test_scores_are_the_correlation_coefficients_of_a_direct_sum(hook: Molecule) -> None:
    rng = np.random.default_rng(3)
    data = rng.standard_normal((19, 22, 24)).astype(np.float32)  # odd edges too
    matcher = Matcher(data, Imaging(), "cpu")
    rotation = Rotation.random(1, rng)
    scores, _ = matcher.search(Template(hook, contrast_transfer=False), rotation)
    template = next(matcher._rotated(Template(hook, False), rotation, hook.radius))[1][0].numpy()
    half = len(template) // 2
    axis = np.arange(len(template)) - half
    inside = sum(part**2 for part in np.meshgrid(axis, axis, axis)) <= hook.radius**2
    assert template[inside].mean() == pytest.approx(0, abs=1e-6) and not template[~inside].any()
    reach = int(hook.radius)
    checked = 0
    for z in range(0, 19, 3):
        for y in range(0, 22, 3):
            for x in range(0, 24, 3):
                if all(reach <= at < edge - reach for at, edge in zip((z, y, x), data.shape, strict=True)):
                    part = np.pad(data, half)[
                        z : z + 2 * half + 1, y : y + 2 * half + 1, x : x + 2 * half + 1
                    ]
                    expected = np.corrcoef(-part[inside], template[inside])[0, 1]
                    got = scores[z, y, x]
                    assert got == pytest.approx(expected, abs=1e-4)
                    checked += 1
    assert checked > 10


@pytest.mark.parametrize("clean", [True, False])
def test_a_planted_particle_is_found_in_its_orientation(hook: Molecule, clean: bool) -> None:
    rng = np.random.default_rng(1)
    rotations = orientations(60)
    imaging = Imaging(snr=3.0, defocus_in_micrometres=3.0)
    true = 17
    centre = (18, 25, 27)
    data = image_specimen(planted(hook, rotations[true], centre), imaging, rng).data
    template = Template(hook, contrast_transfer=True)
    if not clean:  # as the particle stands, so that the rotation to find is the true one
        upright = image_specimen(planted(hook, Rotation.identity(), (20, 24, 26)), imaging, rng).data
        template = template_of_reference("hook", -upright[2:39, 6:43, 8:45], hook.radius, 10.0)
    scores, which = Matcher(data, imaging).search(template, rotations)
    best = locate_peaks(scores, 0, hook.box_size).iloc[0]
    assert np.linalg.norm(best[["Z", "Y", "X"]].to_numpy(float) - centre) < 1
    assert which[centre] == true
    assert best["metric_best"] == scores.max() <= 1


def test_orientations_leave_no_gap_larger_than_their_step() -> None:
    rotations = orientations(30)
    assert len(rotations) == pytest.approx(8 * np.pi**2 / np.deg2rad(30) ** 3, abs=1)
    for one in Rotation.random(50, np.random.default_rng(0)):
        assert np.rad2deg((rotations * one.inv()).magnitude().min()) < 30


def test_peaks_lie_between_positions_and_exclude_each_other() -> None:
    z, y, x = np.mgrid[:12, :12, :12].astype(np.float32)

    def parabola(at: tuple[float, float, float], top: float) -> np.ndarray:
        return top - 0.01 * ((z - at[0]) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2)

    scores = np.maximum(parabola((3.25, 4, 4.6), 0.8), parabola((8, 8.3, 8), 0.6)).astype(np.float32)
    picks = locate_peaks(scores, 2, box_size=7)
    assert picks[["Z", "Y", "X"]].to_numpy() == pytest.approx(
        np.array([[3.25, 4, 4.6], [8, 8.3, 8]]), abs=0.01
    )
    assert (picks["predicted_class"] == 2).all() and list(picks["width"]) == [7, 7]
    assert len(locate_peaks(scores, 0, box_size=100)) == 1


def test_a_step_that_gives_no_orientations_is_refused() -> None:
    with pytest.raises(InputError, match="angular step"):
        orientations(0)
