"""What fine-tuning leaves: a network, its references, and the scores before and after."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.training.before_and_after import SCORES
from tomotwin_lib.training.held_out import HeldOut

NETWORK, REFERENCES = "finetuned.pth", "references.temb"
TABLE, CARD = "before_and_after.csv", "finetuned.md"

FEW_STEPS, ENOUGH_STEPS = 30, 100
"""Steps of which nothing is learnt (a third of them warms up), and those after which something may be."""

_JUDGED = {"F1": "F1", "AP": "average precision"}
_SAME = 1e-9  # a mean that differs by less has not changed


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned network in its folder.

    Attributes
    ----------
    folder : holds the checkpoint, its references (one a class), the scores, and all in words.
    scores : before and after (:data:`~tomotwin_lib.training.before_and_after.COLUMNS`).
    steps : steps of training.
    not_scored : classes that have no scores, because too few of their picks are on one side of the plane.
    """

    folder: Path
    scores: pd.DataFrame
    steps: int
    not_scored: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """The four of them, the checkpoint first."""
        return [self.folder / name for name in (NETWORK, REFERENCES, TABLE, CARD)]

    @property
    def gain(self) -> float:
        """Mean average precision over the classes, after minus before."""
        return self._gain("AP")

    @property
    def f1_gain(self) -> float:
        """Mean F1 over the classes, at the threshold of the picks trained on, after minus before."""
        return self._gain("F1")

    @property
    def better_before(self) -> str:
        """By which mean scores the network was better before, and these; empty where by none."""
        return " and ".join(
            f"mean {told} ({self._mean(name, 'before'):.3f}, now {self._mean(name, 'after'):.3f})"
            for name, told in _JUDGED.items()
            if self._gain(name) < -_SAME
        )

    @property
    def worse(self) -> list[str]:
        """The classes whose F1 or average precision is lower than it was, sorted."""
        found: set[str] = set()
        for name in _JUDGED:
            values = self.scores.pivot(index="class", columns="network", values=name)
            found.update(values.index[values["after"] < values["before"] - _SAME])
        return sorted(found)

    def _gain(self, score: str) -> float:
        return self._mean(score, "after") - self._mean(score, "before")

    def _mean(self, score: str, network: str) -> float:
        return float(self.scores.groupby("network")[score].mean()[network])


def require_place(folder: Path, overwrite: bool) -> None:
    """A network is not replaced by a command typed twice.

    Raises
    ------
    InputError
        If an earlier fine-tuning left anything in the folder, and it shall not be replaced.
    """
    if not overwrite and any((folder / name).exists() for name in (NETWORK, REFERENCES, TABLE, CARD)):
        raise InputError(
            folder,
            "it holds what an earlier fine-tuning left",
            "Choose another folder, or replace it with --overwrite",
        )


def card_of(result: Finetuned, start: LoadedNetwork, volume: Volume, parts: HeldOut, picks: int) -> str:
    """The model card of a fine-tuned network, in Markdown.

    Parameters
    ----------
    start, volume, parts, picks : the network that was begun with, the tomogram, how its picks were parted,
        and their number.
    """
    header = ("network", "class", "trained on", "held out", *SCORES.values())
    rows = [header, ("---",) * len(header)]
    for row in result.scores.to_dict("records"):
        rows.append(
            (
                *(str(row[name]) for name in ("network", "class", "trained", "held_out")),
                *("–" if math.isnan(row[name]) else f"{row[name]:.3f}" for name in SCORES),
            )
        )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    few = ", ".join(result.not_scored)
    missing = f"Too few picks to be compared: {few}.\n\n" if few else ""
    before = result.better_before
    verdict = f"The network was better before by {before}: keep that one.\n\n" if before else ""
    lost = picks - len(parts.trained) - len(parts.held_out)
    return f"""\
# {Path(NETWORK).stem}

Fine-tuned in {result.steps} steps from `{start.path.name}` (MD5 `{start.md5}`) with {picks} picks of \
`{volume.path.name}`: {len(parts.trained)} trained on, {len(parts.held_out)} held out on the other side of a \
plane across {"zyx"[parts.axis]}, {lost} too near to it for either.

{table}

{verdict}{missing}F1 and recall: at the threshold that is best on the picks trained on. Best-case F1: at \
the one that is best on those held out. AP: average precision, {result.gain:+.3f} in the mean. Offset: of \
what was found from the picks, – where nothing was. What was located and not picked counts as false. With \
few picks held out, a difference of one of them is a large one.
"""
