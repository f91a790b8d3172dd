"""From a handful of picks in one tomogram to a network that knows these particles better.

The network is trained on towards telling the user's particles from all else in their tomogram: crops around
picks and between them, seen densely, against the mean of the other picks of the class as a reference, which
is how the network will be used. So that it forgets little of what it knew, the steps are few and small, the
statistics of its normalisation stay as they are, and its weights are pulled towards those that it began with
(L2-SP; Li, Grandvalet & Davoine, ICML 2018).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch.nn import functional
from tqdm import tqdm

from tomotwin_lib.boxes import box_size_of
from tomotwin_lib.embedding.preparation import require_usable, standardise_volume, standardise_window
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, ensure_writable_folder
from tomotwin_lib.formats.frames import write_reference_embedding
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.networks.checkpoint import LoadedNetwork, load_network, save_checkpoint
from tomotwin_lib.training.augmentation import rotated
from tomotwin_lib.training.before_and_after import map_part, mean_references, scores_of
from tomotwin_lib.training.crops import SITES, Crops, Picked
from tomotwin_lib.training.held_out import HeldOut, hold_out

LEARNING_RATE = 3e-4
PULL = 0.02
"""Share of its distance from the start that a weight loses in a step at the full learning rate."""

TEMPERATURE = 0.1
PARTICLES, ELSEWHERE = 8, 4
"""Crops in a batch, around picks and elsewhere."""

HARDEST, ANY = 32, 512
"""Negatives of a batch that count for a pick: the most similar ones to its reference, and others by chance.
With the hardest alone everything would soon have one embedding (Schroff et al., CVPR 2015)."""

REFERENCE_STEPS = 10
"""Steps after which the references are embedded anew."""

NOISE, GAIN, OFFSET = 0.3, 0.1, 0.1
TILT = 20.0
"""Largest angle, in degrees, by which half of a batch is turned about random axes."""


@dataclass(frozen=True)
class Finetuned:
    """What fine-tuning left.

    Attributes
    ----------
    network, references, table, card : the checkpoint; its references (``.temb``), one a class; the scores
        before and after (:data:`~tomotwin_lib.training.before_and_after.COLUMNS`); and both in words.
    scores : the table.
    steps : steps of training.
    """

    network: Path
    references: Path
    table: Path
    card: Path
    scores: pd.DataFrame
    steps: int

    @property
    def gain(self) -> float:
        """Mean average precision over the classes, after minus before."""
        means = self.scores.groupby("network")["AP"].mean()
        return float(means["after"] - means["before"])


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
) -> Finetuned:
    """Train a network on with the picks of one tomogram, and score it on picks that were held out.

    Parameters
    ----------
    model : a checkpoint, or the name of a network that ships; one that can be evaluated densely.
    volume : the tomogram, protein dark.
    picks : columns class, X, Y, Z, in voxels of the tomogram.
    output : folder for ``finetuned.pth``, ``finetuned.md``, ``references.temb`` and ``before_and_after.csv``.
    minutes : of training; embedding the tomogram's two parts twice for the scores comes on top.
    box_sizes : edge of each class's box, in voxels: one for all, or by class.
    complete : every particle of these classes has been picked, so that all else is background. If not, what
        is as similar to a reference as the picks are is left alone.
    share : of the picks that are held out, on the other side of a plane (:mod:`.held_out`).
    device : auto, cpu, cuda or cuda:<number>.
    seed : of the crops, their turns and noise.
    max_steps : stop after so many steps even if there is time left.

    Raises
    ------
    InputError
        If the network cannot be evaluated densely, picks lie outside the tomogram, or no plane parts them;
        before anything is computed.
    """
    if not minutes > 0:
        raise InputError("--minutes", f"{minutes} is no time", "Give more than 0 minutes")
    if not 0 < share < 1:
        raise InputError("--held_out", f"{share} is no share", "Give a number between 0 and 1")
    folder = ensure_writable_folder(output)
    start = load_network(model, device)
    if not isinstance(start.network, DenseNetwork):
        raise InputError(
            start.path,
            f"{type(start.network).__name__} cannot be evaluated densely",
            "Fine-tune a fully convolutional network, such as default",
        )
    picks, names, labels, centres = _checked(picks, volume)
    radii = np.array([box_size_of(name, box_sizes) for name in picks["class"]]) / 2
    window = start.window_size
    parts = hold_out(centres, labels, volume.data.shape, share=share, window=window)
    statistics = require_usable(volume)
    data = -standardise_volume(volume.data[parts.training_box], statistics)
    picked, anchors = _in_part(parts, centres, radii, labels, data.shape)

    padded = np.pad(data, window // 2, mode="reflect")
    windows: dict[str, list[npt.NDArray[np.float32]]] = {}
    for row in anchors:
        low = np.rint(picked.positions[row]).astype(int)
        cut = padded[tuple(slice(first, first + window) for first in low)]
        windows.setdefault(names[picked.labels[row]], []).append(cut)

    before = mean_references(start, windows)
    boxes = (parts.training_box, parts.scored_box)
    maps = [map_part(start, volume, box, before, progress=progress) for box in boxes]
    scores = [scores_of("before", (maps[0], maps[1]), picks, parts, box_sizes)]
    crops = Crops(data, picked, maps[0], window=window, stride=start.network.total_stride, complete=complete)
    steps = _train(start, crops, windows, names, minutes, seed, max_steps, progress)
    path = folder / "finetuned.pth"
    save_checkpoint(
        path, start.network, start.configuration, epoch=0, loss=0.0, best_loss=0.0, best_f1=0.0,
        training_state={"finetuned_from_md5": start.md5, "finetuning_steps": steps},
    )  # fmt: skip
    # What is scored is what lies on the disk.
    tuned = load_network(path, device)
    after = mean_references(tuned, windows)
    maps = [map_part(tuned, volume, box, after, progress=progress) for box in boxes]
    scores.append(scores_of("after", (maps[0], maps[1]), picks, parts, box_sizes))
    table = pd.concat(scores, ignore_index=True)
    result = Finetuned(
        path,
        folder / "references.temb",
        folder / "before_and_after.csv",
        folder / "finetuned.md",
        table,
        steps,
    )
    write_reference_embedding(result.references, after)
    with atomic_path(result.table) as temporary:
        table.to_csv(temporary, index=False)
    with atomic_path(result.card) as temporary:
        temporary.write_text(_card(result, start, volume, parts, len(picks)), encoding="utf-8")
    return result


def _checked(
    picks: pd.DataFrame, volume: Volume
) -> tuple[pd.DataFrame, list[str], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The picks, the names of their classes, each one's number, and centres (z, y, x)."""
    picks = picks.reset_index(drop=True)
    centres = picks[["Z", "Y", "X"]].to_numpy(np.float64)
    outside = ~((centres >= 0) & (centres <= np.array(volume.data.shape) - 1)).all(axis=1)
    if outside.any():
        row = picks.loc[int(np.flatnonzero(outside)[0])]
        raise InputError(
            volume.path,
            f"{outside.sum()} of {len(picks)} picks lie outside, such as X {row['X']:g}, Y {row['Y']:g}, "
            f"Z {row['Z']:g}",
            "Give X Y Z in voxels of this tomogram",
        )
    names = sorted(picks["class"].astype(str).unique())
    numbers = {name: number for number, name in enumerate(names)}
    return picks, names, picks["class"].astype(str).map(numbers).to_numpy(np.int64), centres


def _in_part(
    parts: HeldOut,
    centres: npt.NDArray[np.float64],
    radii: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    shape: tuple[int, ...],
) -> tuple[Picked, npt.NDArray[np.int64]]:
    """The picks in the part that is trained on, in its voxels; and which of them are trained on."""
    local = centres - np.array([along.start or 0 for along in parts.training_box])
    there = np.flatnonzero(((local >= 0) & (local <= np.array(shape) - 1)).all(axis=1))
    anchors = np.flatnonzero(np.isin(there, parts.trained))
    # A reference needs others of its class.
    counts = np.bincount(labels[parts.trained], minlength=int(labels.max()) + 1)
    anchors = anchors[counts[labels[there[anchors]]] >= 2]
    return Picked(local[there], radii[there], anchors, labels[there]), anchors


def _train(
    start: LoadedNetwork,
    crops: Crops,
    windows: Mapping[str, list[npt.NDArray[np.float32]]],
    names: list[str],
    minutes: float,
    seed: int,
    max_steps: int | None,
    progress: bool,
) -> int:
    """Train the network of ``start`` itself; returns the number of steps."""
    network, device = start.network, start.device
    assert isinstance(network, DenseNetwork)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    network.eval().requires_grad_(True)  # in evaluation mode the statistics of normalisation stay
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    origin = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.0)
    rows = {
        number: crops.picked.anchors[crops.picked.labels[crops.picked.anchors] == number]
        for number, name in enumerate(names)
        if name in windows
    }
    stacks = {
        number: standardise_window(torch.from_numpy(np.stack(windows[names[number]])).to(device))[:, None]
        for number in rows
    }
    members: dict[int, torch.Tensor] = {}
    begun, step = time.monotonic(), 0
    limit = minutes * 60
    with tqdm(total=round(limit), desc="fine-tuning", unit="s", disable=not progress) as bar:
        while (elapsed := time.monotonic() - begun) < limit and (max_steps is None or step < max_steps):
            if step % REFERENCE_STEPS == 0:
                with torch.no_grad():
                    members = {number: network(stack) for number, stack in stacks.items()}
            share = max(elapsed / limit, step / max_steps if max_steps else 0.0)
            rate = LEARNING_RATE * min(1.0, (step + 1) / 10) * 0.5 * (1 + np.cos(np.pi * share))
            optimizer.param_groups[0]["lr"] = rate
            loss = _loss(network, crops, rows, members, device, rng, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            with torch.no_grad():
                for weight, first in zip(weights, origin, strict=True):
                    weight.lerp_(first, PULL * rate / LEARNING_RATE)
            step += 1
            bar.update(min(round(time.monotonic() - begun), round(limit)) - bar.n)
            bar.set_postfix(step=step, loss=f"{float(loss.detach()):.3f}")
    network.requires_grad_(False)
    return step


def _loss(
    network: DenseNetwork,
    crops: Crops,
    rows: Mapping[int, npt.NDArray[np.int64]],
    members: Mapping[int, torch.Tensor],
    device: torch.device,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> torch.Tensor:
    """How well the picks of a batch are told from all else by the references of their classes."""
    numbers = rng.permutation(np.resize(rng.permutation(list(rows)), PARTICLES))
    chosen = [rng.integers(len(rows[number])) for number in numbers]
    drawn = [crops.around(rows[number][place], rng) for number, place in zip(numbers, chosen, strict=True)]
    drawn += [crops.elsewhere(rng) for _ in range(ELSEWHERE)]
    voxels = torch.stack([one for one, _ in drawn])[:, None]
    negative = torch.stack([sites for _, sites in drawn]).to(device)
    voxels = _varied(voxels, generator).to(device).to(memory_format=torch.channels_last_3d)
    vectors = network.forward_dense(voxels).movedim(1, -1)  # (crop, site, site, site, channel)
    middle = SITES // 2
    particles = vectors[:PARTICLES, middle, middle, middle]
    others = vectors[negative]  # (negative, channel)
    total = vectors.new_zeros(())
    for particle, number, place in zip(particles, numbers, chosen, strict=True):
        own = members[number]
        # The pick itself has no part in the reference that it is compared with.
        rest = own[torch.arange(len(own), device=device) != place]
        reference = functional.normalize(rest.sum(dim=0), dim=0)
        hardest = (others @ reference).detach().topk(min(HARDEST, len(others))).indices
        chance = torch.randint(len(others), (ANY,), generator=generator).to(device)
        foreign = particles[torch.tensor([n != number for n in numbers], device=device)]
        wrong = torch.cat([others[hardest], others[chance], foreign])
        # From the reference, as picks are compared, and from the pick, or it would only be drawn and all else
        # with it.
        right = (particle @ reference)[None]
        logits = torch.cat([right, wrong @ reference, wrong @ particle]) / TEMPERATURE
        total = total - functional.log_softmax(logits, dim=0)[0]
    return total / PARTICLES


def _varied(voxels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each crop with another contrast, brightness and noise, half of them turned a little."""

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(voxels), 1, 1, 1, 1, generator=generator)

    count = len(voxels)
    axes = functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    angles = np.radians(TILT) * torch.rand(count, 1, generator=generator)
    tilted = torch.randperm(count, generator=generator)[: count // 2]
    voxels = voxels.clone()
    voxels[tilted] = rotated(voxels[tilted], (axes * angles)[tilted])
    varied = voxels * torch.exp(uniform(-GAIN, GAIN)) + uniform(-OFFSET, OFFSET)
    return varied + uniform(0, NOISE) * torch.randn(voxels.shape, generator=generator)


def _card(result: Finetuned, start: LoadedNetwork, volume: Volume, parts: HeldOut, picks: int) -> str:
    rows = [
        "| network | class | trained on | held out | F1 | recall | best-case F1 | AP | offset |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result.scores.to_dict("records"):
        numbers = " | ".join(f"{row[name]:.3f}" for name in ("F1", "recall", "best_F1", "AP", "offset"))
        rows.append(
            f"| {row['network']} | {row['class']} | {row['trained']} | {row['held_out']} | {numbers} |"
        )
    table = "\n".join(rows)
    return (
        f"# {result.network.stem}\n\nFine-tuned in {result.steps} steps from `{start.path.name}` (MD5 "
        f"`{start.md5}`) with {picks} picks of `{volume.path.name}`: {len(parts.trained)} trained on, "
        f"{len(parts.held_out)} held out on the other side of a plane across {'zyx'[parts.axis]}, the others "
        f"too near to it.\n\n{table}\n\nF1 and recall: at the threshold that is best on the picks trained "
        "on. Best-case F1: at the one that is best on those held out. AP: average precision. Offset: in voxels. "
        "What was located and not picked counts as false.\n"
    )
