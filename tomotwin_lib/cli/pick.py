"""``tomotwin pick`` and ``tomotwin_pick.py``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli.output import file_stems, print_table, report_paths
from tomotwin_lib.cli.tomogram import find_tomogram, tomogram_name
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

if TYPE_CHECKING:
    import pandas as pd

    from tomotwin_lib.formats.volumes import Volume

SUMMARY = "Write the coordinates of located particles for other programs."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        f"{SUMMARY} For each reference <reference>.coords (X Y Z in voxels) and <reference>_relion3.star. "
        "Limits are exclusive; `tomotwin evaluate positions --optim` and pictures help to choose them."
    )
    parser.add_argument("-l", "--locate_results", required=True, metavar="TLOC", help="located.tloc")
    parser.add_argument(
        "--target", nargs="+", metavar="NAME", help="references to write, with or without .mrc (default: all)"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder for the results")
    parser.add_argument("--minmetric", type=float, metavar="M", help="keep picks of a similarity above M")
    parser.add_argument("--maxmetric", type=float, metavar="M", help="keep picks of a similarity below M")
    parser.add_argument(
        "--minsize",
        type=float,
        metavar="S",
        help="keep picks whose region is larger than S voxels of the map",
    )
    parser.add_argument(
        "--maxsize",
        type=float,
        metavar="S",
        help="keep picks whose region is smaller than S voxels of the map",
    )
    parser.add_argument(
        "--tomogram", metavar="MRC",
        help="for the voxel size and the picture (default: the file that the .tloc names, if it is there)",
    )  # fmt: skip
    parser.add_argument("--png", action="store_true", help="also draw the picks on the tomogram: picks.png")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Pick."""
    folder = ensure_writable_folder(args.output)
    _check_limits("--minmetric", args.minmetric, "--maxmetric", args.maxmetric)
    _check_limits("--minsize", args.minsize, "--maxsize", args.maxsize)
    from tomotwin_lib.formats.coordinates import write_coords, write_relion3_star
    from tomotwin_lib.formats.frames import read_picks
    from tomotwin_lib.picking import keep_picks

    picks = read_picks(args.locate_results)
    references = picks.attrs["references"]
    targets = _targets(references, args.target)
    tomogram = find_tomogram(picks.attrs, args.tomogram)
    if args.png:
        _require_fitting(tomogram, picks)
    name = tomogram.path.name if tomogram is not None else tomogram_name(picks.attrs)
    voxel_size = tomogram.voxel_size_in_angstrom if tomogram is not None else None

    picks = picks[picks["predicted_class"].isin(targets)]
    kept = keep_picks(picks, args.minmetric, args.maxmetric, args.minsize, args.maxsize)
    stems = file_stems(references)
    outputs, rows = [], []
    for index in targets:
        chosen = kept[kept["predicted_class"] == index]
        coords, star = folder / f"{stems[index]}.coords", folder / f"{stems[index]}_relion3.star"
        write_coords(coords, chosen)
        write_relion3_star(star, chosen, name, voxel_size)
        outputs += [coords, star]
        rows.append((references[index], f"{len(chosen):,}", f"{(picks['predicted_class'] == index).sum():,}"))
    if args.png and tomogram is not None:
        outputs.append(_draw(folder, tomogram, kept))
    print_table("Picks", ("reference", "kept", "located"), rows, ("all", f"{len(kept):,}", f"{len(picks):,}"))
    report_paths(outputs)


def _check_limits(low_flag: str, low: float | None, high_flag: str, high: float | None) -> None:
    if low is not None and high is not None and low >= high:
        raise InputError(
            low_flag, f"{low:g} is not below {high_flag} {high:g}", "No pick lies between: change one"
        )


def _targets(references: Sequence[str], wanted: Sequence[str] | None) -> list[int]:
    """The indices of the wanted references, in the order of the file."""
    if wanted is None:
        return list(range(len(references)))
    chosen: set[int] = set()
    for name in wanted:
        found = [
            index for index, reference in enumerate(references) if name in (reference, Path(reference).stem)
        ]
        if not found:
            raise InputError(
                "--target", f"there is no reference {name!r}", f"Choose of {', '.join(references)}"
            )
        chosen.update(found)
    return sorted(chosen)


def _require_fitting(tomogram: Volume | None, picks: pd.DataFrame) -> None:
    """Check that there is a tomogram to draw on and that the picks lie in it."""
    if tomogram is None:
        raise InputError(
            "--png", f"the tomogram {picks.attrs.get('filepath', '')} is not there", "Give it with --tomogram"
        )
    shape = tomogram.data.shape
    if len(picks) and (picks[["Z", "Y", "X"]].to_numpy() > shape).any():
        raise InputError(
            tomogram.path,
            f"there are picks outside its {shape} voxels (z, y, x)",
            "Give the tomogram of these picks",
        )


def _draw(folder: Path, tomogram: Volume, kept: pd.DataFrame) -> Path:
    from tomotwin_lib.figures import orthoslices_with_picks, save_figure

    figure = orthoslices_with_picks(
        tomogram.data,
        kept,
        voxel_size_in_angstrom=tomogram.voxel_size_in_angstrom,
        title=f"{tomogram.path.name}: {len(kept):,} picks",
    )
    return save_figure(folder / "picks.png", figure)
