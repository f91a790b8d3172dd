"""What a training on tomograms writes into its folder: table, curve, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tomotwin_lib.figures import save_figure, steps_curve
from tomotwin_lib.files import atomic_path
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.networks.checkpoint import save_checkpoint
from tomotwin_lib.training.labelled_tomograms import common_voxel_size
from tomotwin_lib.training.tomogram_run import TomogramRun


class RunLog:
    """What a run writes.

    Parameters
    ----------
    folder : where to.
    run : the run.
    configuration : of the network, for checkpoints.
    conditions : what a run that is resumed must share.

    Attributes
    ----------
    seconds : since the run began, what it ran before it was cut off included.
    loss : the latest mean loss.
    """

    def __init__(
        self, folder: Path, run: TomogramRun, configuration: Mapping[str, Any], conditions: Mapping[str, Any]
    ) -> None:
        self.folder, self.run, self.configuration, self.conditions = folder, run, configuration, conditions
        self.rows: list[dict[str, float]] = []
        self.seconds, self.loss = 0.0, math.nan
        self.told = 0

    @property
    def unwritten(self) -> int:
        """Steps that no row tells of yet."""
        return self.run.steps - self.told

    def network(self) -> EmbeddingNetwork:
        """The averaged network, in evaluation mode."""
        return self.run.average.module.eval()  # type: ignore[return-value]

    def row(self, rate: float, scores: Mapping[str, float]) -> None:
        """A line of the table; after a run's last step it may tell of scores alone."""
        means = (self.run.sums / max(self.unwritten, 1)).tolist() if self.unwritten else [math.nan] * 2
        row = {"step": self.run.steps, "seconds": self.seconds, "proxies": means[0], "pairs": means[1]}
        if self.unwritten:
            recipe = self.run.recipe
            self.loss = recipe.proxies * means[0] + recipe.pairs * means[1]
        self.rows.append({**row, "rate": rate, **scores})
        self.run.sums.zero_()
        self.told = self.run.steps
        with atomic_path(self.folder / "steps.csv") as temporary:
            pd.DataFrame(self.rows).to_csv(temporary, index=False)

    def save(self, name: str, *, whole: bool = False) -> None:
        """A checkpoint of the averaged network; ``whole`` with all that is needed to go on."""
        told = {"rows": self.rows, "told": self.told, "sums": self.run.sums, "seconds": self.seconds}
        state = {"training_state": {**self.run.state(), **told, "conditions": dict(self.conditions)}}
        save_checkpoint(
            self.folder / name,
            self.network(),
            self.configuration,
            epoch=self.run.steps,
            loss=self.loss,
            best_loss=self.loss,
            best_f1=0.0,
            voxel_size_in_angstrom=common_voxel_size(self.run.tomograms),
            training_state=state if whole else None,
        )

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the table of a run that was cut off."""
        self.rows, self.told, self.seconds = list(state["rows"]), int(state["told"]), float(state["seconds"])
        self.run.sums.copy_(state["sums"])

    def finish(self) -> pd.DataFrame:
        """The network, its curve; ``latest.pth`` goes, since nothing is left to resume."""
        frame = pd.DataFrame(
            self.rows, columns=None if self.rows else ["step", "seconds", "proxies", "pairs"]
        )
        self.save("final.pth")
        save_figure(self.folder / "training_curve.png", steps_curve(frame))
        (self.folder / "latest.pth").unlink(missing_ok=True)
        return frame
