"""``tomotwin evaluate tomograms``: honest scores over several tomograms, and what to expect of others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli.output import number, print_table, report_paths, say, warn
from tomotwin_lib.cli.parsing import add_box_sizes
from tomotwin_lib.cli.scored_files import say_which_boxes_differ
from tomotwin_lib.cli.tomogram import tomogram_name
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

if TYPE_CHECKING:
    import pandas as pd

    from tomotwin_lib.honest_evaluation import HonestEvaluation


def add_mode(modes: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add the subcommand and its options."""
    tomograms = modes.add_parser(
        "tomograms",
        help="several tomograms, thresholds of each chosen on the others",
        description="Score the picks of several tomograms, each at the similarities that are best on all the "
        "others: what to expect where the truth is not known. Beside the overlap of boxes (F1) counts the "
        "distance of centres (F-beta with recall weighing four times as much, within half the particle's "
        "radius, as in the CZII challenge). Writes evaluation_tomograms.json, by_tomogram.csv, "
        "confusion.csv, precision_recall.csv and .png, and calibration.json, with which `tomotwin locate` "
        "and `tomotwin pick` keep the share of false picks within a limit.",
    )
    tomograms.add_argument(
        "-l", "--locate", required=True, nargs="+", metavar="TLOC", help="located.tloc of each tomogram"
    )
    tomograms.add_argument(
        "-p", "--positions", required=True, nargs="+", metavar="TXT",
        help="their ground truths in the same order: lines of class X Y Z, in voxels",
    )  # fmt: skip
    add_box_sizes(tomograms, "-s", "--size", required_for="by which picks and particles overlap")
    tomograms.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder for the results")
    tomograms.add_argument(
        "--fbeta", type=float, default=4.0, metavar="B",
        help="weight of recall relative to precision where the distance of centres counts",
    )  # fmt: skip
    tomograms.add_argument(
        "--within", type=float, default=0.5, metavar="SHARE",
        help="how far from its centre a pick finds a particle there, as a share of its radius (half its box)",
    )  # fmt: skip
    tomograms.add_argument(
        "--step", type=float, default=0.01, metavar="STEP", help="distance of the similarities that are tried"
    )
    tomograms.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Evaluate."""
    if len(args.locate) != len(args.positions):
        raise InputError(
            "--positions", f"{len(args.positions)} ground truths for {len(args.locate)} tables of picks",
            "Give one for each, in the same order",
        )  # fmt: skip
    folder = ensure_writable_folder(args.output)
    from tomotwin_lib.calibration import measure_background
    from tomotwin_lib.figures import precision_recall_chart, save_figure
    from tomotwin_lib.formats.calibration import write_calibration
    from tomotwin_lib.formats.frames import read_picks
    from tomotwin_lib.formats.ground_truth import read_box_sizes, read_particle_positions
    from tomotwin_lib.honest_evaluation import evaluate_honestly

    box_sizes = read_box_sizes(args.size, "-s/--size")
    pairs = [
        (read_picks(picks), read_particle_positions(truth))
        for picks, truth in zip(args.locate, args.positions, strict=True)
    ]
    names = _names(args.locate)
    _check_order(args, names, [picks for picks, _ in pairs])
    for file, (picks, _) in zip(args.locate, pairs, strict=True):
        say_which_boxes_differ(file, picks, box_sizes)
    _say_which_classes_differ(args.positions, pairs)
    tomograms = dict(zip(names, pairs, strict=True))
    found = evaluate_honestly(tomograms, box_sizes, fbeta=args.fbeta, within=args.within, step=args.step)
    calibration = measure_background(pairs, box_sizes)
    outputs = _write(folder, found)
    figure = precision_recall_chart(
        found.curves,
        f"{len(pairs)} tomograms; dots: best threshold for all together",
        found.thresholds,
    )
    outputs.append(save_figure(folder / "precision_recall.png", figure))
    outputs.append(folder / "calibration.json")
    write_calibration(outputs[-1], calibration)
    _print(found)
    report_paths(outputs)


def _names(paths: list[str]) -> list[str]:
    """What to call the tomograms: the files' names, or their folders where all files have one name."""
    stems = [Path(path).stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    folders = [Path(path).resolve().parent.name for path in paths]
    return folders if len(set(folders)) == len(folders) else [str(Path(path).resolve()) for path in paths]


def _check_order(args: argparse.Namespace, names: list[str], picks: list[pd.DataFrame]) -> None:
    """Refuse ground truths whose files are named after other tomograms of the same call; InputError."""
    called = [
        {name, Path(located).stem, Path(tomogram_name(table.attrs)).stem}
        for name, located, table in zip(names, args.locate, picks, strict=True)
    ]
    for truth, located in zip(args.positions, args.locate, strict=True):
        of_same_name = [args.locate[place] for place, own in enumerate(called) if Path(truth).stem in own]
        if of_same_name and located not in of_same_name:
            raise InputError(
                "--positions",
                f"{truth} stands where the ground truth of {located} should, and is by its name that of "
                f"{of_same_name[0]}",
                "Give the ground truths in the order of the picks (--locate)",
            )


def _say_which_classes_differ(files: list[str], pairs: list[tuple[pd.DataFrame, pd.DataFrame]]) -> None:
    """Note, for each ground truth, what it lacks and what nobody looks for, and what scores make of that."""
    from tomotwin_lib.boxes import class_of_reference
    from tomotwin_lib.honest_evaluation import differing_classes

    everywhere = {str(name) for _, truth in pairs for name in truth["class"]}
    for file, (picks, truth) in zip(files, pairs, strict=True):
        lacking, unwanted = differing_classes(picks, truth)
        told = []
        for known, fate in (
            (True, "not scored there, and their picks there are all false to calibration.json"),
            (False, "not scored, and not in calibration.json"),
        ):
            own = [
                f"{name} ({label})"
                for name, label in lacking.items()
                if (class_of_reference(name, everywhere) is not None) == known
            ]
            if own:
                told.append(f"it holds none of the class of the references {', '.join(own)}: {fate}")
        if unwanted:
            told.append(
                f"no reference is of its {', '.join(unwanted)}: not scored, and picks on them are false"
            )
        if told:
            warn(f"{file}: {'; '.join(told)}")


def _write(folder: Path, found: HonestEvaluation) -> list[Path]:
    from tomotwin_lib.files import atomic_path, write_json

    tables = {
        "by_tomogram.csv": found.scores,
        "confusion.csv": found.confusion,
        "precision_recall.csv": found.curves,
    }
    for name, table in tables.items():
        with atomic_path(folder / name) as temporary:
            table.to_csv(temporary, index=False)
    record = folder / "evaluation_tomograms.json"
    parts = {"summary": found.summary, "by_reference": found.by_reference, "centring": found.centring}
    # JSON knows no NaN.
    plain = {name: _plain(table) for name, table in parts.items()}
    write_json(record, {**plain, "thresholds": found.thresholds})
    return [record, *(folder / name for name in tables)]


def _plain(table: pd.DataFrame) -> list[dict[str, object]]:
    return [
        {str(name): None if value != value else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _print(found: HonestEvaluation) -> None:
    from tomotwin_lib.honest_evaluation import SCORES

    names = [*SCORES.values(), "average precision"]
    rows = [
        (
            str(row["reference"]), number(int(row["tomograms"])),
            *(number(float(row[column])) for column in (*SCORES, "average_precision")),
        )
        for row in found.by_reference.to_dict("records")
    ]  # fmt: skip
    print_table("Scores by reference", ("reference", "tomograms", *names), rows)
    print_table(
        "Mean over the tomograms",
        ("score", "mean", "95 % interval"),
        [
            (SCORES[row["score"]], number(row["mean"]), _interval(row["low"], row["high"]))
            for row in found.summary.to_dict("records")
        ],
    )
    print_centring("Centring of the found particles, in voxels", found.centring)
    print_confusion("What the picks hit, at the honest thresholds", found.confusion)
    say(
        "honest: thresholds chosen on the other tomograms; best case: on the very picks that are scored, "
        "which flatters"
    )


def print_centring(title: str, centring: pd.DataFrame) -> None:
    """Print how far picks lie from the centres of particles."""
    rows = [
        (str(row["reference"]), number(int(row["found"])),
         *(number(float(row[name]), 2) for name in ("mean", "median", "worst_tenth")))
        for row in centring.to_dict("records")
    ]  # fmt: skip
    print_table(title, ("reference", "found", "mean", "median", "one in ten above"), rows)


def print_confusion(title: str, confusion: pd.DataFrame) -> None:
    """Print what the picks of each reference hit."""
    hits = [str(name) for name in confusion.columns if name not in ("reference", "class")]
    rows = [
        (str(row["reference"]), *(number(int(row[name])) for name in hits))
        for row in confusion.to_dict("records")
    ]
    print_table(title, ("reference", *hits), rows)


def _interval(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}" if low == low else "too few tomograms"
