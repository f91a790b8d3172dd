"""What fine-tuning leaves: a network, its references, and the scores before and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.training.before_and_after import SCORES
from tomotwin_lib.training.held_out import HeldOut

NETWORK, REFERENCES = "finetuned.pth", "references.temb"
TABLE, CARD = "before_and_after.csv", "finetuned.md"


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
        means = self.scores.groupby("network")["AP"].mean()
        return float(means["after"] - means["before"])

    @property
    def worse(self) -> list[str]:
        """The classes whose average precision is lower than it was, sorted."""
        areas = self.scores.pivot(index="class", columns="network", values="AP")
        return sorted(areas.index[areas["after"] < areas["before"]])


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
                *(f"{row[name]:.3f}" for name in SCORES),
            )
        )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    few = ", ".join(result.not_scored)
    missing = f"Too few picks to be compared: {few}.\n\n" if few else ""
    lost = picks - len(parts.trained) - len(parts.held_out)
    return f"""\
# {Path(NETWORK).stem}

Fine-tuned in {result.steps} steps from `{start.path.name}` (MD5 `{start.md5}`) with {picks} picks of \
`{volume.path.name}`: {len(parts.trained)} trained on, {len(parts.held_out)} held out on the other side of a \
plane across {"zyx"[parts.axis]}, {lost} too near to it for either.

{table}

{missing}F1 and recall: at the threshold that is best on the picks trained on. Best-case F1: at the one that
is best on those held out. AP: average precision, {result.gain:+.3f} in the mean. Offset: in voxels. What was
located and not picked counts as false. With few picks held out, a difference of one of them is a large one.
"""
