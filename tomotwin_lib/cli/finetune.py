"""``tomotwin finetune``: a better network for one's own proteins, from a handful of picks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli.coordinates import positions_in_voxels_of
from tomotwin_lib.cli.output import number, print_table, report_paths, say, warn
from tomotwin_lib.cli.parsing import add_box_sizes, add_device, add_model, add_progress
from tomotwin_lib.files import ensure_writable_folder

if TYPE_CHECKING:
    import pandas as pd

    from tomotwin_lib.formats.volumes import Volume

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
        help="of training; scoring before and after comes on top",
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
    add_device(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Fine-tune."""
    ensure_writable_folder(args.output)
    from tomotwin_lib.formats.ground_truth import read_box_sizes
    from tomotwin_lib.formats.volumes import read_volume
    from tomotwin_lib.training.before_and_after import SCORES
    from tomotwin_lib.training.finetuning import finetune

    volume = read_volume(args.tomogram)
    result = finetune(
        args.modelpth,
        volume,
        _read_picks(volume, [Path(path) for path in args.picks]),
        args.output,
        minutes=args.minutes,
        box_sizes=read_box_sizes(args.boxsize, "-b/--boxsize"),
        complete=args.complete,
        share=args.held_out,
        device=args.device,
        seed=args.seed,
        progress=args.progress,
    )
    rows = [
        (row["network"], row["class"], number(row["trained"]), number(row["held_out"]),
         *(number(row[name]) for name in SCORES))
        for row in result.scores.to_dict("records")
    ]  # fmt: skip
    header = ("network", "class", "trained on", "held out", *SCORES.values())
    print_table("Held-out picks, before and after", header, rows)
    say(f"{result.steps} steps; average precision {result.gain:+.3f} in the mean")
    if result.not_scored:
        warn(f"too few picks on either side of the plane to compare {', '.join(result.not_scored)}")
    if result.gain < 0:
        warn("the network was better before: keep that one, or give more picks")
    elif result.worse:
        warn(f"of {', '.join(result.worse)} it was better before")
    report_paths(result.files)


def _read_picks(volume: Volume, paths: list[Path]) -> pd.DataFrame:
    """All picks, columns class (lower case), X, Y, Z in voxels of the tomogram."""
    import pandas as pd

    from tomotwin_lib.formats.ground_truth import read_particle_positions

    parts = []
    for path in paths:
        if path.suffix.lower() == ".txt":
            parts.append(read_particle_positions(path)[["class", "X", "Y", "Z"]])
        else:
            positions = positions_in_voxels_of(volume, path)[["X", "Y", "Z"]]
            parts.append(positions.assign(**{"class": path.stem.lower()}))
    return pd.concat(parts, ignore_index=True)
