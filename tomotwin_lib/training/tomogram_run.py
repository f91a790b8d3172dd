"""One training on tomograms: what changes while it goes, a step, a look for hard negatives, and its state."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tomotwin_lib.embedding.precision import training_precision
from tomotwin_lib.embedding.preparation import standardise_window
from tomotwin_lib.networks.base import DenseNetwork, EmbeddingNetwork
from tomotwin_lib.networks.checkpoint import load_weights
from tomotwin_lib.networks.half_turn_layers import HalfTurnConv3d
from tomotwin_lib.training.augmentation import augment
from tomotwin_lib.training.hard_negatives import hard_negatives
from tomotwin_lib.training.kernel_optimizer import KernelMuon
from tomotwin_lib.training.labelled_tomograms import LabelledTomogram, on_device
from tomotwin_lib.training.losses import MetricLoss
from tomotwin_lib.training.proxy_loss import ProxyLoss
from tomotwin_lib.training.recipe import Recipe
from tomotwin_lib.training.settings import TrainSettings
from tomotwin_lib.training.window_draws import NO_PARTICLE, WindowDraws

WARM_UP = 0.03
"""Share of a run in which the learning rate rises."""

FIRST_LOOK = 0.1
"""Share of a run before which false peaks say nothing: the network has learnt too little."""

PEAKS = 24
"""False peaks kept of one look."""

_MEAN_DECAY = 0.8


class TomogramRun:
    """A network in training.

    Parameters
    ----------
    network : with the weights to begin with; it is moved to the device. To look for false peaks it has to be
        one that can be evaluated densely.
    tomograms : to train on.
    recipe : how.
    device : where to compute.
    seed : of windows, augmentation and directions.
    distance : of the configuration.
    subvolumes : single particles to train on too.

    Attributes
    ----------
    average : what is kept: the network with its averaged weights.
    sums : of the losses by proxies and by pairs, since someone set them to 0.

    Raises
    ------
    InputError
        If the tomograms give no batches.
    """

    def __init__(
        self,
        network: EmbeddingNetwork,
        tomograms: Sequence[LabelledTomogram],
        recipe: Recipe,
        *,
        device: torch.device,
        seed: int,
        distance: str = "COSINE",
        subvolumes: Sequence[LabelledTomogram] = (),
    ) -> None:
        self.recipe, self.device = recipe, device
        voxels = on_device([*tomograms, *subvolumes], device)
        self.tomograms = voxels[: len(tomograms)]
        self.draws = WindowDraws(
            self.tomograms,
            network.window_size,
            recipe.shares,
            recipe.jitter,
            voxels[len(tomograms) :],
            recipe.fresh_noise,
        )
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        # A network whose windows are always standardised by themselves sees no others in training either.
        self.own_statistics = recipe.own_statistics if network.standardisation == "volume" else 1.0
        self.network = network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        edge = network.window_size
        with torch.no_grad():
            size = network.eval()(torch.zeros(1, 1, edge, edge, edge, device=device)).shape[1]
        classes = len(self.draws.classes)
        self.proxies = ProxyLoss(classes, size, recipe.scale, recipe.margin, recipe.level).to(device)
        self.pairs = MetricLoss(TrainSettings(loss="SupConLoss"), distance, classes, size).to(device)
        # Half turns alone: they leave the missing wedge where it is, and never mirror. Some networks do not
        # see them.
        self.augmentation = TrainSettings(
            aug_rotation="none" if network.half_turn_invariant else "half_turns",
            aug_train_shift_distance=0,
            aug_noise=recipe.noise,
            aug_gain=recipe.gain,
            aug_offset=recipe.offset,
            aug_dropout=(0.0, 0.0),
        )
        self.optimizers = _optimizers(self.network, self.proxies, recipe)
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        # Mean embedding of each class of late: what hard negatives are similar to, as they are to references.
        self.means = torch.zeros(classes, size, device=device)
        self.sums = torch.zeros(2, device=device)
        self.steps = 0

    def step(self, share: float) -> float:
        """One batch; ``share`` of the run lies behind it. Returns the learning rate."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(group["initial_lr"], share)
        self.pairs.loss.temperature = temperature(self.recipe, share)
        windows, labels = self.draws.draw(self.rng)
        windows, labels = windows.to(self.device), labels.to(self.device)
        chosen = torch.rand(len(windows), generator=self.generator) < self.own_statistics
        chosen = chosen.to(self.device)
        windows[chosen] = standardise_window(windows[chosen, 0])[:, None]
        windows = augment(windows, self.augmentation, self.generator)
        self.network.train()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with training_precision(self.device):
            embeddings = self.network(windows.to(memory_format=torch.channels_last_3d))
        embeddings = embeddings.float()
        known = labels != NO_PARTICLE
        nothing = embeddings.new_zeros(())
        proxies = self.proxies(embeddings, labels) if self.recipe.proxies else nothing
        pairs = nothing
        if self.recipe.pairs:
            pairs = self.pairs(embeddings[known], labels[known], embeddings[~known])
        self.scaler.scale(self.recipe.proxies * proxies + self.recipe.pairs * pairs).backward()
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        self.average.update_parameters(self.network)
        self._follow(embeddings.detach()[known], labels[known])
        self.sums += torch.stack([proxies.detach(), pairs.detach()])
        self.steps += 1
        if self.recipe.looks and share > FIRST_LOOK and self.steps % self.recipe.looks == 0:
            self.look()
        return learning_rate(self.recipe.learning_rate, share)

    def look(self) -> None:
        """Look for particles in one of the tomograms, and keep what is none for later batches."""
        assert isinstance(self.network, DenseNetwork)
        self.network.eval()
        number = int(self.rng.integers(len(self.tomograms)))
        off = self.recipe.shares.distance[0]
        found = hard_negatives(
            self.network, self.means, self.tomograms[number], self.rng, off=off, most=PEAKS
        )
        self.draws.keep_hard(number, found)

    def _follow(self, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        own = functional.one_hot(labels, len(self.means)).to(embeddings)
        counts = own.sum(dim=0)[:, None]
        mean = own.T @ embeddings / counts.clamp_min(1)
        self.means = torch.where(counts > 0, torch.lerp(mean, self.means, _MEAN_DECAY), self.means)

    def state(self) -> dict[str, Any]:
        """All that changes, of tensors and plain types; beside it stands the averaged network itself."""
        return {
            "network": self.network.state_dict(),
            "averaged": int(self.average.n_averaged),  # type: ignore[arg-type,call-overload]
            "proxies": self.proxies.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": self.scaler.state_dict(),
            "means": self.means,
            "hard": [[number, *map(int, place)] for number, place in self.draws.hard],
            "rng": json.dumps(self.rng.bit_generator.state),
            "generator": self.generator.get_state(),
            "steps": self.steps,
        }

    def restore(self, average: Mapping[str, torch.Tensor], state: Mapping[str, Any], source: str) -> None:
        """Go on from a state.

        Raises
        ------
        InputError
            If the weights do not fit the network.
        """
        load_weights(self.average.module, average, source)
        load_weights(self.network, state["network"], source)
        self.average.n_averaged.fill_(state["averaged"])  # type: ignore[operator,union-attr]
        self.proxies.load_state_dict(state["proxies"])
        for optimizer, own in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
        self.scaler.load_state_dict(state["scaler"])
        self.means = state["means"].to(self.device)
        self.draws.hard = [(number, np.array(place, np.int64)) for number, *place in state["hard"]]
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.generator.set_state(state["generator"])
        self.steps = int(state["steps"])


def _optimizers(network: nn.Module, proxies: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for all kernels but the first layer's and the head's, if the recipe has it."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv3d | HalfTurnConv3d)]
    kernels = [layer.weight for layer in layers[1:-1]] if recipe.muon else []
    taken = set(map(id, kernels))
    rest = [parameter for parameter in network.parameters() if id(parameter) not in taken]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [
                {"params": rest, "weight_decay": recipe.weight_decay},
                {"params": proxies.parameters(), "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
        )
    ]
    if kernels:
        optimizers.append(KernelMuon(kernels, recipe.muon * recipe.learning_rate, recipe.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]  # the name that PyTorch's schedules give it
    return optimizers


def learning_rate(highest: float, share: float) -> float:
    """The rate when ``share`` of a run is over: up in a line, then down to zero along a cosine."""
    share = min(share, 1.0)
    return max(highest * min(share / WARM_UP, 0.5 * (1 + math.cos(math.pi * share))), 1e-6 * highest)


def temperature(recipe: Recipe, share: float) -> float:
    """The loss's when ``share`` of a run is over: from the first to the last by equal factors."""
    return recipe.temperature * math.pow(recipe.last_temperature / recipe.temperature, min(share, 1.0))
