"""``tomotwin embed tomogram|subvolumes`` and ``tomotwin_embed.py``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotwin_lib.cli.locate import locate_as_asked
from tomotwin_lib.cli.output import report_paths, say, warn
from tomotwin_lib.cli.parsing import (
    add_box_sizes,
    add_device,
    add_locating,
    add_model,
    add_progress,
    add_references,
)
from tomotwin_lib.cli.references import print_dropped, say_what_was_combined
from tomotwin_lib.cli.similarities import check_similarity
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

if TYPE_CHECKING:
    from tomotwin_lib.embedding.estimate import Estimate
    from tomotwin_lib.formats.volumes import Volume
    from tomotwin_lib.networks.checkpoint import LoadedNetwork

SUMMARY = "Embed tomograms, or subvolumes such as references, with a trained network."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands and their options."""
    modes = parser.add_subparsers(title="what to embed", metavar="tomogram|subvolumes", required=True)
    tomogram = modes.add_parser(
        "tomogram",
        help="embed every position of a tomogram",
        description="Embed the window of 37³ voxels around every position of one or several tomograms. "
        "Writes <tomogram>_embeddings.temb for each; with --references <tomogram>_located.tloc instead.",
    )
    _add_common(
        tomogram, batch_size=64, volumes="tomograms (protein dark): MRC files, or folders that hold some"
    )
    tomogram.add_argument(
        "-s", "--stride", type=int, nargs="+", default=[2], metavar="N",
        help="distance of neighbouring positions in voxels: one number, or three for x, y and z",
    )  # fmt: skip
    tomogram.add_argument(
        "-z", "--zrange", type=int, nargs=2, metavar=("LO", "HI"),
        help="embed positions with LO ≤ z < HI only, in voxels (default: the whole tomogram)",
    )  # fmt: skip
    tomogram.add_argument(
        "--mask", metavar="MRC", help="embed only where this volume of the tomogram's shape is not zero"
    )
    tomogram.add_argument(
        "-d", "--distribution_mode", type=int, choices=(0, 1), default=1,
        help="1: all GPUs share a tomogram, in one process each, unless --device names one; 0: one process",
    )  # fmt: skip
    tomogram.add_argument(
        "--no-padding", dest="padding", action="store_false", default=True,
        help="do not continue the tomogram by reflection: no positions within 18 voxels of its border",
    )  # fmt: skip
    tomogram.add_argument(
        "--method", choices=("auto", "dense", "windows"), default="auto",
        help="dense: the network over the whole volume at once, much faster but for fully convolutional "
        "networks only; windows: window by window; auto: dense where possible; the result is the same",
    )  # fmt: skip
    _add_picking(tomogram)
    add_device(tomogram)
    add_progress(tomogram)
    tomogram.set_defaults(run=run_tomogram)

    subvolumes = modes.add_parser(
        "subvolumes",
        help="embed subvolumes, such as references",
        description="Embed subvolumes of exactly 37³ voxels, protein bright. Writes embeddings.temb.",
    )
    _add_common(subvolumes, batch_size=128, volumes="MRC files and folders that hold some")
    add_device(subvolumes)
    add_progress(subvolumes)
    subvolumes.set_defaults(run=run_subvolumes)


def run_tomogram(args: argparse.Namespace) -> None:
    """Embed one tomogram after the other; everything is checked before the first."""
    folder = ensure_writable_folder(args.outpath)
    stride = _stride(args.stride)
    from tomotwin_lib.embedding.estimate import gigabytes, require_disk
    from tomotwin_lib.embedding.grids import checked_stride, masked_sites, window_grid
    from tomotwin_lib.embedding.tomograms import embed_tomogram
    from tomotwin_lib.formats.frames import write_tomogram_embedding
    from tomotwin_lib.formats.volumes import find_volumes, read_volume
    from tomotwin_lib.half_precision import halved

    checked_stride(stride)
    volumes = [read_volume(path) for path in find_volumes(args.volumes)]
    ending = "embeddings.temb" if args.references is None else "located.tloc"
    outputs = _output_files(folder, volumes, ending)
    mask = read_volume(args.mask) if args.mask is not None else None
    z_range = (args.zrange[0], args.zrange[1]) if args.zrange is not None else None
    loaded = _load(args)
    for volume in volumes:
        shape = volume.data.shape
        grid = window_grid(shape, stride, loaded.window_size, args.padding, z_range, volume.path)
        if mask is not None:
            masked_sites(mask, grid, shape, volume.path)
    _say_what_looks_like_a_reference(volumes, loaded.window_size)
    _say_what_is_smaller_than_a_window(volumes, loaded.window_size)
    _say_what_is_unlike_the_network(
        {volume.path: volume.voxel_size_in_angstrom for volume in volumes}, loaded
    )
    options = {
        "stride": stride,
        "padding": args.padding,
        "z_range": z_range,
        "mask": mask,
        "batch_size": args.batchsize,
        "method": args.method,
        "device": args.device if args.distribution_mode else [args.device],
        "progress": args.progress,
    }
    if args.references is not None:
        _pick(args, loaded, volumes, outputs, options)
        return
    for volume, output in zip(volumes, outputs, strict=True):

        def tell(estimate: Estimate, volume: Volume = volume) -> None:
            say(f"{volume.path.name}: {estimate}, {gigabytes(estimate.disk)} on disk")
            require_disk(estimate, folder)

        # The file holds 16-bit floats: in memory these take half of what the vectors would.
        embedding = embed_tomogram(loaded, volume, keep=halved, on_estimate=tell, **options)
        write_tomogram_embedding(output, embedding)
        way = embedding.attributes.get("embedding_method", args.method)
        say(f"{volume.path.name}: {len(embedding.vectors):,} positions embedded ({way})")
        report_paths([output])


def run_subvolumes(args: argparse.Namespace) -> None:
    """Embed subvolumes into one file."""
    folder = ensure_writable_folder(args.outpath)
    from tomotwin_lib.embedding.subvolumes import embed_subvolumes
    from tomotwin_lib.formats.frames import write_reference_embedding
    from tomotwin_lib.formats.volumes import find_volumes, read_volume

    paths = find_volumes(args.volumes)
    sizes = {path: read_volume(path).voxel_size_in_angstrom for path in paths}
    loaded = _load(args)
    _say_what_is_unlike_the_network(sizes, loaded)
    embedding = embed_subvolumes(loaded, paths, batch_size=args.batchsize, progress=args.progress)
    output = folder / "embeddings.temb"
    write_reference_embedding(output, embedding)
    say(f"{len(embedding.paths):,} subvolumes embedded")
    report_paths([output])


def _pick(
    args: argparse.Namespace,
    loaded: LoadedNetwork,
    volumes: Sequence[Volume],
    outputs: Sequence[Path],
    options: Mapping[str, Any],
) -> None:
    """Pick each tomogram without keeping its embedding."""
    import numpy as np

    from tomotwin_lib.boxes import box_size_of
    from tomotwin_lib.distances import distance_named
    from tomotwin_lib.embedding.subvolumes import embed_subvolumes
    from tomotwin_lib.formats.frames import write_picks
    from tomotwin_lib.formats.ground_truth import read_box_sizes
    from tomotwin_lib.formats.volumes import find_volumes
    from tomotwin_lib.products import ReferenceEmbedding
    from tomotwin_lib.references import negatives_among, ready_references
    from tomotwin_lib.scoring import score_tomogram
    from tomotwin_lib.voxel_sizes import unlike_the_tomogram, voxel_sizes

    if distance_named(loaded.distance, str(loaded.path)).bounded:
        check_similarity("-g/--global_min", args.global_min, -1, 1, "By this network's distance they go from")
    box_sizes = read_box_sizes(args.boxsize, "--boxsize")
    paths = find_volumes(args.references)
    names = ReferenceEmbedding(np.zeros((len(paths), 1)), [str(path) for path in paths])
    wanted = ready_references(names, combine=args.combine, negatives=args.negatives)
    negatives = negatives_among(wanted.names, wanted.attributes)
    for name in wanted.names:
        if name not in negatives:
            box_size_of(name, box_sizes)
    sizes = voxel_sizes(paths)
    for volume in volumes:
        if problem := unlike_the_tomogram(volume.path, volume.voxel_size_in_angstrom, sizes):
            warn(problem)
    given = embed_subvolumes(loaded, paths, progress=args.progress)
    references = ready_references(given, combine=args.combine, negatives=args.negatives)
    if args.combine:
        say_what_was_combined(given, references)
    for volume, output in zip(volumes, outputs, strict=True):

        def tell(estimate: Estimate, volume: Volume = volume) -> None:
            # Locating takes the map of one reference in 32 bits, and five bytes a position beside.
            say(f"{volume.path.name}: {replace(estimate, memory=estimate.memory + 9 * estimate.positions)}")

        similarity = score_tomogram(loaded, volume, references, on_estimate=tell, **options)
        picks = locate_as_asked(args, similarity, box_sizes)
        write_picks(output, picks)
        say(f"{volume.path.name}: {len(picks):,} picks, {len(similarity.values):,} positions compared")
        print_dropped(picks.attrs)
        report_paths([output])


def _say_what_looks_like_a_reference(volumes: Sequence[Volume], window_size: int) -> None:
    """Say that a tomogram of just one window may be no tomogram: the contrast of the two is opposite."""
    small = [volume.path.name for volume in volumes if volume.data.shape == (window_size,) * 3]
    if small:
        more = f" and {len(small) - 1} more are" if len(small) > 1 else " is"
        warn(
            f"{small[0]}{more} of {window_size}³ voxels, as reference subvolumes are: for those there is "
            "`embed subvolumes`, which takes protein as bright"
        )


def _say_what_is_smaller_than_a_window(volumes: Sequence[Volume], window_size: int) -> None:
    """Say that a tomogram does not fill the windows. Without padding it was refused before."""
    small = [volume for volume in volumes if min(volume.data.shape) < window_size]
    if not small:
        return
    shape = small[0].data.shape
    # Along an axis that is shorter than the window, no more voxels than it has are the tomogram's own.
    own = math.prod(min(edge, window_size) / window_size for edge in shape)
    more = f", and {len(small) - 1} more are smaller than it" if len(small) > 1 else ""
    warn(
        f"{small[0].path.name} is of {'×'.join(map(str, shape))} voxels (z×y×x) and the network's window of "
        f"{window_size}³{more}: at least {math.floor(100 * (1 - own))} % of each of its windows is "
        "reflection of the tomogram, and similarities mean the less for it"
    )


def _say_what_is_unlike_the_network(sizes: Mapping[Path, float | None], loaded: LoadedNetwork) -> None:
    """Say that volumes have another voxel size than what the network was trained on."""
    from tomotwin_lib.voxel_sizes import unlike_the_network

    told = [problem for path, size in sizes.items() if (problem := unlike_the_network(path, size, loaded))]
    if told:
        warn(told[0] + (f" (and {len(told) - 1} more)" if len(told) > 1 else ""))


def _add_picking(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("picks instead of an embedding")
    group.add_argument(
        "--references", nargs="+", metavar="PATH",
        help="subvolumes of 37³ voxels, protein bright, or folders that hold some: compare the tomogram with "
        "them on the way and write <tomogram>_located.tloc, the picks of map and locate; the embedding is "
        "neither stored nor held in memory",
    )  # fmt: skip
    add_box_sizes(
        group, "--boxsize", required_for="by whose overlap picks of one reference suppress each other"
    )
    add_locating(group)
    add_references(group)


def _add_common(parser: argparse.ArgumentParser, *, batch_size: int, volumes: str) -> None:
    add_model(parser)
    parser.add_argument("-v", "--volumes", required=True, nargs="+", metavar="PATH", help=volumes)
    parser.add_argument("-o", "--outpath", required=True, metavar="FOLDER", help="folder for the result")
    parser.add_argument(
        "-b",
        "--batchsize",
        type=int,
        default=batch_size,
        metavar="N",
        help="windows in one pass of the network",
    )
    parser.add_argument(
        "--half_turns", action="store_true",
        help="average over the half turns about z, y and x: better told apart, for four times the work; for "
        "tomogram and references alike",
    )  # fmt: skip


def _load(args: argparse.Namespace) -> LoadedNetwork:
    """The network, averaged over half turns where that is asked for."""
    from tomotwin_lib.networks.checkpoint import load_network
    from tomotwin_lib.networks.half_turns import average_half_turns

    loaded = load_network(args.modelpth, args.device)
    return average_half_turns(loaded) if args.half_turns else loaded


def _stride(values: Sequence[int]) -> int | tuple[int, int, int]:
    """The stride as the library takes it: axes in the order z, y, x."""
    if len(values) == 1:
        return values[0]
    if len(values) != 3:
        raise InputError(
            "-s/--stride",
            f"{len(values)} numbers were given ({' '.join(map(str, values))})",
            "Give one, or x y z",
        )
    x, y, z = values
    return z, y, x


def _output_files(folder: Path, volumes: Sequence[Volume], ending: str) -> list[Path]:
    """The file for each tomogram, ``<tomogram>_<ending>``.

    Raises
    ------
    InputError
        If two tomograms would share one.
    """
    owners: dict[Path, Path] = {}
    for volume in volumes:
        output = folder / f"{volume.path.stem}_{ending}"
        if output in owners:
            raise InputError(
                volume.path,
                f"its result would overwrite that of {owners[output]}",
                "Embed them into two folders",
            )
        owners[output] = volume.path
    return list(owners)
