"""Training of an embedding network on a folder of labelled subvolumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tomotwin_lib.devices import resolve_device
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder
from tomotwin_lib.networks.checkpoint import load_checkpoint, load_weights
from tomotwin_lib.networks.configuration import check_configuration
from tomotwin_lib.training.history import Epoch
from tomotwin_lib.training.losses import MetricLoss
from tomotwin_lib.training.resuming import read_resumption
from tomotwin_lib.training.roles import assign_roles
from tomotwin_lib.training.run_folder import lies_in, refuse_used
from tomotwin_lib.training.settings import TrainSettings
from tomotwin_lib.training.training_run import Folders, TrainingRun


@dataclass(frozen=True)
class TrainingResult:
    """Where a training run left its files, and its history (one row an epoch).

    ``best_loss`` and ``best_f1`` are ``None`` where no epoch was better than none, because its score is NaN,
    or than what lies behind a checkpoint without its best networks beside it.
    """

    folder: Path
    best_loss: Path | None
    best_f1: Path | None
    final: Path
    history: pd.DataFrame


def train(
    configuration: Mapping[str, Any],
    volumes: str | Path,
    validation: str | Path | None,
    output: str | Path,
    *,
    epochs: int = 10,
    device: str = "auto",
    seed: int | None = None,
    densities: str | Path | None = None,
    max_negatives: int | None = None,
    resume_from: str | Path | None = None,
    start_from: str | Path | None = None,
    max_minutes: float | None = None,
    save_after_improvement: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Train a network.

    Parameters
    ----------
    configuration : content of a network configuration; it is not modified.
    volumes, validation : folders of subvolumes with their labels in the file names, protein bright.
        Without the second, a fifth of each class of the first is set aside for validation.
    output : folder for ``latest.pth``, ``final.pth``, ``best_loss.pth``, ``best_f1.pth``, ``history.csv``,
        ``training_curve.png`` and TensorBoard logs.
    epochs : passes through the training subvolumes.
    device : auto, cpu, cuda or cuda:<number>; on a GPU in mixed precision.
    seed : of weights, batches, augmentation and what is set aside. Where ``None``, that of the run that is
        resumed, else 0.
    densities : folder of densities with labels in their names (cubes no larger than the window, protein
        bright, with the voxel size of the subvolumes): they are the anchors then, the subvolumes of their
        classes the positives, and those of other classes the negatives. For the losses that compare with
        a direction a class they are more samples.
    max_negatives : negatives of each anchor in a batch, chosen at random; all where ``None``. A miner
        chooses by itself, and the losses with a direction a class have none.
    resume_from : ``latest.pth`` of an interrupted run with the same configuration, of this library or of
        TomoTwin. Where it is this library's and lies in another folder than ``output``, the ``best_*.pth``
        beside it are copied.
    start_from : a trained network, or the name of one that ships, whose weights the run begins with; its
        ``network_config`` must be that of ``configuration``.
    max_minutes : stop when this much time has passed; the cosine schedule then ends with it.
    save_after_improvement : also keep every improved network as ``best_model_NNN[_f1][_loss].pth``.
    overwrite : replace the checkpoints of an earlier training in ``output``, when the first epoch has been
        trained.
    progress : show progress bars.
    on_epoch : called when an epoch has been recorded; may raise :class:`~.training_run.StopTraining`.
    on_note : called before the first epoch with each sentence about the run that the user should know: what
        is set aside for validation, what a checkpoint could not restore.

    Raises
    ------
    InputError
        If ``output`` holds an earlier training and the checkpoint is none of it, the configuration, a
        folder or a checkpoint cannot be used, both kinds of them are given, or ``seed`` is not that of the
        resumed run; before anything is computed.
    """
    if epochs < 1:
        raise InputError("--epochs", f"{epochs} is no number of epochs", "Give 1 or more")
    if max_minutes is not None and max_minutes <= 0:
        raise InputError("--max-minutes", f"{max_minutes} is no time", "Give more than 0 minutes")
    if max_negatives is not None and max_negatives < 1:
        raise InputError("--max_neg", f"{max_negatives} is no number of negatives", "Give 1 or more")
    if seed is not None and seed < 0:
        raise InputError("--seed", f"{seed} is no seed", "Give 0 or more")
    if start_from is not None and resume_from is not None:
        raise InputError("--start", f"--checkpoint {resume_from} is given as well", "Give one of the two")
    start = None if start_from is None else load_checkpoint(start_from)["model_state_dict"]
    check_configuration(configuration, "network configuration")
    settings = TrainSettings.from_configuration(configuration, "network configuration")
    MetricLoss(settings, configuration.get("distance", "COSINE"), class_count=2, embedding_size=2)
    folder = ensure_writable_folder(output)
    resumed = None if resume_from is None else read_resumption(resume_from, configuration, seed)
    # A checkpoint of TomoTwin's says nothing of what else its folder holds.
    own = resumed is not None and resumed.state is not None and lies_in(resumed.path, folder)
    if not overwrite and not own:
        refuse_used(folder)
    if seed is None:
        seed = (resumed.seed if resumed else None) or 0
    roles = assign_roles(settings, volumes, validation, densities)
    run = TrainingRun(
        configuration,
        settings,
        roles,
        Folders(
            Path(volumes),
            None if validation is None else Path(validation),
            None if densities is None else Path(densities),
            folder,
        ),
        resolve_device(device),
        seed,
        max_negatives,
        progress,
    )
    if start is not None:
        load_weights(run.network, start, str(start_from))
    notes = [] if run.split is None else [run.split.note()]
    if resumed is not None:
        notes += run.resume(resumed)
    if on_note is not None:
        for note in notes:
            on_note(note)
    run.go(epochs, max_minutes, save_after_improvement, on_epoch)
    best_loss, best_f1 = (
        path if path.is_file() else None for path in (folder / "best_loss.pth", folder / "best_f1.pth")
    )
    return TrainingResult(folder, best_loss, best_f1, folder / "final.pth", run.history.frame())
