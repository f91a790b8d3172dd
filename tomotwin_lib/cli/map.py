"""``tomotwin map distance`` and ``tomotwin_map.py``."""

from __future__ import annotations

import argparse
from pathlib import Path

from tomotwin_lib.cli.output import report_paths, say, warn
from tomotwin_lib.cli.parsing import add_progress, add_references
from tomotwin_lib.cli.references import print_refinement, say_what_was_combined
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

SUMMARY = "Compare an embedded tomogram with embedded references."

# The file that each flag takes, and what writes it.
_WRITTEN = {
    "-r": ("embeddings.temb", "tomotwin embed subvolumes"),
    "-v": ("<tomogram>_embeddings.temb", "tomotwin embed tomogram"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand and its options."""
    modes = parser.add_subparsers(title="how to compare", metavar="distance", required=True)
    distance = modes.add_parser(
        "distance",
        help="similarity of every position to every reference",
        description="Compute the similarity of every embedded position to every reference, by the distance "
        "that the network was trained with. Writes map.tmap.",
    )
    distance.add_argument(
        "-r", "--references", required=True, metavar="TEMB", help="embeddings.temb of the references"
    )
    distance.add_argument("-v", "--volumes", required=True, metavar="TEMB", help="<tomogram>_embeddings.temb")
    distance.add_argument(
        "--refine", action="store_true",
        help="first replace each reference, in up to 7 rounds, by the middle of the 500 positions most "
        "similar to it; one that walks to another protein or to background stays as it is, and is told",
    )  # fmt: skip
    add_references(distance)
    distance.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder for the result")
    add_progress(distance)
    distance.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Map."""
    folder = ensure_writable_folder(args.output)
    for flag, file in (("-r", args.references), ("-v", args.volumes)):
        _refuse_volumes(flag, file)
    from tomotwin_lib.formats.frames import (
        read_reference_embedding,
        read_tomogram_embedding,
        write_similarity_map,
    )
    from tomotwin_lib.references import ready_references
    from tomotwin_lib.refinement import refine_references
    from tomotwin_lib.similarity import Comparison, check_same_network
    from tomotwin_lib.voxel_sizes import differing_voxel_sizes

    try:
        given = read_reference_embedding(args.references)
    except InputError:
        _refuse_other_kind("-r", args.references, "-v", args.volumes)
        raise
    references = ready_references(given, combine=args.combine, negatives=args.negatives)
    try:
        tomogram = read_tomogram_embedding(args.volumes)
    except InputError:
        _refuse_other_kind("-v", args.volumes, "-r", args.references)
        raise
    check_same_network(tomogram, references, args.references)
    if args.combine:
        say_what_was_combined(given, references)
    if args.refine:
        references = refine_references(tomogram, references)
        print_refinement(references)
    if problem := differing_voxel_sizes(tomogram.attributes.get("filepath", ""), given.paths):
        warn(problem)
    comparison = Comparison(tomogram, references, progress=args.progress)
    output = folder / "map.tmap"
    write_similarity_map(output, comparison)
    say(f"{len(comparison):,} positions compared with {len(comparison.references)} references")
    report_paths([output])


def _refuse_volumes(flag: str, file: str) -> None:
    """Tell whoever gives a volume, or a folder, in place of an embedding how to make that; InputError."""
    from tomotwin_lib.formats.volumes import VOLUME_SUFFIXES

    path = Path(file)
    embedding, command = _WRITTEN[flag]
    if path.suffix.lower() in VOLUME_SUFFIXES and path.is_file():
        raise InputError(
            path,
            "it is an MRC volume, and embeddings are compared",
            f"Embed it first with `{command}`, and give the {embedding} that this writes",
        )
    if path.is_dir():
        inside = sorted(path.glob(embedding.replace("<tomogram>", "*")))
        remedy = f"Give that file, or embed first: `{command} -v {path} …`"
        if inside:
            remedy = f"Give {inside[0]}" if len(inside) == 1 else f"Give one in it, such as {inside[0]}"
        raise InputError(
            path,
            f"it is a folder, and {flag} takes one file, the {embedding} that `{command}` writes",
            remedy,
        )


def _refuse_other_kind(flag: str, file: str, other_flag: str, other_file: str) -> None:
    """Tell whoever gives an embedding of the one kind where the other belongs; InputError.

    Returns where ``file`` is of neither kind, or of the one that its flag takes.
    """
    if _flag_for(file) != other_flag:
        return
    embedding, command = _WRITTEN[flag]
    remedy = (
        f"-r and -v look swapped: give it with {other_flag}, and {other_file} with {flag}"
        if _flag_for(other_file) == flag
        else f"Give it with {other_flag}, and with {flag} the {embedding} that `{command}` writes"
    )
    kinds = {"-r": "of subvolumes", "-v": "of a tomogram"}
    raise InputError(
        file, f"it is the embedding {kinds[other_flag]}, and {flag} takes one {kinds[flag]}", remedy
    )


def _flag_for(file: str) -> str | None:
    """The flag that takes an embedding, told by its columns; ``None`` for what is none."""
    from tomotwin_lib.formats.frames import read_frame

    try:
        columns = set(read_frame(file).columns)
    except InputError:
        return None
    if "0" not in columns:
        return None
    if "filepath" in columns:
        return "-r"
    return "-v" if {"Z", "Y", "X"} <= columns else None
