"""``tomotwin locate findmax`` and ``tomotwin_locate.py``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli.calibration import add_calibration, check_calibration, keep_expected_picks
from tomotwin_lib.cli.output import file_stems, print_table, report_paths, warn
from tomotwin_lib.cli.parsing import add_box_sizes, add_locating, add_progress
from tomotwin_lib.cli.references import print_dropped
from tomotwin_lib.cli.similarities import check_similarity
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

if TYPE_CHECKING:
    import pandas as pd

    from tomotwin_lib.products import SimilarityMap

SUMMARY = "Find particles in a similarity map."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand and its options."""
    modes = parser.add_subparsers(title="how to locate", metavar="findmax", required=True)
    findmax = modes.add_parser(
        "findmax",
        help="at the maxima of the similarity",
        description="Find the maxima of the similarity to each reference and the region that belongs to "
        "each. Of two picks of the same reference whose boxes overlap with an intersection over union above "
        "0.6 only the better one stays; picks of different references do not compete unless --compete is "
        "given. Where a negative reference is more similar there is no pick. Writes located.tloc.",
    )
    findmax.add_argument("-m", "--map", required=True, metavar="TMAP", help="map.tmap")
    findmax.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder for the results")
    add_box_sizes(
        findmax, "-b", "--boxsize", required_for="by whose overlap picks of one reference suppress each other"
    )
    add_locating(findmax)
    add_calibration(findmax, "keep of each reference the best picks")
    findmax.add_argument(
        "--processes", type=int, default=4, metavar="N",
        help="for TomoTwin's command lines: one process does the work here, whatever the number",
    )  # fmt: skip
    findmax.add_argument(
        "--write_heatmaps", action="store_true",
        help="also write the similarity to each reference as <reference>.mrc, of the tomogram's shape; "
        "refused in the folder of the references themselves",
    )  # fmt: skip
    findmax.add_argument(
        "--png", action="store_true", help="also draw similarity_histogram.png and similarity_slices.png"
    )
    add_progress(findmax)
    findmax.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Locate."""
    folder = ensure_writable_folder(args.output)
    if args.processes < 1:
        raise InputError("--processes", f"{args.processes} is no number of processes", "Give 1 or more")
    from tomotwin_lib.formats.frames import read_similarity_map, write_picks
    from tomotwin_lib.formats.ground_truth import read_box_sizes
    from tomotwin_lib.heatmaps import check_heatmap_files

    calibration = check_calibration(args)
    box_sizes = read_box_sizes(args.boxsize, "-b/--boxsize")
    similarity = read_similarity_map(args.map)
    _check_global_min(args.global_min, similarity)
    heatmaps = []
    if args.write_heatmaps:
        heatmaps = [folder / f"{stem}.mrc" for stem in file_stems(similarity.references)]
        check_heatmap_files(heatmaps)
    located = locate_as_asked(args, similarity, box_sizes)
    picks = keep_expected_picks(located, args, calibration, args.map)
    outputs = [folder / "located.tloc"]
    write_picks(outputs[0], picks)
    if heatmaps:
        _write_heatmaps(heatmaps, similarity)
        outputs += heatmaps
    if args.png:
        outputs += _draw(folder, similarity, args.global_min)
    if not len(located):
        _say_why_there_is_none(similarity, args.global_min)
    _print_counts(picks)
    print_dropped(picks.attrs)
    report_paths(outputs)


def locate_as_asked(
    args: argparse.Namespace, similarity: SimilarityMap, box_sizes: Mapping[str, int] | int
) -> pd.DataFrame:
    """The picks of a map, by the flags of :func:`~tomotwin_lib.cli.parsing.add_locating`."""
    from tomotwin_lib.locating import locate

    return locate(
        similarity,
        tolerance=args.tolerance,
        global_min=args.global_min,
        box_sizes=box_sizes,
        compete=args.compete,
        progress=args.progress,
    )


def _check_global_min(global_min: float, similarity: SimilarityMap) -> None:
    """Refuse a limit that no position of the map can reach because it is no similarity; InputError."""
    if -1 <= global_min <= 1:
        return  # without going through the whole map
    spread = similarity.spread()
    lowest, highest = float(spread.lowest.min()), float(spread.highest.max())
    check_similarity("-g/--global_min", global_min, lowest, highest, "The map has")


def _write_heatmaps(outputs: list[Path], similarity: SimilarityMap) -> None:
    from tomotwin_lib.cli.tomogram import find_tomogram
    from tomotwin_lib.heatmaps import heatmap, write_heatmap

    tomogram = find_tomogram(similarity.attributes)
    voxel_size = tomogram.voxel_size_in_angstrom if tomogram is not None else None
    for index, output in enumerate(outputs):
        write_heatmap(output, heatmap(similarity, index), voxel_size)


def _draw(folder: Path, similarity: SimilarityMap, global_min: float) -> list[Path]:
    from tomotwin_lib.figures import save_figure, similarity_histogram, similarity_slices

    return [
        save_figure(folder / "similarity_histogram.png", similarity_histogram(similarity, global_min)),
        save_figure(folder / "similarity_slices.png", similarity_slices(similarity)),
    ]


def _say_why_there_is_none(similarity: SimilarityMap, global_min: float) -> None:
    import numpy as np

    spread = similarity.spread()
    best = spread.highest
    reference = int(np.argmax(best))
    if spread.lowest.min() == best.max():
        warn("no pick: the similarity is the same everywhere, so that this network tells nothing apart")
        return
    highest = f"the highest similarity is {best[reference]:.3f}, to {similarity.references[reference]}"
    if best[reference] > global_min:
        warn(f"no pick, although {highest}: maxima at the map's border and of a single position do not count")
    else:
        warn(f"no pick: {highest}, and -g/--global_min is {global_min:g}")


def _print_counts(picks: pd.DataFrame) -> None:
    rows = []
    for index, name in enumerate(picks.attrs["references"]):
        metrics = picks.loc[picks["predicted_class"] == index, "metric_best"]
        best, median = (f"{metrics.max():.3f}", f"{metrics.median():.3f}") if len(metrics) else ("–", "–")
        rows.append((name, f"{len(metrics):,}", best, median))
    footer = ("all", f"{len(picks):,}", "", "")
    print_table("Picks", ("reference", "picks", "best similarity", "median similarity"), rows, footer)
