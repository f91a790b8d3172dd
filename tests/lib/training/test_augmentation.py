"""Augmentation: what may change, what must stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tomotwin_lib.training.augmentation import (
    augment,
    background_negatives,
    off_centre_negatives,
    quarter_turns,
    scaled_classes,
)
from tomotwin_lib.training.settings import TrainSettings

STILL = TrainSettings(
    aug_train_shift_distance=0,
    aug_rotation="none",
    aug_noise=0.0,
    aug_dropout=(0.0, 0.0),
    aug_gain=0.0,
    aug_offset=0.0,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int = 6, edge: int = 9) -> torch.Tensor:
    return torch.randn(count, 1, edge, edge, edge, generator=generator(9))


def test_without_any_strength_nothing_changes() -> None:
    volumes = noise()
    torch.testing.assert_close(augment(volumes, STILL, generator()), volumes)


def test_shift_moves_by_whole_voxels_and_reflects_at_the_rim() -> None:
    volumes = noise(1)
    expected = {
        tuple(shift): np.roll(
            np.pad(volumes[0, 0].numpy(), 1, mode="reflect"), [-s for s in shift], (0, 1, 2)
        )[1:-1, 1:-1, 1:-1]
        for shift in np.ndindex(3, 3, 3)
        for shift in [np.array(shift) - 1]
    }
    settings = replace(STILL, aug_train_shift_distance=1)
    seen = set()
    for seed in range(60):
        shifted = augment(volumes, settings, generator(seed))[0, 0].numpy()
        matches = [shift for shift, volume in expected.items() if np.array_equal(volume, shifted)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 20


def test_half_turns_are_the_three_rotations_and_never_mirror_images() -> None:
    volumes = noise(1)
    turned = {(): volumes, (0, 1): volumes.flip(2, 3), (0, 2): volumes.flip(2, 4), (1, 2): volumes.flip(3, 4)}
    settings = replace(STILL, aug_rotation="half_turns")
    seen = set()
    for seed in range(40):
        result = augment(volumes, settings, generator(seed))
        (match,) = [name for name, volume in turned.items() if torch.equal(volume, result)]
        seen.add(match)
    assert seen == set(turned)


def test_quarter_turns_are_the_24_rotations_of_a_cube() -> None:
    volume = noise(1, 5)
    # Independent of the code: all that quarter turns about the three axes can be put together to.
    rotations = {volume[0, 0].numpy().tobytes(): volume[0, 0].numpy()}
    while True:
        more = [np.rot90(r, axes=axes) for r in rotations.values() for axes in ((0, 1), (1, 2))]
        grown = rotations | {np.ascontiguousarray(r).tobytes(): r for r in more}
        if len(grown) == len(rotations):
            break
        rotations = grown
    assert len(rotations) == 24
    turned = quarter_turns(volume.expand(500, -1, -1, -1, -1), generator())
    seen = [np.ascontiguousarray(v[0].numpy()).tobytes() for v in turned]
    assert set(seen) == set(rotations)
    assert min(seen.count(rotation) for rotation in rotations) > 5


def test_rotation_about_z_keeps_each_plane_and_what_stands_on_the_axis() -> None:
    volumes = torch.zeros(8, 1, 9, 9, 9)
    volumes[:, 0, 2, 4, 4] = 1.0  # on the axis
    volumes[:, 0, 6, 3:6, 3:6] = 1.0
    result = augment(volumes, replace(STILL, aug_rotation="full_z"), generator())
    assert float(result[:, 0, [0, 1, 3, 4, 5, 7, 8]].abs().max()) == 0.0
    # All values of a volume are scaled alike, to bring back the deviation that interpolation takes away.
    ratio = result[:, 0, 6].sum(dim=(1, 2)) / result[:, 0, 2, 4, 4]
    torch.testing.assert_close(ratio, torch.full((8,), 9.0), atol=0.7, rtol=0)
    torch.testing.assert_close(result.std(dim=(1, 2, 3, 4)), volumes.std(dim=(1, 2, 3, 4)))


def test_rotation_about_z_is_by_all_angles() -> None:
    volumes = torch.zeros(200, 1, 9, 9, 9)
    volumes[:, 0, 4, 4, 7] = 1.0
    result = augment(volumes, replace(STILL, aug_rotation="full_z"), generator())[:, 0, 4]
    y, x = torch.meshgrid(torch.arange(9.0) - 4, torch.arange(9.0) - 4, indexing="ij")
    mean_y, mean_x = ((result * axis).sum(dim=(1, 2)) / result.sum(dim=(1, 2)) for axis in (y, x))
    quarters, counts = torch.unique(torch.atan2(mean_y, mean_x).div(np.pi / 2).floor(), return_counts=True)
    assert len(quarters) == 4 and counts.min() > 30


def test_tilt_turns_half_of_the_batch_by_no_more_than_the_angle() -> None:
    edge, reach = 37, 14
    volumes = torch.zeros(120, 1, edge, edge, edge)
    volumes[:, 0, 18, 18, 18 + reach - 1 : 18 + reach + 2] = 1.0
    result = augment(volumes, replace(STILL, aug_tilt=20.0), generator())[:, 0]
    turned = (result != volumes[:, 0]).flatten(1).any(dim=1)
    assert int(turned.sum()) == 60
    coordinates = torch.stack(torch.meshgrid(*[torch.arange(edge) - 18.0] * 3, indexing="ij"))
    place = torch.einsum("bzyx,czyx->bc", result, coordinates) / result.sum(dim=(1, 2, 3))[:, None]
    angles = torch.rad2deg(torch.atan2(place[:, :2].norm(dim=1), place[:, 2]))
    assert angles.max() < 21 and angles[turned].max() > 12
    torch.testing.assert_close(
        result.std(dim=(1, 2, 3)), volumes[:, 0].std(dim=(1, 2, 3)), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_smallest_batches_are_tilted_too(count: int) -> None:
    settings = replace(STILL, aug_tilt=20.0)
    for seed in range(20):
        assert augment(noise(count), settings, generator(seed)).shape == (count, 1, 9, 9, 9)


def test_off_centre_negatives_lie_at_the_distance_asked_for() -> None:
    volumes = torch.zeros(200, 1, 37, 37, 37)
    volumes[:, 0, 18, 18, 18] = 1.0
    result = off_centre_negatives(volumes, replace(STILL, off_centre_distance=(5.0, 12.0)), generator())
    place = torch.stack([torch.nonzero(volume[0])[0] for volume in result]) - 18
    distance = place.double().norm(dim=1)
    assert distance.min() >= 5 - 0.9 and distance.max() <= 12 + 0.9  # rounded to whole voxels
    assert distance.max() - distance.min() > 5


def test_background_has_the_spectrum_of_the_subvolume_and_none_of_its_structure() -> None:
    volumes = noise(4, 16) + torch.sin(torch.arange(16) / 2.0)
    result = background_negatives(volumes, STILL, generator())
    axes = (-3, -2, -1)
    spectrum = [torch.fft.rfftn(v, dim=axes).abs() for v in (volumes, result)]
    # Where a coefficient is its own conjugate the phase is not free, so a few values may differ.
    close = torch.isclose(spectrum[0], spectrum[1], rtol=1e-3, atol=1e-3)
    assert close.double().mean() > 0.98
    similarity = torch.nn.functional.cosine_similarity(volumes.flatten(1), result.flatten(1))
    assert similarity.abs().max() < 0.5


def test_spectral_noise_looks_like_the_subvolume_and_keeps_its_deviation() -> None:
    smooth = torch.nn.functional.avg_pool3d(noise(64, 19), 3, stride=1)
    smooth = smooth / smooth.std(dim=(2, 3, 4), keepdim=True)
    result = augment(smooth, replace(STILL, aug_spectral_noise=1.0), generator())
    kept = torch.nn.functional.cosine_similarity(smooth.flatten(1), result.flatten(1))
    # Uncorrelated noise as strong as the volume leaves a correlation of 1/√2; no noise leaves 1.
    assert 0.6 < kept.min() < 0.8 and kept.max() > 0.98
    spread = result.std(dim=(1, 2, 3, 4))
    assert spread.min() > 0.85 and spread.max() < 1.15

    def roughness(volumes: torch.Tensor) -> torch.Tensor:
        return volumes.diff(dim=4).square().mean() / volumes.square().mean()

    torch.testing.assert_close(roughness(result), roughness(smooth), rtol=0.15, atol=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("aug_noise", 0.5), ("aug_gain", 0.3), ("aug_offset", 0.3), ("aug_dropout", (0.2, 0.4))],
)
def test_each_distortion_has_the_strength_asked_for(name: str, value: object) -> None:
    volumes = noise(64, 9)
    change = augment(volumes, replace(STILL, **{name: value}), generator()) - volumes
    if name == "aug_dropout":
        lost = (change != 0).double().mean(dim=(1, 2, 3, 4))
        assert lost.min() > 0.15 and lost.max() < 0.45
        return
    strength = (change if name != "aug_gain" else change / volumes).flatten(1)
    spread = strength.std(dim=1) if name == "aug_noise" else strength.mean(dim=1).abs()
    limit = {"aug_noise": 0.5, "aug_gain": np.exp(0.3) - 1, "aug_offset": 0.3}[name]
    assert 0.5 * limit < spread.max() < 1.1 * limit


def test_the_same_generator_gives_the_same_batch() -> None:
    volumes, settings = noise(), TrainSettings()
    first, second, other = (augment(volumes, settings, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_scaled_class_is_larger_and_another_class() -> None:
    z, y, x = torch.meshgrid(*[torch.arange(37.0) - 18] * 3, indexing="ij")
    radius = 8.0
    ball = torch.sigmoid(2 * (radius - (z**2 + y**2 + x**2).sqrt()))[None, None]
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    seen = set()
    for seed in range(20):
        volumes, new = scaled_classes(
            ball.expand(6, -1, -1, -1, -1), labels, 3, (0.75, 1.25), generator(seed)
        )
        assert torch.equal(new % 3, labels)
        assert torch.equal(new[::2], new[1::2])
        for volume, label in zip(volumes[:, 0], new.tolist(), strict=True):
            factor = (1.0, 0.75, 1.25)[label // 3]
            seen.add(factor)
            profile = volume[18, 18, 18:] / volume[18, 18, 18]
            width = float((profile > 0.5).sum()) - 1
            assert width == pytest.approx(radius * factor, abs=1.0)
            if factor == 1.0:
                assert torch.equal(volume, ball[0, 0])
            assert float(volume.std()) == pytest.approx(float(ball.std()), rel=1e-3)
    assert seen == {1.0, 0.75, 1.25}
