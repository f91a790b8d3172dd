"""The recipe: a network trained on tomograms whose particles are all known."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from tomotwin_lib.embedding.preparation import standardise_window
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.networks.checkpoint import save_checkpoint
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.training.augmentation import augment
from tomotwin_lib.training.hard_negatives import hard_negatives
from tomotwin_lib.training.labelled_tomograms import LabelledTomogram
from tomotwin_lib.training.losses import MetricLoss
from tomotwin_lib.training.proxy_loss import ProxyLoss
from tomotwin_lib.training.settings import TrainSettings
from tomotwin_lib.training.window_draws import NO_PARTICLE, Shares, WindowDraws

WARM_UP = 0.03


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on tomograms.

    Attributes
    ----------
    shares : what a batch consists of.
    learning_rate, weight_decay : of AdamW; the rate warms up and then falls to zero along a cosine.
    scale, margin, level : of :class:`~.proxy_loss.ProxyLoss`.
    pairs, temperature : weight and temperature of the supervised contrastive loss (Khosla et al., 2020) beside it.
    averaging : decay, a step, of the exponential average of the weights, which is what is kept.
    looks : seconds between two looks for hard negatives; 0 for none.
    noise, gain, offset : as ``aug_noise``, ``aug_gain`` and ``aug_offset`` of the training on subvolumes.
    own_statistics : share of windows that are standardised by themselves, as references are, and not by the
        statistics of their tomogram.
    """

    shares: Shares = Shares()
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    scale: float = 14.0
    margin: float = 0.1
    level: float = 0.4
    pairs: float = 0.5
    temperature: float = 0.2
    averaging: float = 0.995
    looks: float = 20.0
    noise: float = 0.3
    gain: float = 0.15
    offset: float = 0.1
    own_statistics: float = 0.5


def train_on_tomograms(
    configuration: Mapping[str, Any],
    tomograms: Sequence[LabelledTomogram],
    recipe: Recipe,
    output: str | Path,
    *,
    minutes: float,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = True,
    on_minute: Callable[[DenseNetwork, float], dict[str, float]] | None = None,
    minutes_between: float = 5.0,
) -> pd.DataFrame:
    """Train for so many minutes; writes ``final.pth`` and ``steps.csv`` into ``output``."""
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    device = torch.device(device)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    network = build_network(configuration)
    assert isinstance(network, DenseNetwork)
    draws = WindowDraws(tomograms, network.window_size, recipe.shares)
    network = network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    size = int(configuration.get("network_config", {}).get("output_channels", 32))
    proxies = ProxyLoss(len(draws.classes), size, recipe.scale, recipe.margin, recipe.level).to(device)
    pairs = MetricLoss(
        TrainSettings(loss_kwargs={"temperature": recipe.temperature}), "COSINE", len(draws.classes), size
    ).to(device)
    settings = TrainSettings(
        aug_rotation="half_turns", aug_train_shift_distance=0, aug_noise=recipe.noise, aug_gain=recipe.gain,
        aug_offset=recipe.offset, aug_dropout=(0.0, 0.0),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(
        [{"params": network.parameters(), "weight_decay": recipe.weight_decay},
         {"params": proxies.parameters(), "weight_decay": 0.0}], lr=recipe.learning_rate,
    )  # fmt: skip
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True)
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
    begun = time.monotonic()
    looked = checked = begun
    rows: list[dict[str, float]] = []
    step, sums = 0, np.zeros(2)
    bar = tqdm(total=round(minutes * 60), desc="training", unit="s", disable=not progress)
    while (elapsed := time.monotonic() - begun) < minutes * 60:
        share = elapsed / (minutes * 60)
        rate = recipe.learning_rate * min(share / WARM_UP, 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = max(rate, 1e-6)
        windows, labels = draws.draw(rng)
        windows, labels = _own_statistics(windows, recipe.own_statistics, generator).to(device), labels.to(device)
        windows = augment(windows, settings, generator)
        network.train()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda"):
            embeddings = network(windows.to(memory_format=torch.channels_last_3d))
        embeddings = embeddings.float()
        known = labels != NO_PARTICLE
        loss = proxies(embeddings, labels)
        pair = pairs(embeddings[known], labels[known], embeddings[~known]) if recipe.pairs else loss * 0
        scaler.scale(loss + recipe.pairs * pair).backward()
        scaler.step(optimizer)
        scaler.update()
        average.update_parameters(network)
        step += 1
        sums += [float(loss.detach()), float(pair.detach())]
        now = time.monotonic()
        if recipe.looks and now - looked > recipe.looks and share > 0.1:
            network.eval()
            number = int(rng.integers(len(tomograms)))
            found = hard_negatives(
                network, proxies.directions.detach(), tomograms[number], rng,
                off=recipe.shares.distance[0], most=24,
            )  # fmt: skip
            draws.keep_hard(number, found)
            looked = time.monotonic()
        if step % 50 == 0:
            row = {"step": step, "seconds": now - begun, "proxies": sums[0] / 50, "pairs": sums[1] / 50, "rate": rate}
            sums[:] = 0
            if on_minute is not None and now - checked > minutes_between * 60:
                row |= on_minute(average.module.eval(), now - begun)
                checked = time.monotonic()
            rows.append(row)
            pd.DataFrame(rows).to_csv(output / "steps.csv", index=False)
            bar.set_postfix(step=step, loss=f"{row['proxies']:.3f}")
        bar.update(round(time.monotonic() - begun) - bar.n)
    final = average.module.eval()
    extra = on_minute(final, time.monotonic() - begun) if on_minute is not None else {}
    if extra and rows:
        rows[-1] |= extra
        pd.DataFrame(rows).to_csv(output / "steps.csv", index=False)
    save_checkpoint(
        output / "final.pth", final, {**configuration, "window_size": (network.window_size,) * 3},
        epoch=step, loss=rows[-1]["proxies"] if rows else 0.0, best_loss=0.0, best_f1=0.0,
    )  # fmt: skip
    return pd.DataFrame(rows)


def _own_statistics(windows: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    chosen = torch.rand(len(windows), generator=generator) < share
    windows[chosen] = standardise_window(windows[chosen, 0])[:, None]
    return windows
