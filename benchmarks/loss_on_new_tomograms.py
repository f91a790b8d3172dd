"""``python -m benchmarks.loss_on_new_tomograms``: how well networks tell molecules apart.

F1 on a few tomograms depends on some dozens of particles: differences below 0.03 say little. The contrastive
loss of networks on the very same windows differs by chance much less. It tells how well molecules are told
apart, not how rarely background looks like one: false picks are one position in many thousands, and windows
are few. The tomograms are a pool's of another seed than trainings have, so none was trained on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.comparison.methods import load_named
from benchmarks.pools import add_pool, make_pool
from tomotwin_lib.cli.output import guarded, say
from tomotwin_lib.cli.parsing import CommandParser, add_device, add_progress
from tomotwin_lib.embedding.precision import training_precision
from tomotwin_lib.embedding.preparation import standardise_window
from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.training.labelled_tomograms import LabelledTomogram
from tomotwin_lib.training.losses import MetricLoss
from tomotwin_lib.training.recipe import Recipe, Shares
from tomotwin_lib.training.settings import TrainSettings
from tomotwin_lib.training.window_draws import NO_PARTICLE, WindowDraws

SEED = 1
"""Of the pool. Trainings have 0."""


@torch.no_grad()
def losses(
    networks: Mapping[str, EmbeddingNetwork],
    tomograms: Sequence[LabelledTomogram],
    *,
    batches: int,
    temperature: float,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> pd.DataFrame:
    """The supervised contrastive loss of each network (columns) in each batch (rows).

    Batches are as in training, without what needs a network (hard negatives) and without augmentation.

    Parameters
    ----------
    networks : by name, of one window size, in evaluation mode and on the device.
    tomograms : new to all of them.
    temperature : of the loss.
    """
    recipe = Recipe()
    # Fixed, so that figures stay comparable whatever the recipe comes to be.
    shares = Shares(particles=32, subvolumes=0, hard=0, background=12, abundance=0.5)
    window = next(iter(networks.values())).window_size
    draws = WindowDraws(tomograms, window, shares, recipe.jitter, fresh_noise=0.0)
    # Of the embedding's size only losses by class want to know.
    loss = MetricLoss(TrainSettings(loss="SupConLoss"), "COSINE", len(draws.classes), 0).to(device)
    loss.loss.temperature = temperature
    rows = []
    for number in tqdm(range(batches), desc="batches", disable=not progress):
        rng = np.random.default_rng(number)
        windows, labels = draws.draw(rng)
        own = torch.from_numpy(rng.random(len(windows)) < recipe.own_statistics)
        windows[own] = standardise_window(windows[own, 0])[:, None]
        windows, labels = windows.to(device), labels.to(device)
        known = labels != NO_PARTICLE
        row = {}
        for name, network in networks.items():
            with training_precision(torch.device(device)):
                embeddings = network(windows)
            embeddings = embeddings.float()
            row[name] = float(loss(embeddings[known], labels[known], embeddings[~known]))
        rows.append(row)
    return pd.DataFrame(rows)


def table(found: pd.DataFrame) -> str:
    """Markdown: each network's mean, and how far it is from the first's, with standard errors."""
    apart = found.sub(found.iloc[:, 0], axis=0)
    figures = zip(found, found.mean(), found.sem(), apart.mean(), apart.sem(), strict=True)
    lines = ["| network | loss | less the first's |", "| --- | --- | --- |"]
    lines += [
        f"| {one!s} | {mean:.3f} ± {error:.3f} | {less:+.3f} ± {own:.3f} |"
        for one, mean, error, less, own in figures
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table; returns the exit status."""
    return guarded(lambda: _run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    if options.batches < 2:
        raise InputError("--batches", f"{options.batches} tell no error", "Give 2 or more")
    loaded = {name: load_named(name, options.device) for name in options.networks}
    networks = {name: one.network for name, one in loaded.items()}
    if len({network.window_size for network in networks.values()}) > 1:
        raise InputError("networks", "their windows differ in size", "Compare networks of one window size")
    tomograms = make_pool(options.output, options, SEED)
    found = losses(
        networks,
        tomograms,
        batches=options.batches,
        temperature=options.temperature,
        device=next(iter(loaded.values())).device,
        progress=options.progress,
    )
    say(table(found))
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m benchmarks.loss_on_new_tomograms",
        description="The contrastive loss of networks on the same windows of tomograms that are new to all.",
    )
    parser.add_argument("networks", nargs="+", metavar="NETWORK", help="checkpoints or shipped names")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="keeps the pool")
    add_pool(parser, tomograms=80)
    parser.add_argument("--batches", type=int, default=40, metavar="N", help="(%(default)s)")
    parser.add_argument("--temperature", type=float, default=0.2, help="of the loss (%(default)s)")
    add_device(parser)
    add_progress(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
