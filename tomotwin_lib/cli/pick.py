"""``tomotwin pick`` and ``tomotwin_pick.py``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli.calibration import add_calibration, check_calibration, keep_expected_picks
from tomotwin_lib.cli.coordinates import same_voxel_size
from tomotwin_lib.cli.limits import add_limits, print_limits
from tomotwin_lib.cli.output import file_stems, print_table, report_paths, warn
from tomotwin_lib.cli.similarities import check_similarity
from tomotwin_lib.cli.tomogram import find_tomogram, say_if_named_otherwise, tomogram_name
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

if TYPE_CHECKING:
    import pandas as pd

    from tomotwin_lib.exporting import Destination
    from tomotwin_lib.formats.copick import CopickProject
    from tomotwin_lib.formats.volumes import Volume

SUMMARY = "Write the coordinates of located particles for other programs."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        f"{SUMMARY} For each reference <reference>.coords (X Y Z in voxels) and <reference>_relion3.star, or "
        "what --formats names. Limits are exclusive; pictures help to choose them, and --limits takes those "
        "that scored best on a tomogram whose particles are known."
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
        help="keep picks whose region is smaller than S voxels of the map (0: no limit, as in evaluate)",
    )
    add_limits(parser, "keep picks within")
    add_calibration(parser, "write of each reference the best picks")
    parser.add_argument(
        "--tomogram", metavar="MRC",
        help="for its voxel size, its shape and the picture; refused if it cannot be the one of the picks "
        "(default: the file that the .tloc names, if it is there)",
    )  # fmt: skip
    _add_formats(parser)
    parser.add_argument("--png", action="store_true", help="also draw the picks on the tomogram: picks.png")
    parser.set_defaults(run=run)


def _add_formats(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to write, and in which voxels")
    group.add_argument(
        "--formats", nargs="+", default=["coords", "relion3"], metavar="NAME",
        help="coords (X Y Z), cbox (napari-boxmanager), relion3, relion31, relion4 and relion5 (coordinates "
        "of the tilt series: give --output-voxel-size; relion5 in Å from the centre), warp",
    )  # fmt: skip
    group.add_argument(
        "--tomogram-name", metavar="NAME",
        help="what the next program calls the tomogram or its tilt series, such as TS_01, in STAR files and "
        "as copick's run; for warp without .tomostar (default: the file's name, without its ending except "
        "for relion3 and relion31)",
    )  # fmt: skip
    group.add_argument(
        "--voxel-size", type=float, metavar="A",
        help="of the tomogram that was picked, in Å (default: what its header says)",
    )  # fmt: skip
    group.add_argument(
        "--output-voxel-size", type=float, metavar="A",
        help="write coordinates and boxes in voxels of A Å, such as those of the tilt series or of a less "
        "binned tomogram; relion4 and relion5 need it (default: those of the tomogram that was picked)",
    )  # fmt: skip
    group.add_argument(
        "--tomogram-size", type=int, nargs=3, metavar=("X", "Y", "Z"),
        help="for relion5: rlnTomoSizeX, Y and Z of the tomogram, in voxels of --output-voxel-size (default: "
        "that of the tomogram that was picked, scaled and rounded)",
    )  # fmt: skip
    group.add_argument(
        "--centre", type=float, nargs=3, metavar=("X", "Y", "Z"),
        help="for relion5: where it counts from, in voxels of --output-voxel-size (default: half the "
        "tomogram's size, as in RELION 5, also where that is no whole voxel)",
    )  # fmt: skip
    group.add_argument(
        "--copick-config", metavar="JSON",
        help="also store the picks in this copick project, in Å (needs the extra copick of this package)",
    )  # fmt: skip
    group.add_argument("--copick-run", metavar="NAME", help="copick's run (default: --tomogram-name)")
    group.add_argument("--copick-user", default="tomotwin", metavar="NAME", help="whose picks they are there")
    group.add_argument("--copick-session", default="0", metavar="NAME", help="their session there")


def run(args: argparse.Namespace) -> None:
    """Pick."""
    folder = ensure_writable_folder(args.output)
    _check_limits("--minmetric", args.minmetric, "--maxmetric", args.maxmetric)
    _check_limits("--minsize", args.minsize, "--maxsize", args.maxsize or None)  # 0 is no limit
    from tomotwin_lib.exporting import check_formats, export_picks
    from tomotwin_lib.formats.frames import read_picks
    from tomotwin_lib.limits import limits_of_references, read_limits
    from tomotwin_lib.picking import keep_picks, keep_within
    from tomotwin_lib.tomogram_shapes import check_tomogram_of_picks

    limits = None if args.limits is None else read_limits(args.limits)
    calibration = check_calibration(args)
    picks = read_picks(args.locate_results)
    lowest, highest = float(picks["metric_best"].min()), float(picks["metric_best"].max())
    for flag, value in (("--minmetric", args.minmetric), ("--maxmetric", args.maxmetric)):
        if value is not None:
            check_similarity(flag, value, lowest, highest, "The picks have")
    references = picks.attrs["references"]
    targets = _targets(references, args.target)
    wanted = [references[index] for index in targets]
    found = {} if limits is None else limits_of_references(wanted, limits, args.limits)
    tomogram = find_tomogram(picks.attrs, args.tomogram)
    if tomogram is not None:
        check_tomogram_of_picks(tomogram, picks, "Give the tomogram of these picks with --tomogram")
        if args.tomogram_name is None:
            say_if_named_otherwise(tomogram, picks.attrs)
    elif args.png:
        raise InputError(
            "--png", f"the tomogram {picks.attrs.get('filepath', '')} is not there", "Give it with --tomogram"
        )
    destination = _destination(args, tomogram, picks)
    formats = list(dict.fromkeys(args.formats))
    check_formats(formats, destination, "--formats", "--output-voxel-size")
    project = _copick_project(args, wanted, destination)

    picks = picks[picks["predicted_class"].isin(targets)]
    # Before other limits: shares of false picks were measured on all picks.
    within = promised = keep_expected_picks(picks, args, calibration, args.locate_results)
    if limits is not None:
        within = keep_within(promised, {name: own.thresholds for name, own in found.items()})
    kept = keep_picks(within, args.minmetric, args.maxmetric, args.minsize, args.maxsize)
    stems = file_stems(references)
    outputs, rows = [], []
    for index in targets:
        chosen = kept[kept["predicted_class"] == index]
        outputs += export_picks(folder, stems[index], chosen, formats, destination)
        if project is not None:
            assert destination.voxel_size_in_angstrom is not None
            project.store(
                chosen,
                destination.voxel_size_in_angstrom * destination.scale,
                run=args.copick_run or destination.tomogram_name,
                object_name=Path(references[index]).stem,
                user=args.copick_user,
                session=args.copick_session,
            )
        rows.append((references[index], f"{len(chosen):,}", f"{(picks['predicted_class'] == index).sum():,}"))
    if args.png and tomogram is not None:
        outputs.append(_draw(folder, tomogram, kept, destination.voxel_size_in_angstrom))
    if not len(picks):
        warn(f"nothing was located for {', '.join(wanted)}: the files are empty")
    elif len(promised) and not len(kept):
        best, largest = picks["metric_best"].max(), picks["size"].max()
        warn(f"these limits leave no pick; the best similarity is {best:.3f}, the largest size {largest}")
    if limits is not None:
        print_limits(
            (
                name,
                own.thresholds.minimum_metric,
                own.thresholds.minimum_size,
                own.thresholds.maximum_size,
                own.origin,
            )
            for name, own in found.items()
        )
    print_table("Picks", ("reference", "kept", "located"), rows, ("all", f"{len(kept):,}", f"{len(picks):,}"))
    report_paths(outputs)


def _destination(args: argparse.Namespace, tomogram: Volume | None, picks: pd.DataFrame) -> Destination:
    from tomotwin_lib.exporting import destination_of

    header = tomogram.voxel_size_in_angstrom if tomogram is not None else None
    destination = destination_of(
        tomogram.path.name if tomogram is not None else tomogram_name(picks.attrs),
        tomogram.data.shape if tomogram is not None else None,
        args.voxel_size if args.voxel_size is not None else header,
        output_voxel_size_in_angstrom=args.output_voxel_size,
        tomogram_size=args.tomogram_size,
        centre=args.centre,
        name=args.tomogram_name,
    )
    if tomogram is not None and header is not None and args.voxel_size is not None:
        _say_if_header_differs(tomogram.path.name, header, args.voxel_size)
    if "relion5" in args.formats and args.output_voxel_size and not args.tomogram_size:
        size = destination.tomogram_size
        if size is not None:
            warn(
                f"relion5: taking the tomogram for {size[0]} × {size[1]} × {size[2]} voxels of "
                f"{args.output_voxel_size:g} Å; give --tomogram-size if RELION has it otherwise"
            )
    return destination


def _say_if_header_differs(name: str, header: float, voxel_size: float) -> None:
    """Say that the voxel size that was given, in Å, is not the one of the tomogram's header."""
    if not same_voxel_size(voxel_size, header):
        warn(f"the header of {name} says {header:g} Å a voxel; --voxel-size {voxel_size:g} is taken instead")


def _copick_project(
    args: argparse.Namespace, references: Sequence[str], destination: Destination
) -> CopickProject | None:
    if args.copick_config is None:
        return None
    from tomotwin_lib.formats.copick import CopickProject

    if destination.voxel_size_in_angstrom is None:
        raise InputError(
            "--copick-config", "copick counts in Å, and the voxel size is not known", "Give --voxel-size"
        )
    project = CopickProject(args.copick_config)
    project.check_objects([Path(name).stem for name in references])
    return project


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


def _draw(folder: Path, tomogram: Volume, kept: pd.DataFrame, voxel_size: float | None) -> Path:
    from tomotwin_lib.figures import orthoslices_with_picks, save_figure

    figure = orthoslices_with_picks(
        tomogram.data,
        kept,
        voxel_size_in_angstrom=voxel_size,
        title=f"{tomogram.path.name}: {len(kept):,} picks",
    )
    return save_figure(folder / "picks.png", figure)
