"""The steps of fine-tuning: crops are drawn, their picks told from all else, the weights moved a little.

So that the network forgets little of what it knew, the statistics of its normalisation stay as they are, and
its weights are pulled towards those that it began with (L2-SP; Li, Grandvalet & Davoine, ICML 2018).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from tomotwin_lib.embedding.precision import training_precision
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.training.augmentation import rotated
from tomotwin_lib.training.crops import SITES, Crops
from tomotwin_lib.training.picks_against_rest import picks_against_rest

LEARNING_RATE = 2e-4
PULL = 0.02
"""Share of its distance from the start that a weight loses in a step at the full learning rate."""

WARM_UP = 10
PARTICLES, ELSEWHERE = 8, 4
"""Crops in a batch, around picks and elsewhere."""

REFERENCE_STEPS = 10
"""Steps after which the references are embedded anew."""

NOISE, GAIN, OFFSET = 0.3, 0.1, 0.1
TILT = 20.0
"""Largest angle, in degrees, by which half of a batch is turned about random axes."""


@dataclass(frozen=True)
class Budget:
    """How long to train: minutes, and at most so many steps where that is given."""

    minutes: float
    steps: int | None = None

    def used(self, elapsed: float, step: int) -> float:
        """The share of it that is used after so many seconds and steps; 1 or more at the end."""
        return max(elapsed / (60 * self.minutes), 0.0 if self.steps is None else step / self.steps)


def train_on_crops(
    network: DenseNetwork,
    crops: Crops,
    windows: Mapping[int, torch.Tensor],
    budget: Budget,
    *,
    seed: int = 0,
    progress: bool = True,
) -> int:
    """Train a network in place.

    Parameters
    ----------
    network : in evaluation mode and without gradients, before and after.
    crops : what it is shown.
    windows : by label, (pick, 1, d, h, w) standardised windows of the picks that are trained on, in the order
        of ``crops.picked.anchors_of(label)``, on the network's device.

    Returns
    -------
    The number of steps.
    """
    device = next(network.parameters()).device
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    network.eval().requires_grad_(True)  # In evaluation mode the statistics of normalisation stay.
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    origin = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.0)
    members: dict[int, torch.Tensor] = {}
    begun, step, used = time.monotonic(), 0, 0.0
    try:
        with tqdm(total=100, desc="fine-tuning", unit="%", disable=not progress) as bar:
            while used < 1:
                if step % REFERENCE_STEPS == 0:
                    with torch.no_grad():
                        members = {label: network(stack) for label, stack in windows.items()}
                scale = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + np.cos(np.pi * used))
                optimizer.param_groups[0]["lr"] = LEARNING_RATE * scale
                loss = _loss_of_batch(network, crops, members, device, rng, generator)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
                with torch.no_grad():
                    for weight, first in zip(weights, origin, strict=True):
                        weight.lerp_(first, PULL * scale)
                step += 1
                used = budget.used(time.monotonic() - begun, step)
                bar.update(min(round(100 * used), 100) - bar.n)
                bar.set_postfix(step=step, loss=f"{float(loss.detach()):.3f}")
    finally:
        network.requires_grad_(False)
    return step


def _loss_of_batch(
    network: DenseNetwork,
    crops: Crops,
    members: Mapping[int, torch.Tensor],
    device: torch.device,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> torch.Tensor:
    """Draw crops, as many of each class, and embed them densely."""
    labels = rng.permutation(np.resize(rng.permutation(list(members)), PARTICLES))
    places = [int(rng.integers(len(members[label]))) for label in labels]
    drawn = [
        crops.around(crops.picked.anchors_of(label)[place], rng)
        for label, place in zip(labels, places, strict=True)
    ]
    drawn += [crops.elsewhere(rng) for _ in range(ELSEWHERE)]
    voxels = torch.stack([one for one, _ in drawn])[:, None]
    negative = torch.stack([sites for _, sites in drawn]).to(device)
    voxels = varied(voxels, generator).to(device).to(memory_format=torch.channels_last_3d)
    with training_precision(device, scaled=False):
        vectors = network.forward_dense(voxels)
    vectors = vectors.float().movedim(1, -1)  # (crop, site, site, site, channel)
    middle = SITES // 2
    particles = vectors[:PARTICLES, middle, middle, middle]
    # The pick itself has no part in the reference that it is compared with.
    rest = [
        members[label][torch.arange(len(members[label]), device=device) != place].sum(dim=0)
        for label, place in zip(labels, places, strict=True)
    ]
    references = functional.normalize(torch.stack(rest), dim=1)
    numbers = torch.from_numpy(labels).to(device)
    return picks_against_rest(particles, references, numbers, vectors[negative], generator)


def varied(voxels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Crops (b, 1, d, h, w), each with another contrast, brightness and noise, half of them turned."""

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(voxels), 1, 1, 1, 1, generator=generator)

    count = len(voxels)
    axes = functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    angles = np.radians(TILT) * torch.rand(count, 1, generator=generator)
    tilted = torch.randperm(count, generator=generator)[: count // 2]
    voxels = voxels.clone()
    voxels[tilted] = rotated(voxels[tilted], (axes * angles)[tilted])
    contrasted = voxels * torch.exp(uniform(-GAIN, GAIN)) + uniform(-OFFSET, OFFSET)
    return contrasted + uniform(0, NOISE) * torch.randn(voxels.shape, generator=generator)
