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

from tomotwin_lib.embedding.precision import training_precision
from tomotwin_lib.errors import InputError
from tomotwin_lib.figures import save_figure, training_curve
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.networks.checkpoint import load_weights, save_checkpoint
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
from tomotwin_lib.training.optimizer import build_optimizer, load_state, split_state, take_over
from tomotwin_lib.training.resuming import Resumption
from tomotwin_lib.training.roles import Roles
from tomotwin_lib.training.run_folder import best_beside, claim, lies_in
from tomotwin_lib.training.settings import TrainSettings
from tomotwin_lib.training.split import split_by_class
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
    """What a run reads, and where it writes.

    Without a folder to validate with, some of ``volumes`` are set aside (:mod:`~.training.split`).
    """

    volumes: Path
    validation: Path | None
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
        self.split = None if folders.validation is not None else split_by_class(folders.volumes, seed)
        learnt, aside = (self.split.training, self.split.validation) if self.split else (None, None)
        self.training, self.validation = (
            LabelledSubvolumes(folder, window, classes, paths=paths, progress=progress)
            for folder, paths in ((folders.volumes, learnt), (folders.validation or folders.volumes, aside))
        )
        self.configuration["window_size"] = (window,) * 3
        # What the command line decides about a run's course, and a resumed run must not change.
        self.conditions = {
            "max_negatives": max_negatives,
            "densities": self.densities.names if self.densities else [],
            "set_aside": [path.name for path in aside] if aside else [],
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
        self.optimizer = build_optimizer(settings, self.network, self.loss)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, patience=self.settings.patience
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        self.history = History(self.folder / "history.csv")
        self.best_loss, self.best_f1 = math.inf, -math.inf
        self.next_epoch = 0
        # What of the run lies elsewhere and comes into its folder; None once the folder is the run's own.
        self.elsewhere: list[Path] | None = []

    def resume(self, found: Resumption) -> list[str]:
        """Go on from a checkpoint.

        Returns
        -------
        What could not be restored, a sentence each.

        Raises
        ------
        InputError
            If the checkpoint does not fit the run, or its run was begun under other conditions.
        """
        load_weights(self.network, found.weights, found.path)
        self.next_epoch = found.epoch + 1
        if found.state is None:
            return [self._take_over(found)]
        self._restore(found, found.state)
        return []

    def _restore(self, found: Resumption, state: Mapping[str, Any]) -> None:
        """Everything, from a checkpoint of this library's."""
        conditions = {"max_negatives": None, "densities": [], "set_aside": []} | state.get("conditions", {})
        if conditions != self.conditions:
            raise InputError(
                found.path,
                f"it was trained with {_told(conditions)}, not {_told(self.conditions)}",
                "Resume with the -p/--pdbpath, the --max_neg and the subvolumes of that run",
            )
        try:
            self.loss.load_state_dict(state["loss"])
            load_state(
                self.optimizer, found.optimizer, state.get("optimizer", {"state": {}, "param_groups": []})
            )
        except (RuntimeError, ValueError) as error:
            raise InputError(
                found.path,
                f"the state of its loss or optimizer does not fit ({str(error).splitlines()[-1].strip()})",
                "Resume with the subvolumes of that run; what an earlier version of this library began with "
                "ArcFaceLoss or SphereFaceLoss has to be begun anew",
            ) from error
        self.plateau.load_state_dict(state["plateau"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = History(self.folder / "history.csv", [Epoch(**row) for row in state["history"]])
        self.best_loss, self.best_f1 = found.best_loss, found.best_f1
        self.elsewhere = (
            None
            if lies_in(found.path, self.folder)
            else best_beside(found.path, found.configuration, found.epoch)
        )

    def _take_over(self, found: Resumption) -> str:
        """What a checkpoint of TomoTwin holds; returns what it does not."""
        # Its best scores were measured in another way: kept, they could be out of reach for ever.
        anew = [
            "history",
            "best scores",
            "schedule of the learning rate",
            "scaler of mixed precision",
            "random numbers",
        ]
        if not take_over(self.optimizer, found.optimizer):
            anew.insert(0, "optimizer (its state does not fit)")
        if any(True for _ in self.loss.parameters()):
            anew.append(f"directions of the classes in the {self.settings.loss}")
        if self.split is not None:
            anew.append("choice of the subvolumes to validate with")
        return (
            f"{found.path} was not written by this library: the run goes on after its epoch {found.epoch} "
            f"(counted from 0), with the learning rate {self.optimizer.param_groups[0]['lr']:g}; these begin "
            f"anew: {', '.join(anew)}"
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
        first = self.next_epoch
        if first >= epochs and not self.history.epochs:
            raise InputError(
                "--epochs",
                f"it is {epochs}, and {first} lie behind the checkpoint",
                f"They count from the beginning: give {first + 1} or more",
            )
        limit = max_minutes * 60 if max_minutes is not None else math.inf
        bar = tqdm(total=epochs, initial=first, desc="training", unit="epoch", disable=not self.progress)
        with SummaryWriter(str(self.folder)) as board, bar:
            for epoch in self.history.epochs if self.elsewhere is not None else []:
                _show(board, epoch)  # so that the new folder has the whole curve
            for number in range(first, epochs):
                elapsed = time.monotonic() - begun
                done = len(self.history.epochs)
                if elapsed >= limit and done:
                    break
                share = max(number / epochs, elapsed / limit)
                step_share = max(1 / epochs, (elapsed / done / limit) if done else 0.0)
                train_loss = self._train_epoch(number, share, step_share)
                valid_loss, valid_f1 = validate(
                    self.network, self.validation, self.loss, self.device, self.densities
                )
                rate = self.optimizer.param_groups[0]["lr"]
                epoch = Epoch(number, train_loss, valid_loss, valid_f1, rate, time.monotonic() - begun)
                self._take_folder()
                self.history.append(epoch)
                _show(board, epoch)
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
        self._take_folder()
        self.history.write()
        self._save("latest.pth", self.history.epochs[-1])
        self._save("final.pth", self.history.epochs[-1])
        save_figure(self.folder / "training_curve.png", training_curve(self.history.frame()))

    def _take_folder(self) -> None:
        # With its first epoch and not before, so that a run that fails at once costs no earlier one.
        if self.elsewhere is not None:
            claim(self.folder, self.elsewhere)
            self.elsewhere = None

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
            with training_precision(self.device):
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
        optimizer, optimizer_of_loss = split_state(self.optimizer)
        save_checkpoint(
            self.folder / name,
            self.network,
            self.configuration,
            epoch=epoch.epoch,
            loss=epoch.valid_loss,
            best_loss=self.best_loss,
            best_f1=self.best_f1,
            training_state={
                "optimizer_state_dict": optimizer,
                "training_state": {
                    "loss": self.loss.state_dict(),
                    "optimizer": optimizer_of_loss,
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
    most, densities, aside = (conditions[key] for key in ("max_negatives", "densities", "set_aside"))
    told = f"{'all' if most is None else most} negatives of an anchor and "
    told += f"the densities {', '.join(densities)}" if densities else "no densities"
    if aside:
        told += f", validated with {len(aside)} of the training subvolumes ({', '.join(aside[:3])}, …)"
    return told


def _show(board: SummaryWriter, epoch: Epoch) -> None:
    """An epoch in TensorBoard: the scores under TomoTwin's names, so that its runs stand beside these."""
    for name, value in (
        ("Loss/train", epoch.train_loss),
        ("Loss/validation", epoch.valid_loss),
        ("F1/validation", epoch.valid_f1),
        ("learning_rate", epoch.learning_rate),
        ("seconds", epoch.seconds),
    ):
        board.add_scalar(name, value, epoch.epoch)
