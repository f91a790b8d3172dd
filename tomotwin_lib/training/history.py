"""What a training run records of itself, epoch by epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from tomotwin_lib.files import atomic_path


@dataclass(frozen=True)
class Epoch:
    """One line of the history: mean losses, F1 of classification, learning rate, seconds since the start."""

    epoch: int
    train_loss: float
    valid_loss: float
    valid_f1: float
    learning_rate: float
    seconds: float


class History:
    """The epochs of a run, kept in ``history.csv`` so that a resumed run carries on with them.

    The first is not epoch 0 where a run goes on from a checkpoint without a history.
    """

    def __init__(self, path: Path, epochs: list[Epoch] | None = None) -> None:
        self.path = path
        self.epochs = list(epochs or [])

    def append(self, epoch: Epoch) -> None:
        """Add an epoch and write the file."""
        self.epochs.append(epoch)
        self.write()

    def write(self) -> None:
        """Write the file."""
        with atomic_path(self.path) as temporary:
            self.frame().to_csv(temporary, index=False)

    def frame(self) -> pd.DataFrame:
        """The history as a table, one row an epoch."""
        return pd.DataFrame([asdict(epoch) for epoch in self.epochs], columns=list(Epoch.__annotations__))
