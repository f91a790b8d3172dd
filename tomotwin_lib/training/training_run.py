"""One training run: what changes while it goes, the loop over it, and how it is resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from tomotwin_lib.errors import InputError
from tomotwin_lib.figures import save_figure, training_curve
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.networks.checkpoint import load_checkpoint, load_weights, save_checkpoint
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.training.augmentation import (
    augment,
    background_negatives,
    off_centre_negatives,
    quarter_turns,
    scaled_classes,
)
from tomotwin_lib.training.batches import ClassBalancedBatches
from tomotwin_lib.training.densities import Densities
from tomotwin_lib.training.history import Epoch, History
from tomotwin_lib.training.losses import MetricLoss
from tomotwin_lib.training.roles import Roles
from tomotwin_lib.training.settings import TrainSettings
from tomotwin_lib.training.subvolumes import LabelledSubvolumes
from tomotwin_lib.training.validation import validate

# Share of a run in which the cosine schedule raises the learning rate from zero.
WARM_UP = 0.03
# Writing a checkpoint takes longer than a short epoch, so `latest.pth` is not written more often than this.
LATEST_SECONDS = 20.0


class StopTraining(Exception):
    """Raised by ``on_epoch`` of :func:`~.trainer.train`: this epoch was the last; the run ends well."""


@dataclass(frozen=True)
class Folders:
    """What a run reads, and where it writes."""

    volumes: Path
    validation: Path
    densities: Path | None
    output: Path


class TrainingRun:
    """A run, ready to go from its beginning or, once it has been resumed, from where it stopped."""

    def __init__(
        self,
        configuration: Mapping[str, Any],
        settings: TrainSettings,
        roles: Roles,
        folders: Folders,
        device: torch.device,
        seed: int,
        max_negatives: int | None,
        progress: bool,
    ) -> None:
        self.configuration = {**configuration, "distance": configuration.get("distance", "COSINE")}
        self.settings, self.roles, self.folder = settings, roles, folders.output
        self.device, self.seed, self.progress = device, seed, progress

        torch.manual_seed(seed)
        network = build_network(self.configuration)
        window, classes = network.window_size, list(roles.classes)
        self.densities = Densities(folders.densities, window, classes) if folders.densities else None
        self.training = LabelledSubvolumes(folders.volumes, window, classes, progress=progress)
        self.validation = LabelledSubvolumes(folders.validation, window, classes, progress=progress)
        self.configuration["window_size"] = (window,) * 3
        # What the command line decides about a run's course, and a resumed run must not change.
        self.conditions = {
            "max_negatives": max_negatives,
            "densities": self.densities.names if self.densities else [],
        }

        # cuDNN and oneDNN run 3-D convolutions about 1.3 times faster with the channels last.
        self.network: EmbeddingNetwork = network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        with torch.no_grad():
            size = self.network.eval()(torch.zeros(1, 1, window, window, window, device=device)).shape[1]
        may_anchor = torch.tensor([label in roles.anchors for label in classes])
        may_anchor = may_anchor.repeat(1 + len(settings.scaled_classes))
        self.loss = MetricLoss(
            settings, self.configuration["distance"], len(may_anchor), size, may_anchor, max_negatives
        ).to(device)
        self.optimizer = self._build_optimizer()
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, patience=self.settings.patience
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        self.history = History(self.folder / "history.csv")
        self.best_loss, self.best_f1 = math.inf, -math.inf

    def resume(self, path: Path) -> None:
        checkpoint = load_checkpoint(path)
        if checkpoint["tomotwin_config"] != self.configuration:
            raise InputError(
                path, "it was trained with another configuration", "Resume with the configuration of that run"
            )
        if "training_state" not in checkpoint:
            raise InputError(
                path, "it holds no state to go on from", "Give the latest.pth of an interrupted run"
            )
        state = checkpoint["training_state"]
        conditions = state.get("conditions", {"max_negatives": None, "densities": []})
        if conditions != self.conditions:
            raise InputError(
                path,
                f"it was trained with {_told(conditions)}, not {_told(self.conditions)}",
                "Resume with the -p/--pdbpath and --max_neg of that run",
            )
        load_weights(self.network, checkpoint["model_state_dict"], path)
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(checkpoint["optimizer_state_dict"])
        self.plateau.load_state_dict(state["plateau"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = History(self.folder / "history.csv", [Epoch(**row) for row in state["history"]])
        self.best_loss, self.best_f1, self.seed = (
            checkpoint["best_loss"],
            checkpoint["best_f1"],
            state["seed"],
        )

    def go(
        self,
        epochs: int,
        max_minutes: float | None,
        save_after_improvement: bool,
        on_epoch: Callable[[Epoch], None] | None = None,
    ) -> None:
        begun = time.monotonic() - (self.history.epochs[-1].seconds if self.history.epochs else 0.0)
        last_saved = time.monotonic()
        first = len(self.history.epochs)
        limit = max_minutes * 60 if max_minutes is not None else math.inf
        bar = tqdm(total=epochs, initial=first, desc="training", unit="epoch", disable=not self.progress)
        with SummaryWriter(str(self.folder)) as board, bar:
            for number in range(first, epochs):
                elapsed = time.monotonic() - begun
                if elapsed >= limit:
                    break
                share = max(number / epochs, elapsed / limit)
                step_share = max(1 / epochs, (elapsed / number / limit) if number else 0.0)
                train_loss = self._train_epoch(number, share, step_share)
                valid_loss, valid_f1 = validate(
                    self.network, self.validation, self.loss, self.device, self.densities
                )
                rate = self.optimizer.param_groups[0]["lr"]
                epoch = Epoch(number, train_loss, valid_loss, valid_f1, rate, time.monotonic() - begun)
                self.history.append(epoch)
                for name, value in asdict(epoch).items():
                    board.add_scalar(name, value, number)
                if self.settings.schedule == "plateau":
                    self.plateau.step(valid_loss)
                self._save_improvements(epoch, save_after_improvement)
                if time.monotonic() - last_saved > LATEST_SECONDS:
                    self._save("latest.pth", epoch)
                    last_saved = time.monotonic()
                bar.update()
                bar.set_postfix(loss=f"{train_loss:.3f}", valid=f"{valid_loss:.3f}", F1=f"{valid_f1:.3f}")
                if on_epoch is not None:
                    try:
                        on_epoch(epoch)
                    except StopTraining:
                        break
        self._save("latest.pth", self.history.epochs[-1])
        self._save("final.pth", self.history.epochs[-1])
        save_figure(self.folder / "training_curve.png", training_curve(self.history.frame()))

    def _train_epoch(self, number: int, share: float, step_share: float) -> float:
        """One pass; ``share`` of the run lies behind it and ``step_share`` of the run is expected of it."""
        generator = torch.Generator().manual_seed(self._epoch_seed(number))
        torch.manual_seed(self._epoch_seed(number))  # dropout and the miners draw from the global generator
        self.network.train()
        total, batches = 0.0, 0
        loader = self._loader(number)
        for step, (volumes, labels) in enumerate(loader):
            if self.settings.schedule == "cosine":
                self._set_rate(share + step_share * step / len(loader))
            volumes, labels = volumes.to(self.device), labels.to(self.device)
            densities = 0
            if self.densities is not None:
                drawn, drawn_labels = self.densities.draw(labels, generator)
                volumes, labels = torch.cat([drawn, volumes]), torch.cat([drawn_labels, labels])
                densities = len(drawn)
            if self.settings.scaled_classes:
                volumes, labels = scaled_classes(
                    volumes, labels, len(self.training.classes), self.settings.scaled_classes, generator
                )
            inputs = self._make_inputs(volumes, densities, generator)
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, dtype=torch.float16, enabled=self.device.type == "cuda"):
                embeddings = self.network(inputs.to(memory_format=torch.channels_last_3d))
            loss = self.loss(
                embeddings[: len(labels)].float(),
                labels,
                embeddings[len(labels) :].float(),
                densities=None if self.densities is None else densities,
                generator=generator,
            )
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            total, batches = total + float(loss.detach()), batches + 1
        return total / batches

    def _make_inputs(self, volumes: torch.Tensor, densities: int, generator: torch.Generator) -> torch.Tensor:
        """Augmented samples, of which the first are densities, then negatives: (b + n, 1, d, h, w)."""
        samples = volumes[densities:]
        parts = [augment(samples, self.settings, generator)]
        for share, make in (
            (self.settings.off_centre, off_centre_negatives),
            (self.settings.background, background_negatives),
        ):
            count = round(share * len(samples))
            if count:
                chosen = torch.randint(len(samples), (count,), generator=generator).to(samples.device)
                parts.append(make(samples[chosen], self.settings, generator))
        if densities:
            turned = quarter_turns(volumes[:densities], generator)
            parts.insert(0, augment(turned, self.settings, generator))
        return torch.cat(parts)

    def _loader(self, number: int) -> DataLoader[Any]:
        batches = ClassBalancedBatches(
            self.training.labels,
            self.settings.batchsize,
            self.settings.samples_per_class,
            self._epoch_seed(number),
            np.array([self.roles.classes.index(label) for label in self.roles.anchors]),
        )
        return DataLoader(self.training, batch_sampler=batches)

    def _epoch_seed(self, number: int) -> int:
        # Seeded anew for each epoch, a resumed run draws what an uninterrupted one would have drawn.
        return self.seed * 1_000_003 + number

    def _set_rate(self, share: float) -> None:
        share = min(share, 1.0)
        factor = min(share / WARM_UP, 0.5 * (1 + math.cos(math.pi * share)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * factor

    def _build_optimizer(self) -> torch.optim.Optimizer:
        parameters = [*self.network.parameters(), *self.loss.parameters()]
        optimizer_class = getattr(torch.optim, self.settings.optimizer)
        momentum = {"momentum": 0.9} if self.settings.optimizer == "SGD" else {}
        return optimizer_class(  # type: ignore[no-any-return]
            parameters, lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay, **momentum
        )

    def _save_improvements(self, epoch: Epoch, keep_all: bool) -> None:
        better = []
        if epoch.valid_f1 > self.best_f1:
            self.best_f1 = epoch.valid_f1
            better.append("f1")
        if epoch.valid_loss < self.best_loss:
            self.best_loss = epoch.valid_loss
            better.append("loss")
        for name in better:
            self._save(f"best_{name}.pth", epoch)
        if better and keep_all:
            self._save("_".join([f"best_model_{epoch.epoch:03d}", *better]) + ".pth", epoch)

    def _save(self, name: str, epoch: Epoch) -> None:
        save_checkpoint(
            self.folder / name,
            self.network,
            self.configuration,
            epoch=epoch.epoch,
            loss=epoch.valid_loss,
            best_loss=self.best_loss,
            best_f1=self.best_f1,
            training_state={
                "optimizer_state_dict": self.optimizer.state_dict(),
                "training_state": {
                    "loss": self.loss.state_dict(),
                    "plateau": self.plateau.state_dict(),
                    "scaler": self.scaler.state_dict(),
                    "history": [asdict(epoch) for epoch in self.history.epochs],
                    "seed": self.seed,
                    "conditions": self.conditions,
                },
            },
        )


def _told(conditions: Mapping[str, Any]) -> str:
    """What the command line of a run said, in words."""
    most, densities = conditions["max_negatives"], conditions["densities"]
    return f"{'all' if most is None else most} negatives of an anchor and " + (
        f"the densities {', '.join(densities)}" if densities else "no densities"
    )
