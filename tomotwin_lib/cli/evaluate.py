"""``tomotwin evaluate positions|tomograms|subvolumes`` and ``tomotwin_scripts_evaluate.py``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli import evaluate_tomograms
from tomotwin_lib.cli.limits import add_limits, print_limits
from tomotwin_lib.cli.output import number, print_table, report_paths, say, warn
from tomotwin_lib.cli.parsing import add_box_sizes
from tomotwin_lib.cli.scored_files import of_another_number, say_which_boxes_differ
from tomotwin_lib.cli.tomogram import tomogram_name
from tomotwin_lib.files import ensure_writable_folder

if TYPE_CHECKING:
    import pandas as pd

SUMMARY = "Score picks against particles whose positions are known."
_SHARES = ("F1", "Recall", "Precision", "TrueNegativeRate", "TruePositiveRate", "BalancedAccuracy")
_SHORT = {"TruePositiveRate": "TPR", "TrueNegativeRate": "TNR", "BalancedAccuracy": "Accuracy"}
_TITLES = {
    "within limits": "Within the limits of another tomogram",
    "best case": "Best case: limits chosen on these very data",
    "as located": "All picks as located, without limits",
}
_COUNTS = ("TP", "FP", "FN", "O_MIN_SIZE", "O_MAX_SIZE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand and its options."""
    modes = parser.add_subparsers(
        title="what to score", metavar="positions|tomograms|subvolumes", required=True
    )
    positions = modes.add_parser(
        "positions",
        help="located picks against ground truth positions",
        description="Score the picks of each reference against the particles of its class: found is a "
        "particle whose box a pick's box overlaps with an intersection over union above 0.6. Writes "
        "evaluation.txt and evaluation_dict.json; with --optim evaluation_optim.txt and "
        "evaluation_optim_dict.json; with --limits evaluation_limits.txt and evaluation_limits_dict.json. "
        "Beside the best case stand the scores of all picks as located, beside those within limits both.",
    )
    positions.add_argument(
        "-p", "--positions", required=True, metavar="TXT",
        help="ground truth: lines of class X Y Z, in voxels; angles behind them are not used",
    )  # fmt: skip
    positions.add_argument("-l", "--locate", required=True, metavar="TLOC", help="located.tloc")
    add_box_sizes(positions, "-s", "--size", required_for="by which picks and particles overlap")
    positions.add_argument(
        "--fbeta", type=float, default=1.0, metavar="B", help="weight of recall relative to precision in F1"
    )
    positions.add_argument(
        "--optim", action="store_true",
        help="choose, for each reference, the limits of similarity and size that score best on these very "
        "data: a best case",
    )  # fmt: skip
    add_limits(positions, "score the picks within")
    positions.add_argument(
        "--stepsize_optim_similarity", type=float, default=0.05, metavar="STEP",
        help="distance of the limits of similarity that --optim tries",
    )  # fmt: skip
    positions.add_argument(
        "-o", "--output", metavar="FOLDER", help="folder for the results (default: that of the .tloc)"
    )
    positions.add_argument(
        "--distance", action="store_true",
        help="also score by the distance of centres, within half the particle's radius and with recall "
        "weighing four times as much as precision (the measure of the CZII challenge), and tell how well "
        "picks are centred and what they hit; writes evaluation_distance.txt and _dict.json",
    )  # fmt: skip
    positions.add_argument("--png", action="store_true", help="also draw the scores: a .png beside each .txt")
    positions.set_defaults(run=run)
    evaluate_tomograms.add_mode(modes)
    _add_subvolumes(modes)


def _add_subvolumes(modes: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    subvolumes = modes.add_parser(
        "subvolumes",
        help="subvolumes that were assigned to references",
        description="Score a classification of labelled subvolumes, each class against all others. Writes "
        "evaluation_subvolumes.txt and evaluation_subvolumes_dict.json beside it.",
    )
    subvolumes.add_argument(
        "-p", "--probabilties", required=True, metavar="FILE",
        help="columns filename and predicted_class (number of a reference, -1 for none): .txt or .csv with a "
        "header, or a pickled frame",
    )  # fmt: skip
    subvolumes.add_argument(
        "-r", "--reference", required=True, metavar="FILE",
        help="embeddings.temb of the references, or a .txt or .csv with the column filepath",
    )  # fmt: skip
    subvolumes.add_argument(
        "--fbeta", type=float, default=1.0, metavar="B", help="weight of recall relative to precision in F1"
    )
    subvolumes.set_defaults(run=run_subvolumes)


def run(args: argparse.Namespace) -> None:
    """Evaluate."""
    folder = Path(args.output) if args.output is not None else Path(args.locate).parent
    if args.output is not None or folder.is_dir():
        ensure_writable_folder(folder)
    from tomotwin_lib.evaluation import evaluate_positions, evaluate_with_limits, write_evaluation
    from tomotwin_lib.formats.frames import read_picks
    from tomotwin_lib.formats.ground_truth import read_box_sizes, read_particle_positions
    from tomotwin_lib.limits import read_limits

    limits = None if args.limits is None else read_limits(args.limits)
    box_sizes = read_box_sizes(args.size, "-s/--size")
    truth = read_particle_positions(args.positions)
    picks = read_picks(args.locate)
    if note := of_another_number(args.positions, tomogram_name(picks.attrs)):
        warn(note)
    say_which_boxes_differ(args.locate, picks, box_sizes)
    # With limits from elsewhere first, because these are what can be expected; what flatters comes behind.
    results: dict[str, pd.DataFrame] = {}
    if limits is not None:
        results["within limits"] = evaluate_with_limits(
            picks, truth, box_sizes, limits, fbeta=args.fbeta, source=args.limits
        )
    if args.optim or limits is not None:
        results["best case"] = evaluate_positions(
            picks,
            truth,
            box_sizes,
            fbeta=args.fbeta,
            optimise=True,
            step=args.stepsize_optim_similarity,
        )
    results["as located"] = evaluate_positions(
        picks, truth, box_sizes, fbeta=args.fbeta, step=args.stepsize_optim_similarity
    )
    outputs: list[Path] = []
    names = list(results)
    for place, name in enumerate(names):
        if name in _wanted(args):
            beside = {other: results[other] for other in names[place + 1 :]}
            outputs += write_evaluation(folder, results[name], optimised=name == "best case", beside=beside)
            if args.png:
                from tomotwin_lib.figures import save_figure, score_bars

                figure = score_bars(results[name], _TITLES[name])
                outputs.append(save_figure(outputs[-2].with_suffix(".png"), figure))
    if limits is not None and (results["within limits"]["F1"] >= results["best case"]["F1"]).all():
        warn("as good as the best case for every reference: were these limits chosen on these very picks?")
    if args.distance:
        outputs += _by_distance(folder, picks, truth, box_sizes)
    for name, scores in results.items():
        _print_scores(_TITLES[name], scores, notes=name == names[-1])
    report_paths(outputs)


def _by_distance(
    folder: Path, picks: pd.DataFrame, truth: pd.DataFrame, box_sizes: int | Mapping[str, int]
) -> tuple[Path, Path]:
    """Score all picks as located by distance, print that and what they hit, and write the scores."""
    from tomotwin_lib.centring import centring_distances, centring_table
    from tomotwin_lib.confusion import confusion
    from tomotwin_lib.evaluation import evaluate_positions, write_scores
    from tomotwin_lib.honest_evaluation import BETA, WITHIN

    scores = evaluate_positions(picks, truth, box_sizes, fbeta=BETA, within=WITHIN)
    classes = dict(zip(scores["reference"], scores["class"], strict=True))
    centring = centring_table(centring_distances(picks, truth, box_sizes), classes)
    _print_scores(
        "All picks, by distance; in F-beta recall weighs four times as much", scores, False, score="F-beta"
    )
    evaluate_tomograms.print_centring("Centring of the found particles, in voxels", centring)
    hits = confusion(picks, truth, box_sizes, within=WITHIN)
    evaluate_tomograms.print_confusion("What all picks hit", hits)
    return write_scores(folder, "evaluation_distance", scores)


def _wanted(args: argparse.Namespace) -> list[str]:
    """The results that get files of their own; the others stand beside them."""
    wanted = [name for name, asked in (("within limits", args.limits), ("best case", args.optim)) if asked]
    return wanted or ["as located"]


def run_subvolumes(args: argparse.Namespace) -> None:
    """Evaluate a classification."""
    from tomotwin_lib.classification import evaluate_classification
    from tomotwin_lib.evaluation import write_scores

    table = _read_table(Path(args.probabilties), ("filename", "predicted_class"))
    references = [
        Path(str(path)).name for path in _read_table(Path(args.reference), ("filepath",))["filepath"]
    ]
    scores = evaluate_classification(
        [str(name) for name in table["filename"]],
        table["predicted_class"].to_list(),
        references,
        args.fbeta,
    )
    outputs = write_scores(Path(args.probabilties).parent, "evaluation_subvolumes", scores)
    _print_scores("Each class against all others", scores)
    if missing := scores.attrs["without_reference"]:
        warn(f"{len(missing)} subvolumes, such as {missing[0]}, are of no reference's class")
    say(f"assigned to no reference: {scores.attrs['void']:,} subvolumes")
    report_paths(outputs)


def _read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A table of text or a pickled frame, with the given columns."""
    from tomotwin_lib.formats.columns import require_columns
    from tomotwin_lib.formats.frames import read_frame
    from tomotwin_lib.formats.text import read_table

    text = path.suffix.lower() in (".txt", ".csv")
    table = read_table(path, "Give columns with commas") if text else read_frame(path)
    require_columns(path, table, list(columns), "such a table")
    return table


def _print_scores(title: str, scores: pd.DataFrame, notes: bool = True, *, score: str = "F1") -> None:
    """The table, a row with the means, where they come from limits these, and what was left out."""
    from tomotwin_lib.evaluation import LIMIT_COLUMNS

    if "LIMITS_OF" in scores:
        columns_of_limits = scores[["reference", *LIMIT_COLUMNS]]
        print_limits(columns_of_limits.itertuples(index=False, name=None))
    left_out = ("reference", "class", *LIMIT_COLUMNS)
    columns = [column for column in scores.columns if column not in left_out]
    short = {**_SHORT, "F1": score}
    header = ("reference", "class", *(short.get(column, column) for column in columns))
    rows = [
        (str(row["reference"]), str(row["class"]), *(_cell(column, row[column]) for column in columns))
        for _, row in scores.iterrows()
    ]
    means = ("mean", "", *(number(float(scores[name].mean())) if name in _SHARES else "" for name in columns))
    print_table(title, header, rows, means)
    if not notes:
        return
    if missing := scores.attrs.get("without_truth"):
        warn(f"not scored, the ground truth holds nothing of their class: {', '.join(missing)}")
    if missing := scores.attrs.get("without_reference"):
        warn(f"particles that no reference looks for: {', '.join(missing)}")


def _cell(column: str, value: float) -> str:
    return number(int(value)) if column in _COUNTS else number(float(value))
