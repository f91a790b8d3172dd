"""Specimens: the truth explains the density, and nothing overlaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.distractors import KINDS_OF_DISTRACTOR, Distractors
from tomotwin_lib.simulation.molecules import Molecule, molecule_of_kind
from tomotwin_lib.simulation.particles import KINDS, render
from tomotwin_lib.simulation.rendering import render_copies
from tomotwin_lib.simulation.specimen import MASK_LEVEL, Specimen, build_specimen

SHAPE = (48, 90, 100)
MOLECULES = [molecule_of_kind(kind) for kind in KINDS.values()]


def built(seed: int = 1, **changes: Any) -> Specimen:
    options: dict[str, Any] = {"particles_per_class": 2} | changes
    return build_specimen(SHAPE, MOLECULES, rng=np.random.default_rng(seed), **options)


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return built()


def test_class_position_and_angles_explain_all_of_the_density(specimen: Specimen) -> None:
    """Drawn anew by formula, the particles are the density, and the mask says whose it is."""
    total = np.zeros([size + 100 for size in SHAPE], dtype=np.float32)
    owner = np.zeros(total.shape, dtype=int)
    for row in specimen.particles.to_dict("records"):
        pose = (
            Rotation.from_euler("z", row["psi"], degrees=True)
            * Rotation.from_euler("x", row["theta"], degrees=True)
            * Rotation.from_euler("z", row["phi"], degrees=True)
        )
        centre = np.array([row["Z"], row["Y"], row["X"]])
        nearest = np.rint(centre).astype(int)
        copy = render(KINDS[row["class"]], pose, centre - nearest, window=41)
        window = tuple(slice(middle + 30, middle + 71) for middle in nearest)
        total[window] += copy
        owner[window][copy > 0.6] = list(KINDS).index(row["class"]) + 1
    inside = tuple(slice(50, 50 + size) for size in SHAPE)
    assert len(specimen.particles) == 10
    np.testing.assert_allclose(specimen.density, total[inside], atol=0.2)
    sure = owner[inside] > 0
    np.testing.assert_array_equal(specimen.class_mask[sure], owner[inside][sure])
    assert (specimen.class_mask[total[inside] < 0.1] == 0).all()


def voxels_alone(specimen: Specimen, molecule: Molecule) -> int:
    """Masked voxels of a class's particles, each drawn on its own."""
    particles = specimen.particles[specimen.particles["class"] == molecule.code]
    poses = Rotation.from_euler("zxz", particles[["phi", "theta", "psi"]].to_numpy(), degrees=True)
    centres = particles[["Z", "Y", "X"]].to_numpy()
    copies = render_copies(molecule, poses, centres - np.rint(centres)).numpy()
    return int((copies > MASK_LEVEL * molecule.density.max()).sum())


def test_no_two_masks_meet(specimen: Specimen) -> None:
    """Each class has as many masked voxels as its particles have each on their own."""
    for number, molecule in enumerate(MOLECULES, start=1):
        assert specimen.names[number] == molecule.code
        assert abs((specimen.class_mask == number).sum() - voxels_alone(specimen, molecule)) <= 3


def test_particles_lie_closer_than_their_spheres_but_keep_a_gap_if_asked() -> None:
    crowded = built(crowding=0.2, particles_per_class=None)
    share = (crowded.class_mask > 0).mean()
    assert 0.12 < share <= 0.2
    apart = np.linalg.norm(
        crowded.particles[["X", "Y", "Z"]].to_numpy()[:, None]
        - crowded.particles[["X", "Y", "Z"]].to_numpy()[None],
        axis=-1,
    )
    radii = crowded.particles["class"].map({m.code: m.radius for m in MOLECULES}).to_numpy()
    np.fill_diagonal(apart, np.inf)
    assert (apart < radii[:, None] + radii[None]).any()
    spaced = built(crowding=0.08, particles_per_class=None, gap=3).class_mask
    # Two different classes never lie within three voxels along an axis.
    for axis in range(3):
        for step in (1, 2, 3):
            near, far = np.moveaxis(spaced, axis, 0)[:-step], np.moveaxis(spaced, axis, 0)[step:]
            assert not ((near > 0) & (far > 0) & (near != far)).any()


def test_a_crowd_takes_up_the_share_asked_for_with_every_class_in_it() -> None:
    dilute = built(crowding=0.06, particles_per_class=None)
    assert (dilute.class_mask > 0).mean() == pytest.approx(0.06, abs=0.015)
    counts = dilute.particles["class"].value_counts()
    assert counts.max() - counts.min() <= 1


def test_without_a_margin_particles_are_cut_by_the_faces(specimen: Specimen) -> None:
    centres = specimen.particles[["Z", "Y", "X"]].to_numpy()
    radii = specimen.particles["class"].map({m.code: m.radius for m in MOLECULES}).to_numpy()[:, None]
    assert (centres >= radii).all() and (centres <= np.array(SHAPE) - 1 - radii).all()
    cut = built(margin=0.0, particles_per_class=4)
    centres = cut.particles[["Z", "Y", "X"]].to_numpy()
    assert (centres >= 0).all() and (centres <= np.array(SHAPE) - 1).all()
    assert centres[:, 0].min() < 12
    assert cut.density.shape == cut.class_mask.shape == SHAPE


def test_a_seed_gives_the_same_specimen(specimen: Specimen) -> None:
    again, other = built(), built(seed=2)
    np.testing.assert_array_equal(again.density, specimen.density)
    np.testing.assert_array_equal(again.class_mask, specimen.class_mask)
    assert again.particles.equals(specimen.particles)
    assert not other.particles.equals(specimen.particles)


def test_particles_avoid_the_distractors() -> None:
    only = Distractors(
        vesicles=(1, 1), sheets=(0, 0), gold=(3, 3), filaments=(1, 1), microtubules=(0, 0), ice=(0, 0),
        carbon_probability=0.0,
    )  # fmt: skip
    specimen = built(particles_per_class=1, distractors=only)
    for number, kind in enumerate(KINDS_OF_DISTRACTOR, start=len(MOLECULES) + 1):
        assert specimen.names[number] == kind
    seen = {specimen.names[value] for value in np.unique(specimen.class_mask) if value}
    assert seen == {*KINDS, "membrane", "gold", "filament"}
    for number, molecule in enumerate(MOLECULES, start=1):
        assert abs((specimen.class_mask == number).sum() - voxels_alone(specimen, molecule)) <= 3


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"particles_per_class": None}, "Give one of the two"),
        ({"crowding": 0.1}, "Give one of the two"),
        ({"particles_per_class": -1}, "not a count"),
        ({"particles_per_class": None, "crowding": 1.0}, "share"),
        ({"particles_per_class": 500}, "do not fit"),
    ],
)
def test_what_cannot_be_used_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        built(**changes)


def test_molecules_that_cannot_stand_side_by_side_are_refused() -> None:
    rng = np.random.default_rng(0)
    finer = Molecule("1xyz", "finer", MOLECULES[0].density, 5.0)
    for molecules, problem in (
        ([], "there are none"),
        ([MOLECULES[0], MOLECULES[0]], "code 1bar"),
        ([MOLECULES[0], finer], "voxels of 5, 10"),
    ):
        with pytest.raises(InputError, match=problem):
            build_specimen(SHAPE, molecules, rng=rng, particles_per_class=1)
    with pytest.raises(InputError, match="window"):
        build_specimen((10, 50, 50), MOLECULES, rng=rng, particles_per_class=1)
