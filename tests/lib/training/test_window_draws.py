"""Windows lie where they claim to lie; what is no particle lies off all particles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tomograms_to_train_on import CENTRES, LABELS, SHAPE, numbered, two_shapes

from tomotwin_lib.errors import InputError
from tomotwin_lib.training.labelled_tomograms import GREY_LEVELS, LabelledTomogram, grey_voxels, some_points
from tomotwin_lib.training.recipe import Shares
from tomotwin_lib.training.window_draws import NO_PARTICLE, WindowDraws

SHARES = Shares(particles=4, per_class=2, off_centre=6, distractors=2, background=5, hard=3)
WINDOW = 37


def draws(jitter: int = 1, shares: Shares = SHARES) -> WindowDraws:
    return WindowDraws([two_shapes(0), two_shapes(1)], WINDOW, shares, jitter)


def distances(number_and_place: tuple[int, np.ndarray]) -> np.ndarray:
    return np.linalg.norm(CENTRES - number_and_place[1], axis=1)


def test_a_window_holds_the_voxels_about_its_middle() -> None:
    voxels = numbered((45, 50, 55))
    tomogram = replace(two_shapes(0), voxels=voxels, centres=CENTRES[:0], labels=[])
    maker = draws()
    maker.tomograms = [tomogram]
    place = np.array([21, 30, 36])
    (window,) = maker.cut([(0, place)])
    assert window.shape == (1, WINDOW, WINDOW, WINDOW) and window.dtype == torch.float32
    for offset in ([0, 0, 0], [-18, 0, 0], [0, -18, 0], [0, 0, -18], [18, 18, 18]):
        z, y, x = place + offset
        at = tuple(18 + step for step in offset)
        assert window[(0, *at)] * GREY_LEVELS == pytest.approx((z + 2 * y + 3 * x) % 251 - 125)


def test_noise_that_is_known_is_exchanged_for_that_of_another_place() -> None:
    """The signal is 3 everywhere; each voxel's noise tells where it lies. Hard ones keep theirs."""
    noise = numbered(SHAPE) // 2
    tomogram = replace(two_shapes(0), voxels=noise + 3, noise=noise)
    everywhere = np.lib.stride_tricks.sliding_window_view(noise.numpy(), (WINDOW,) * 3)
    for share, seed in ((1.0, 0), (1.0, 1), (0.0, 2)):
        maker = WindowDraws([tomogram, tomogram], WINDOW, SHARES, 1, fresh_noise=share)
        places, _ = maker.places(np.random.default_rng(seed))
        windows, _ = maker.draw(np.random.default_rng(seed))
        found = np.rint(windows[:, 0].numpy() * GREY_LEVELS).astype(int) - 3
        hard = [number >= len(places) - SHARES.hard for number in range(len(places))]
        for window, (_, middle), is_hard in zip(found, places, hard, strict=True):
            own = everywhere[tuple(middle - WINDOW // 2)]
            assert (window == own).all() == (share == 0.0 or is_hard)
            same_corner = np.argwhere(everywhere[:, :, :, 0, 0, 0] == window[0, 0, 0])
            assert any((everywhere[tuple(at)] == window).all() for at in same_corner)


def test_particles_come_first_and_lie_within_the_jitter() -> None:
    rng = np.random.default_rng(0)
    for jitter in (0, 1, 2):
        maker = draws(jitter)
        seen = set()
        for _ in range(20):
            places, labels = maker.places(rng)
            assert labels == sorted(labels, key=lambda label: label == NO_PARTICLE)
            for (number, place), label in zip(places[:4], labels[:4], strict=True):
                offsets = np.abs(CENTRES - place).max(axis=1)
                own = int(offsets.argmin())
                assert offsets[own] <= jitter
                assert LABELS[own] == maker.classes[label]
                seen.add((number, own, *(place - CENTRES[own]).astype(int)))
            assert [labels.count(label) for label in (0, 1)] == [2, 2]
        # With jitter only those whose window still lies inside: here 41 voxels leave 18 … 22.
        assert len(seen) > (7 if jitter == 0 else 30)


@pytest.mark.parametrize(("abundance", "of_balls"), [(0.0, 1 / 2), (0.5, 2 / 3), (1.0, 4 / 5)])
def test_classes_are_drawn_by_a_power_of_how_many_particles_they_have(
    abundance: float, of_balls: float
) -> None:
    # 16 balls, 4 rods; one class a batch.
    shares = replace(SHARES, particles=2, abundance=abundance)
    tomogram = replace(two_shapes(0), centres=np.tile(CENTRES, (5, 1)), labels=["ball"] * 16 + ["rod"] * 4)
    maker = WindowDraws([tomogram], WINDOW, shares, jitter=0)
    rng = np.random.default_rng(0)
    drawn = [maker.classes[maker.places(rng)[1][0]] for _ in range(900)]
    assert drawn.count("ball") / 900 == pytest.approx(
        of_balls, abs=4 * (of_balls * (1 - of_balls) / 900) ** 0.5
    )


def test_off_centre_background_and_distractors_are_off_every_particle() -> None:
    rng = np.random.default_rng(1)
    maker = draws()
    nearest = []
    for _ in range(30):
        places, labels = maker.places(rng)
        assert labels[4:] == [NO_PARTICLE] * 16
        for number, place in places:
            inside = (place >= 18) & (place <= np.array(maker.tomograms[number].voxels.shape) - 19)
            assert inside.all()
        for negative in places[4:]:
            assert distances(negative).min() >= SHARES.distance[0]
        nearest += [distances(place).min() for place in places[4:10]]
        assert all((place == [20, 40, 40]).all() for _, place in places[10:12])
    # Rounding adds up to half a voxel along each axis; where twenty tries find no place that has its window
    # inside, it is background.
    assert np.mean(np.array(nearest) <= SHARES.distance[1] + 0.87) > 0.95
    assert min(nearest) < 5 and max(nearest) > 9


def test_hard_places_are_drawn_once_they_are_known_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tomotwin_lib.training.window_draws.HARD_KEPT", 2)
    maker = draws()
    outside = np.array([5, 40, 40])
    kept = [np.array([20, 40, 30 + step]) for step in range(3)]
    maker.keep_hard(1, [outside, *kept])
    assert [(number, *place) for number, place in maker.hard] == [(1, 20, 40, 31), (1, 20, 40, 32)]
    places, _ = maker.places(np.random.default_rng(0))
    assert {(number, *place) for number, place in places[-3:]} <= {(1, 20, 40, 31), (1, 20, 40, 32)}


def single(label: str, value: int) -> LabelledTomogram:
    """A subvolume as it is read: a window with a margin, the particle in the middle."""
    voxels = torch.full((45, 45, 45), value, dtype=torch.int8)
    return LabelledTomogram(
        f"{label}{value}", voxels, np.full((1, 3), 22, np.float32), [label], np.empty((0, 3), np.int32)
    )


def test_classes_of_subvolumes_are_drawn_in_tomograms_as_well_and_what_is_no_particle_only_there() -> None:
    # Two subvolumes of rods, which tomograms hold too, two of cones, which they do not, one of a cube.
    singles = [single("rod", 1), single("rod", 2), single("cone", 3), single("cone", 4), single("cube", 5)]
    shares = replace(SHARES, particles=2, subvolumes=2)
    maker = WindowDraws([two_shapes(0), two_shapes(1)], WINDOW, shares, 1, singles)
    assert maker.classes == ["ball", "cone", "rod"]
    drawn = set()
    for seed in range(30):
        places, labels = maker.places(np.random.default_rng(seed))
        names = [maker.classes[label] for label in labels if label != NO_PARTICLE]
        of_subvolumes = [number >= 2 for number, _ in places]
        # A rod's subvolumes come with rods of tomograms; a cone's with some other class.
        assert of_subvolumes[:4] == [False, False, True, True] and not any(of_subvolumes[4:])
        assert names[2] == names[3] and names[2] in ("rod", "cone")
        assert names[0] == names[1] and (names[0] == "rod" or names[2] == "cone")
        assert {number for number, _ in places[2:4]} == ({2, 3} if names[2] == "rod" else {4, 5})
        windows = maker.cut(places[2:4])
        expected = {"rod": {1, 2}, "cone": {3, 4}}[names[2]]
        assert {int(value) for value in (windows * GREY_LEVELS).round().unique()} == expected
        drawn.add(names[2])
    assert drawn == {"rod", "cone"}


def test_what_gives_no_batches_is_refused() -> None:
    one = replace(two_shapes(0), labels=["ball"] * 4)
    with pytest.raises(InputError, match="1 of their 1 classes"):
        WindowDraws([one], WINDOW, SHARES)
    with pytest.raises(InputError, match="less than a window of 43"):
        WindowDraws([two_shapes(0)], 43, SHARES)
    # No room but on a particle: it ends.
    cube = LabelledTomogram(
        "cube", numbered((39, 39, 39)), np.full((4, 3), 19, np.float32), ["a", "a", "b", "b"],
        np.empty((0, 3), np.int32),
    )  # fmt: skip
    with pytest.raises(InputError, match="off all particles"):
        WindowDraws([cube], WINDOW, replace(SHARES, distance=(9.0, 12.0)), 1).places(np.random.default_rng(0))


def test_grey_voxels_are_bright_deviations_and_do_not_clip_gold() -> None:
    rng = np.random.default_rng(0)
    data = (1000 + 50 * rng.standard_normal((20, 20, 20))).astype(np.float32)
    data[3, 4, 5] -= 400  # dark matter
    grey = grey_voxels(data)
    expected = -(data - data.mean()) / data.std()
    assert grey.dtype == torch.int8
    np.testing.assert_allclose(grey.numpy() / GREY_LEVELS, expected, atol=0.51 / GREY_LEVELS)
    assert grey[3, 4, 5] / GREY_LEVELS > 6


def test_points_of_a_mask_are_of_the_mask_and_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((6, 7, 8), bool)
    mask[2, 3, 1:6] = True
    points = some_points(mask, np.random.default_rng(0))
    assert sorted(map(tuple, points)) == [(2, 3, x) for x in range(1, 6)]
    monkeypatch.setattr("tomotwin_lib.training.labelled_tomograms.DISTRACTOR_POINTS", 3)
    points = some_points(mask, np.random.default_rng(0))
    assert len({tuple(point) for point in points}) == 3 and all(mask[tuple(point)] for point in points)
