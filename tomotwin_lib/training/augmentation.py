"""What a batch goes through before the network sees it, on the device and without a loop over samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from scipy.fft import next_fast_len
from torch.nn import functional

from tomotwin_lib.networks.half_turn_layers import HALF_TURNS
from tomotwin_lib.training.settings import TrainSettings

# The four rotations that leave a missing wedge about one axis where it is, as which axes they reverse.
_HALF_TURNS = torch.tensor([[axis in turn for axis in range(3)] for turn in HALF_TURNS])
# The 24 rotations of a cube: the axes in another order, some of them reversed. An order that is an odd
# permutation mirrors, and so does each reversal: together they must be even.
_QUARTER_TURNS = [
    (order, reverse)
    for order in itertools.permutations(range(3))
    for reverse in itertools.product((False, True), repeat=3)
    if (sum(a > b for a, b in itertools.combinations(order, 2)) + sum(reverse)) % 2 == 0
]


def augment(volumes: torch.Tensor, settings: TrainSettings, generator: torch.Generator) -> torch.Tensor:
    """Positives: the same particles seen a little differently.

    Parameters
    ----------
    volumes : (b, 1, d, h, w), standardised, on the CPU or a GPU.
    generator : of the CPU; all randomness comes from it.

    Returns
    -------
    (b, 1, d, h, w)
    """
    reach = settings.aug_train_shift_distance
    shifts = torch.randint(-reach, reach + 1, (len(volumes), 3), generator=generator)
    return _distort(_turn_and_shift(volumes, shifts, settings, generator), settings, generator)


def quarter_turns(volumes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Densities, which have no missing wedge: each turned by one of the 24 rotations of a cube.

    Parameters
    ----------
    volumes : (b, 1, d, d, d), on the CPU or a GPU.
    generator : of the CPU; all randomness comes from it.

    Returns
    -------
    (b, 1, d, d, d)
    """
    choices = torch.randint(len(_QUARTER_TURNS), (len(volumes),), generator=generator)
    turned = torch.empty_like(volumes)
    for choice in choices.unique().tolist():
        order, reverse = _QUARTER_TURNS[choice]
        chosen = (choices == choice).to(volumes.device)
        flipped = [2 + axis for axis in range(3) if reverse[axis]]
        turned[chosen] = volumes[chosen].permute(0, 1, *(2 + axis for axis in order)).flip(flipped)
    return turned


def scaled_classes(
    volumes: torch.Tensor,
    labels: torch.Tensor,
    class_count: int,
    factors: Sequence[float],
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """More shapes than there are: a class of the batch, larger or smaller than it is, is another class.

    A network that is only asked to tell the classes of the training data apart maps whatever else it meets
    onto one of them. Classes made by scale teach it that there is something between and beside them.

    Parameters
    ----------
    volumes : (b, 1, d, h, w), standardised, on the CPU or a GPU.
    labels : (b,) of the original classes, on the same device.
    class_count : number of the original classes.
    factors : magnifications. Each class in the batch keeps its size or takes one of them, all equally often.
    generator : of the CPU; all randomness comes from it.

    Returns
    -------
    The volumes, and their labels: class c that took the k-th factor (from 1) has c + k × ``class_count``.
    """
    choices = torch.randint(len(factors) + 1, (class_count,), generator=generator).to(labels.device)[labels]
    magnification = torch.tensor([1.0, *factors], device=volumes.device)[choices]
    chosen = choices > 0
    if chosen.any():
        matrices = torch.eye(3, 4, device=volumes.device) / magnification[chosen, None, None]
        volumes = volumes.clone()
        volumes[chosen] = _resample(volumes[chosen], matrices)
    return volumes, labels + choices * class_count


def off_centre_negatives(
    volumes: torch.Tensor, settings: TrainSettings, generator: torch.Generator
) -> torch.Tensor:
    """What stands beside a particle: subvolumes shifted by several voxels, the rim filled by reflection.

    Returns
    -------
    (b, 1, d, h, w)
    """
    low, high = settings.off_centre_distance
    directions = functional.normalize(torch.randn(len(volumes), 3, generator=generator), dim=1)
    lengths = low + (high - low) * torch.rand(len(volumes), 1, generator=generator)
    shifts = (directions * lengths).round().long()
    return _distort(_turn_and_shift(volumes, shifts, settings, generator), settings, generator)


def background_negatives(
    volumes: torch.Tensor, settings: TrainSettings, generator: torch.Generator
) -> torch.Tensor:
    """The void: noise with each subvolume's power spectrum, missing wedge included, but random phases.

    Returns
    -------
    (b, 1, d, h, w)
    """
    return _distort(_noise_like(volumes, generator), settings, generator)


def _noise_like(volumes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Noise with each volume's power spectrum, but random phases.

    Returns
    -------
    (b, 1, d, h, w)
    """
    axes = (-3, -2, -1)
    edges = volumes.shape[-3:]
    # An edge of 37 is prime, which makes a transform eight times slower than one of 40.
    more = [next_fast_len(edge, real=True) - edge for edge in edges]
    margins = [side for extra in reversed(more) for side in (extra // 2, extra - extra // 2)]
    padded = functional.pad(volumes, margins, mode="reflect")
    phases = torch.fft.rfftn(torch.randn(padded.shape, generator=generator).to(volumes), dim=axes)
    phases = phases / phases.abs().clamp_min(1e-12)
    amplitudes = torch.fft.rfftn(padded, dim=axes).abs()
    noise = torch.fft.irfftn(amplitudes * phases, s=padded.shape[-3:], dim=axes)
    return noise[..., : edges[0], : edges[1], : edges[2]]


def _turn_and_shift(
    volumes: torch.Tensor, shifts: torch.Tensor, settings: TrainSettings, generator: torch.Generator
) -> torch.Tensor:
    count = len(volumes)
    turns = torch.zeros(count, 3, dtype=torch.bool)
    if settings.aug_rotation == "half_turns":
        turns = _HALF_TURNS[torch.randint(4, (count,), generator=generator)]
    elif settings.aug_rotation == "full_z":
        beam = torch.tensor([[0.0, 0.0, 1.0]]).expand(count, 3)
        volumes = rotated(volumes, 2 * math.pi * torch.rand(count, 1, generator=generator) * beam)
    if settings.aug_tilt and count > 1:
        axes = functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
        angles = math.radians(settings.aug_tilt) * torch.rand(count, 1, generator=generator)
        # Interpolation smooths the noise: half of the batch keeps that of the files.
        chosen = torch.randperm(count, generator=generator)[: count // 2]
        volumes = volumes.clone()
        volumes[chosen.to(volumes.device)] = rotated(
            volumes[chosen.to(volumes.device)], (axes * angles)[chosen]
        )
    if not (turns.any() or shifts.any()):
        return volumes
    # One gather does both: each axis of each sample reads its own list of indices.
    z, y, x = (
        _reflected_indices(size, shifts[:, axis], turns[:, axis]).to(volumes.device)
        for axis, size in enumerate(volumes.shape[-3:])
    )
    sample = torch.arange(count, device=volumes.device)[:, None, None, None]
    return volumes[sample, 0, z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]][:, None]


def _reflected_indices(size: int, shifts: torch.Tensor, reverse: torch.Tensor) -> torch.Tensor:
    """Indices along one axis, (b, size): shifted, reflected at the ends, and read backwards where asked."""
    indices = torch.arange(size)[None, :] + shifts[:, None]
    period = 2 * (size - 1)
    indices = indices.remainder(period)
    indices = torch.minimum(indices, period - indices)
    return torch.where(reverse[:, None], size - 1 - indices, indices)


def rotated(volumes: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Turn each volume about its centre, the corners filled by reflection.

    Parameters
    ----------
    rotations : (b, 3), x y z: the axis, as long as the angle in radians.
    """
    x, y, z = rotations.unbind(dim=1)
    zero = torch.zeros_like(x)
    generators = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    matrices = torch.cat([torch.linalg.matrix_exp(generators), torch.zeros(len(x), 3, 1)], dim=2)
    return _resample(volumes, matrices)


def _resample(volumes: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Read each volume through an affine map, and bring it back to the deviation that interpolation takes.

    Parameters
    ----------
    matrices : (b, 3, 4), from the new volume's coordinates to the old one's, both from −1 to 1 (x, y, z).
    """
    grid = functional.affine_grid(matrices.to(volumes), list(volumes.shape), align_corners=False)
    sampled = functional.grid_sample(volumes, grid, padding_mode="reflection", align_corners=False)
    axes = (1, 2, 3, 4)
    lost = volumes.std(dim=axes, keepdim=True) / sampled.std(dim=axes, keepdim=True).clamp_min(1e-6)
    return sampled * lost


def _distort(volumes: torch.Tensor, settings: TrainSettings, generator: torch.Generator) -> torch.Tensor:
    """Contrast, brightness, noise and lost voxels, each of its own strength in every sample."""

    def uniform(low: float, high: float) -> torch.Tensor:
        values = low + (high - low) * torch.rand(len(volumes), 1, 1, 1, 1, generator=generator)
        return values.to(volumes)

    if settings.aug_gain:
        volumes = volumes * torch.exp(uniform(-settings.aug_gain, settings.aug_gain))
    if settings.aug_offset:
        volumes = volumes + uniform(-settings.aug_offset, settings.aug_offset)
    if settings.aug_spectral_noise:
        strength = uniform(0, settings.aug_spectral_noise)
        # Back to the deviation that volumes have when the network is used.
        volumes = (volumes + strength * _noise_like(volumes, generator)) / torch.sqrt(1 + strength**2)
    if settings.aug_noise:
        noise = torch.randn(volumes.shape, generator=generator).to(volumes)
        volumes = torch.addcmul(volumes, uniform(0, settings.aug_noise), noise)
    if settings.aug_dropout[1]:
        lost = torch.rand(volumes.shape, generator=generator).to(volumes) < uniform(*settings.aug_dropout)
        volumes = volumes.masked_fill(lost, 0.0)
    return volumes
