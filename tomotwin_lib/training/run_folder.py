"""Whose an output folder is: a training's own, another's that must not be lost, or a new one."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path
from tomotwin_lib.networks.checkpoint import load_checkpoint
from tomotwin_lib.training.resuming import differences


def lies_in(checkpoint: str | Path, folder: str | Path) -> bool:
    """Whether a checkpoint lies in a folder itself, links followed."""
    return Path(checkpoint).resolve().parent == Path(folder).resolve()


def refuse_used(folder: Path) -> None:
    """A network is worth hours: it is not replaced by a command typed twice.

    Raises
    ------
    InputError
        If a training left checkpoints in the folder.
    """
    if there := [path.name for path in _checkpoints(folder)]:
        more = ", …" if len(there) > 4 else ""
        raise InputError(
            folder,
            f"it holds a network that was trained before ({', '.join(there[:4])}{more})",
            f"Choose another folder, go on with --checkpoint {folder / 'latest.pth'}, or replace it with "
            "--overwrite",
        )


def best_beside(checkpoint: Path, configuration: Mapping[str, Any], epoch: int) -> list[Path]:
    """The ``best_*.pth`` beside a checkpoint that the run had written when it wrote the checkpoint.

    Parameters
    ----------
    configuration, epoch : of the checkpoint. What has another configuration or comes from a later epoch
        belongs to another run, or to a course of this one that is not gone on with.
    """
    found = []
    for path in sorted(checkpoint.parent.glob("best_*.pth")):
        try:
            other = load_checkpoint(path, lazily=True)
            same = not differences(other["tomotwin_config"], configuration)
            if same and int(other["epoch"]) <= epoch:
                found.append(path)
        except (InputError, AttributeError, KeyError, TypeError, ValueError):
            continue  # no checkpoint, or one that says too little, is none of the run's
    return found


def claim(folder: Path, carried: Iterable[Path]) -> None:
    """Make a folder a run's own: its best networks so far into it, what another training left out of it."""
    own = set()
    for path in carried:
        own.add(path.name)
        with atomic_path(folder / path.name) as temporary:
            shutil.copyfile(path, temporary)
    for path in _checkpoints(folder):
        if path.name not in own:
            path.unlink()


def _checkpoints(folder: Path) -> list[Path]:
    """What trainings leave, the names that are always there first."""
    fixed = [folder / name for name in ("latest.pth", "final.pth", "best_loss.pth", "best_f1.pth")]
    return [path for path in fixed if path.exists()] + sorted(folder.glob("best_model_*.pth"))
