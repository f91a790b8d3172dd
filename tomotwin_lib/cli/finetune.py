"""``tomotwin finetune``: a better network for one's own proteins, from a handful of picks."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli.coordinates import positions_in_voxels_of
from tomotwin_lib.cli.output import number, print_table, report_paths, say, warn
from tomotwin_lib.cli.parsing import add_box_sizes, add_device, add_model, add_progress
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from tomotwin_lib.formats.volumes import Volume

FEW_PICKS, FEW_HELD_OUT = 10, 3
"""Picks of a class below which its scores say little: one pick more or less found changes them much."""

SUMMARY = "Train a network on with picks of your own, in minutes, and compare it before and after."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_model(parser, required=False, default="default")
    parser.add_argument("-t", "--tomogram", required=True, metavar="MRC", help="the tomogram, protein dark")
    parser.add_argument(
        "-p", "--picks", required=True, nargs="+", metavar="FILE",
        help="picks in it: .coords, .cbox or .star, one protein a file, named after the file; or .txt with "
        "lines of class X Y Z, in voxels",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER",
        help="for finetuned.pth, references.temb, before_and_after.csv and finetuned.md",
    )  # fmt: skip
    add_box_sizes(
        parser, "-b", "--boxsize", required_for="within which nothing else is and by which picks are scored"
    )
    parser.add_argument(
        "--minutes", type=float, default=5.0, metavar="N",
        help="of training alone; scoring before and after comes on top, which embeds the tomogram twice",
    )  # fmt: skip
    parser.add_argument(
        "--complete", action="store_true",
        help="every particle of these proteins has been picked: all else is background, also what looks like "
        "them",
    )  # fmt: skip
    parser.add_argument(
        "--held_out", type=float, default=0.3, metavar="SHARE",
        help="share of the picks that is not trained on but scored, on the other side of a plane",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of crops, turns and noise")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in --output")
    add_device(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Fine-tune."""
    folder = ensure_writable_folder(args.output)
    from tomotwin_lib.formats.ground_truth import read_box_sizes
    from tomotwin_lib.formats.volumes import read_volume
    from tomotwin_lib.training.before_and_after import SCORES
    from tomotwin_lib.training.finetuned import ENOUGH_STEPS, FEW_STEPS, require_place
    from tomotwin_lib.training.finetuning import finetune

    require_place(folder, args.overwrite)
    box_sizes = read_box_sizes(args.boxsize, "-b/--boxsize")
    volume = read_volume(args.tomogram)
    picks = _read_picks(volume, [Path(path) for path in args.picks])
    _check_box_sizes(picks["class"].unique(), box_sizes, args.boxsize)

    def tell_before(counts: pd.DataFrame) -> None:
        each = (f"{row['class']} {row['trained']} / {row['held_out']}" for row in counts.to_dict("records"))
        near = int(counts["near"].sum())
        lost = f"; {near} too near to the plane between them for either" if near else ""
        say(f"picks to train on / held out: {', '.join(each)}{lost}")
        unit = "minute" if args.minutes == 1 else "minutes"
        say(
            f"{args.minutes:g} {unit} of training; on top of that, the tomogram is scored before and after, "
            "which takes minutes more where it is large or the machine busy"
        )
        picked = counts[["trained", "held_out", "near"]].sum(axis=1)
        few = counts["class"][(picked < FEW_PICKS) | (counts["held_out"] < FEW_HELD_OUT)]
        if len(few):
            warn(
                f"fewer than {FEW_PICKS} picks, or than {FEW_HELD_OUT} held out: the scores will say little "
                f"of {', '.join(few)}"
            )

    result = finetune(
        args.modelpth,
        volume,
        picks,
        folder,
        minutes=args.minutes,
        box_sizes=box_sizes,
        complete=args.complete,
        share=args.held_out,
        device=args.device,
        seed=args.seed,
        progress=args.progress,
        on_parted=tell_before,
    )
    rows = [
        (row["network"], row["class"], number(row["trained"]), number(row["held_out"]),
         *(number(row[name]) for name in SCORES))
        for row in result.scores.to_dict("records")
    ]  # fmt: skip
    header = ("network", "class", "trained on", "held out", *SCORES.values())
    print_table("Held-out picks, before and after", header, rows)
    say(
        f"{result.steps} steps; in the mean F1 {result.f1_gain:+.3f} and average precision {result.gain:+.3f}"
    )
    if result.not_scored:
        warn(f"too few picks on either side of the plane to compare {', '.join(result.not_scored)}")
    if result.steps < FEW_STEPS:
        enough = math.ceil(args.minutes * ENOUGH_STEPS / max(result.steps, 1))
        warn(
            f"nothing is learnt in so short a time as {result.steps} steps; give --minutes {enough}, about "
            f"{ENOUGH_STEPS} steps here"
        )
    if result.better_before:
        warn(
            f"the network was better before by {result.better_before}: keep that one, or give more picks or "
            "minutes"
        )
    elif result.worse:
        warn(f"of {', '.join(result.worse)} it was better before")
    report_paths(result.files)


def _read_picks(volume: Volume, paths: list[Path]) -> pd.DataFrame:
    """All picks, columns class (lower case), X, Y, Z in voxels of the tomogram, and file."""
    import pandas as pd

    from tomotwin_lib.formats.ground_truth import read_particle_positions

    parts = []
    for path in paths:
        if path.suffix.lower() == ".txt":
            found = read_particle_positions(path)[["class", "X", "Y", "Z"]]
        else:
            found = positions_in_voxels_of(volume, path)[["X", "Y", "Z"]]
            found = found.assign(**{"class": path.stem.lower()})
        if not len(found):
            raise InputError(path, "there is no pick in it", "Give a handful of each class")
        parts.append(found.assign(file=str(path)))
    return pd.concat(parts, ignore_index=True)


def _check_box_sizes(names: Iterable[str], sizes: int | Mapping[str, int], source: str) -> None:
    """Refuse sizes that lack a class, in the name of the option."""
    from tomotwin_lib.boxes import box_size_of

    for name in names:
        try:
            box_size_of(name, sizes)
        except InputError as error:
            raise InputError(
                f"-b {source}", f"no box size fits {name}: {error.problem}", error.remedy
            ) from error
