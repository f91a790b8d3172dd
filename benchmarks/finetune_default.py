"""``python -m benchmarks.finetune_default``: what a handful of picks brings, on molecules new to the network.

Tomograms are simulated of made-up molecules that are in no training, some of the particles of each are taken
as a user's picks, and ``tomotwin finetune`` does the rest: it holds a part of them out, and scores the
network on those before and after.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.machine import usable_cores
from benchmarks.validation_sets import VOXEL_SIZE, held_out_molecule
from tomotwin_lib.cli.output import guarded, report_paths, say
from tomotwin_lib.cli.parsing import CommandParser, add_device, add_progress
from tomotwin_lib.files import atomic_path, ensure_writable_folder
from tomotwin_lib.formats.volumes import read_volume, write_volume
from tomotwin_lib.simulation.distractors import Distractors
from tomotwin_lib.simulation.imaging import image_specimen
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.specimen import build_specimen
from tomotwin_lib.training.finetuning import finetune

MOLECULES = 4
SHAPE = (80, 224, 224)
PARTICLES = 40
"""Of each molecule in a tomogram; the picks are some of them."""

SCORES = {"F1": "F1", "recall": "recall", "AP": "average precision", "offset": "centring error (voxels)"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, fine-tune, write the table; returns the exit status."""
    return guarded(lambda: _run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    output = ensure_writable_folder(options.output)
    found = []
    for seed in options.seeds:
        folder = output / f"tomogram_{seed}"
        rng = np.random.default_rng(seed)
        # Other molecules in every tomogram.
        molecules = [held_out_molecule(seed * MOLECULES + number) for number in range(MOLECULES)]
        specimen = build_specimen(
            SHAPE, molecules, rng=rng, particles_per_class=PARTICLES, distractors=Distractors()
        )
        data = image_specimen(specimen.density, Imaging(snr=options.snr), rng).data
        write_volume(folder / "tomogram.mrc", data, VOXEL_SIZE)
        picks = specimen.particles.groupby("class").sample(options.picks, random_state=seed)
        result = finetune(
            options.network,
            read_volume(folder / "tomogram.mrc"),
            picks[["class", "X", "Y", "Z"]].reset_index(drop=True),
            folder,
            minutes=options.minutes,
            box_sizes={molecule.code: molecule.box_size for molecule in molecules},
            device=options.device,
            seed=seed,
            progress=options.progress,
        )
        found.append(result.scores.assign(tomogram=seed, steps=result.steps))
        told = table(pd.concat(found))
        say(told)
        with atomic_path(output / "finetune_default.md") as temporary:
            temporary.write_text(told + "\n", encoding="utf-8")
    report_paths([output / "finetune_default.md"])
    return 0


def table(found: pd.DataFrame) -> str:
    """Markdown: each class before and after, then the mean of all.

    Parameters
    ----------
    found : rows of ``before_and_after.csv`` with the columns tomogram and steps.
    """
    keys = ["tomogram", "class"]
    sides = {side: own.drop(columns="network") for side, own in found.groupby("network")}
    both = sides["before"].merge(sides["after"], on=keys, suffixes=("", "_after"))
    lines = [
        f"| tomogram | class | picks trained on, held out | steps | {' | '.join(SCORES.values())} |",
        "| --- |" + " --- |" * (3 + len(SCORES)),
    ]
    lines += [
        f"| {own['tomogram']} | {own['class']} | {own['trained']}, {own['held_out']} | {own['steps']} | "
        f"{_change(own)} |"
        for own in both.to_dict("records")
    ]
    mean = both.drop(columns=keys).mean().to_dict()
    lines.append(f"| all | mean of {len(both)} | | | {_change(mean)} |")
    return "\n".join(lines)


def _change(own: Mapping[Hashable, Any]) -> str:
    return " | ".join(f"{own[score]:.2f} → {own[f'{score}_after']:.2f}" for score in SCORES)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m benchmarks.finetune_default",
        description="Fine-tune on some picks of simulated molecules that no training has seen, and score it.",
    )
    parser.add_argument("--network", default="default", metavar="FILE", help="(%(default)s)")
    parser.add_argument("--picks", type=int, default=24, metavar="N", help="of each molecule (%(default)s)")
    parser.add_argument("--minutes", type=float, default=5.0, help="of fine-tuning (%(default)s)")
    parser.add_argument("--snr", type=float, default=0.1, help="(%(default)s)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], metavar="N", help="one tomogram each (%(default)s)"
    )
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    add_device(parser)
    add_progress(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
