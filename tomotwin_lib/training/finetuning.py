"""From a handful of picks in one tomogram to a network that knows these particles better.

The network is trained on towards telling the user's particles from all else in their tomogram: crops around
picks and between them, seen densely, against the mean of the other picks of the class as a reference, which
is how the network will be used. Whether that has helped is measured on picks on the other side of a plane.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tomotwin_lib.embedding.preparation import require_usable, standardise_volume, standardise_window
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder
from tomotwin_lib.formats.frames import write_reference_embedding
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.networks.checkpoint import load_network, save_checkpoint
from tomotwin_lib.training.before_and_after import map_parts, mean_references, scores_of
from tomotwin_lib.training.crops import Crops, Picked
from tomotwin_lib.training.finetuned import CARD, NETWORK, REFERENCES, TABLE, Finetuned, card_of
from tomotwin_lib.training.finetuning_steps import Budget, train_on_crops
from tomotwin_lib.training.held_out import LEAST_TRAINED, HeldOut, hold_out
from tomotwin_lib.training.own_picks import OwnPicks, check_picks


def finetune(
    model: str | Path,
    volume: Volume,
    picks: pd.DataFrame,
    output: str | Path,
    *,
    minutes: float = 5.0,
    box_sizes: int | Mapping[str, int] = 37,
    complete: bool = False,
    share: float = 0.3,
    device: str = "auto",
    seed: int = 0,
    max_steps: int | None = None,
    progress: bool = True,
    on_parted: Callable[[pd.DataFrame], None] | None = None,
) -> Finetuned:
    """Train a network on with the picks of one tomogram, and score it on picks that were held out.

    Parameters
    ----------
    model : a checkpoint, or the name of a network that ships; one that can be evaluated densely.
    volume : the tomogram, protein dark.
    picks : columns class, X, Y, Z, in voxels of the tomogram, and the ``file`` of each if known.
    output : folder for ``finetuned.pth``, ``finetuned.md``, ``references.temb`` and ``before_and_after.csv``,
        which take the places of earlier ones when all four are complete.
    minutes : of training; embedding the tomogram's two parts twice for the scores comes on top.
    box_sizes : edge of each class's box, in voxels: one for all, or by class.
    complete : every particle of these classes has been picked, so that all else is background. If not, what
        is as similar to a reference as the picks are is left alone.
    share : of the picks that are held out, on the other side of a plane (:mod:`.held_out`).
    device : auto, cpu, cuda or cuda:<number>.
    seed : of the crops, their turns and noise, 0 or more.
    max_steps : stop after so many steps even if there is time left.
    progress : show bars.
    on_parted : told, once all is checked and before anything is computed, how many picks of each class are
        on either side of the plane, or too near to it for either: columns class, trained, held_out, near.

    Raises
    ------
    InputError
        If an option is out of range, the network cannot be evaluated densely, the tomogram is not usable, the
        picks are not (:func:`~tomotwin_lib.training.own_picks.check_picks`), or no plane parts them; before
        anything is computed.
    """
    _check_options(minutes, share, seed, max_steps)
    folder = ensure_writable_folder(output)
    loaded = load_network(model, device)
    network = loaded.network
    if not isinstance(network, DenseNetwork):
        raise InputError(
            loaded.path,
            f"{type(network).__name__} cannot be evaluated densely",
            "Fine-tune a fully convolutional network, such as default",
        )
    own = check_picks(picks, volume, box_sizes)
    window = loaded.window_size
    parts = hold_out(
        own.centres, own.labels, volume.data.shape, share=share, window=window, source=own.source
    )
    if on_parted is not None:
        on_parted(_counts(own, parts))
    data = -standardise_volume(volume.data[parts.training_box], require_usable(volume))
    picked = _in_part(own, parts, data.shape)
    stacks = {
        label: standardise_window(torch.from_numpy(cut).to(loaded.device))[:, None]
        for label, cut in picked.windows(data, window).items()
    }
    named = {own.names[label]: stack for label, stack in stacks.items()}

    before = mean_references(loaded, named)
    maps = map_parts(loaded, volume, parts, before, progress=progress)
    scores = [scores_of("before", maps, own.table, parts, box_sizes)]
    crops = Crops(data, picked, maps[0], window=window, stride=network.total_stride, complete=complete)
    steps = train_on_crops(network, crops, stacks, Budget(minutes, max_steps), seed=seed, progress=progress)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".finetuning.") as name:
        unfinished = Path(name)
        save_checkpoint(
            unfinished / NETWORK, network, loaded.configuration,
            epoch=0, loss=0.0, best_loss=0.0, best_f1=0.0,
            voxel_size_in_angstrom=loaded.voxel_size_in_angstrom or volume.voxel_size_in_angstrom,
            training_state={"finetuned_from_md5": loaded.md5, "finetuning_steps": steps},
        )  # fmt: skip
        # What is scored is what lies on the disk.
        tuned = replace(load_network(unfinished / NETWORK, device), path=folder / NETWORK)
        after = mean_references(tuned, named)
        maps = map_parts(tuned, volume, parts, after, progress=progress)
        scores.append(scores_of("after", maps, own.table, parts, box_sizes))
        table = pd.concat(scores, ignore_index=True)
        missing = tuple(name for name in own.names if name not in set(table["class"]))
        result = Finetuned(folder, table, steps, missing)
        write_reference_embedding(unfinished / REFERENCES, after)
        result.scores.to_csv(unfinished / TABLE, index=False)
        (unfinished / CARD).write_text(card_of(result, loaded, volume, parts, len(own)), encoding="utf-8")
        for written in (NETWORK, REFERENCES, TABLE, CARD):
            (unfinished / written).replace(folder / written)
    return result


def _check_options(minutes: float, share: float, seed: int, max_steps: int | None) -> None:
    if not 0 < minutes < float("inf"):
        raise InputError("--minutes", f"{minutes} is no time", "Give more than 0 minutes")
    if not 0 < share < 1:
        raise InputError("--held_out", f"{share} is no share", "Give a number between 0 and 1")
    if seed < 0:
        raise InputError("--seed", f"{seed} is no seed", "Give 0 or more")
    if max_steps is not None and max_steps < 1:
        raise InputError("max_steps", f"{max_steps} is no number of steps", "Give 1 or more")


def _counts(own: OwnPicks, parts: HeldOut) -> pd.DataFrame:
    sides = {"trained": parts.trained, "held_out": parts.held_out}
    counts = {side: np.bincount(own.labels[rows], minlength=len(own.names)) for side, rows in sides.items()}
    near = np.bincount(own.labels, minlength=len(own.names)) - sum(counts.values())
    return pd.DataFrame({"class": own.names, **counts, "near": near})


def _in_part(own: OwnPicks, parts: HeldOut, shape: tuple[int, ...]) -> Picked:
    """The picks in the part that is trained on, in its voxels; those near the plane too, as no background."""
    local = own.centres - np.array([along.start or 0 for along in parts.training_box])
    there = np.flatnonzero(((local >= 0) & (local <= np.array(shape) - 1)).all(axis=1))
    anchors = np.flatnonzero(np.isin(there, parts.trained))
    # A reference needs others of its class.
    counts = np.bincount(own.labels[parts.trained], minlength=len(own.names))
    anchors = anchors[counts[own.labels[there[anchors]]] >= LEAST_TRAINED]
    return Picked(local[there], own.radii[there], anchors, own.labels[there])
