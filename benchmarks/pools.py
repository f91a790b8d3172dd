"""The simulated tomograms that networks are trained on: the options of every command that needs some."""

from __future__ import annotations

import argparse
from pathlib import Path

from tomotwin_lib.training.labelled_tomograms import LabelledTomogram
from tomotwin_lib.training.simulated_pool import simulated_pool

TOMOGRAMS = 240
MADE_UP = 600


def add_pool(parser: argparse.ArgumentParser, tomograms: int = TOMOGRAMS) -> None:
    """Add what a pool is made of."""
    parser.add_argument("--structures", type=Path, metavar="FOLDER", help="density maps and atomic models")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="LABEL", help="structures left out")
    parser.add_argument(
        "--made_up", type=int, default=MADE_UP, metavar="N", help="made-up molecules (%(default)s)"
    )
    parser.add_argument(
        "--tomograms", type=int, default=tomograms, metavar="N", help="in the pool (%(default)s)"
    )


def make_pool(folder: Path, options: argparse.Namespace, seed: int) -> list[LabelledTomogram]:
    """The pool of the options, or what is missing of it in the folder."""
    return simulated_pool(
        folder,
        options.tomograms,
        structures=options.structures,
        exclude=options.exclude,
        made_up=options.made_up,
        seed=seed,
        progress=options.progress,
    )
