"""``tomotwin tools …`` and ``tomotwin_tools.py``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli import info
from tomotwin_lib.cli.coordinates import (
    positions_in_voxels_of,
    read_positions,
    same_voxel_size,
    voxel_size_of,
)
from tomotwin_lib.cli.output import file_stems, report_paths, say, warn
from tomotwin_lib.cli.parsing import add_device, add_model, add_progress
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tomotwin_lib.formats.volumes import Volume

SUMMARY = "Cut references, make masks and targets, filter embeddings, scale coordinates, combine networks."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands and their options."""
    tools = parser.add_subparsers(title="tools", metavar="TOOL", required=True)
    _add_extractref(tools.add_parser("extractref", help="cut references out of a tomogram"))
    mask = tools.add_parser("embedding_mask", help="find where a tomogram is worth embedding")
    ways = mask.add_subparsers(title="how", metavar="intensity|median", required=True)
    _add_intensity(ways.add_parser("intensity", help="darker than the background"))
    _add_median_mask(ways.add_parser("median", help="unlike the median of a coarse embedding"))
    _add_filter(tools.add_parser("filter_embedding", help="keep the part of an embedding that a map selects"))
    _add_median(tools.add_parser("median_embedding", help="the median vector, which stands for background"))
    _add_make_target(tools.add_parser("make_target", help="the mean vector of each cluster, as references"))
    _add_scale(tools.add_parser("scale_coordinates", help="coordinates for another voxel size"))
    _add_combine(tools.add_parser("combine_networks", help="several trained networks as one"))
    _add_average(tools.add_parser("average_networks", help="the mean of the weights of several networks"))
    described = tools.add_parser("info", help="say what is in a file")
    described.add_argument("-i", "--input", dest="files", nargs="+", required=True, metavar="FILE")
    described.set_defaults(run=info.run)


def _add_extractref(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tomo", required=True, metavar="MRC", help="the tomogram, protein dark")
    parser.add_argument(
        "--coords", required=True, metavar="FILE",
        help=".coords, .cbox or .star: X Y Z, in voxels of the tomogram or of the size that a .star tells",
    )  # fmt: skip
    parser.add_argument("--size", type=int, default=37, metavar="N", help="edge of the cubes, in voxels, odd")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for <filename>_<number>.mrc")
    parser.add_argument("--filename", default="reference", metavar="NAME", help="what names begin with")
    parser.set_defaults(run=run_extractref)


def run_extractref(args: argparse.Namespace) -> None:
    """Cut references."""
    folder = ensure_writable_folder(args.out)
    from tomotwin_lib.extraction import extract_subvolumes
    from tomotwin_lib.formats.volumes import read_volume, write_volume

    volume = read_volume(args.tomo)
    positions = positions_in_voxels_of(volume, Path(args.coords))
    if positions.empty:
        raise InputError(args.coords, "there is no position in it", "Give a file with one position a line")
    cubes = extract_subvolumes(volume, positions, args.size)
    if missing := [row for row in range(len(positions)) if row not in cubes]:
        warn(
            f"left out, too close to the border: {len(missing)} of {len(positions)} positions, the first in "
            f"row {missing[0]} (counted from 0)"
        )
    stem = Path(args.filename).stem
    for row, cube in cubes.items():
        write_volume(folder / f"{stem}_{row}.mrc", cube, volume.voxel_size_in_angstrom)
    say(f"{len(cubes)} references of {args.size} voxels, protein bright")
    report_paths(folder / f"{stem}_{row}.mrc" for row in cubes)


def _add_intensity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", "--input", required=True, metavar="MRC", help="the tomogram, protein dark")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="for <tomogram>_mask.mrc")
    parser.set_defaults(run=run_intensity)


def run_intensity(args: argparse.Namespace) -> None:
    """Make a mask by intensity."""
    folder = ensure_writable_folder(args.output)
    from tomotwin_lib.formats.volumes import read_volume
    from tomotwin_lib.masks import intensity_mask

    volume = read_volume(args.input)
    _write_mask(folder, volume, intensity_mask(volume))


def _add_median_mask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", "--input", required=True, metavar="MRC", help="the tomogram, protein dark")
    add_model(parser)
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="for <tomogram>_mask.mrc")
    parser.add_argument(
        "-s", "--stride", type=int, default=5, metavar="N", help="of the embedding, in voxels"
    )
    parser.add_argument("-b", "--batchsize", type=int, default=64, metavar="N", help="windows in one pass")
    parser.add_argument(
        "-t", "--threshold", type=float, default=0.3, metavar="T",
        help="keep positions whose similarity to the median is below T",
    )  # fmt: skip
    parser.add_argument(
        "-d", "--dilation", type=int, default=1, metavar="N", help="let the mask grow by N voxels"
    )
    add_device(parser)
    add_progress(parser)
    parser.set_defaults(run=run_median_mask)


def run_median_mask(args: argparse.Namespace) -> None:
    """Make a mask of what is unlike the median."""
    folder = ensure_writable_folder(args.output)
    from tomotwin_lib.embedding.tomograms import embed_tomogram
    from tomotwin_lib.formats.volumes import read_volume
    from tomotwin_lib.masks import median_mask
    from tomotwin_lib.networks.checkpoint import load_network

    volume = read_volume(args.input)
    loaded = load_network(args.modelpth, args.device)
    embedding = embed_tomogram(
        loaded, volume, stride=args.stride, batch_size=args.batchsize, progress=args.progress
    )
    _write_mask(folder, volume, median_mask(embedding, args.threshold, args.dilation))


def _write_mask(folder: Path, volume: Volume, mask: npt.NDArray[np.bool_]) -> None:
    from tomotwin_lib.formats.volumes import write_volume

    path = folder / f"{volume.path.stem}_mask.mrc"
    write_volume(path, mask.astype("float32"), volume.voxel_size_in_angstrom)
    if not mask.any():
        warn(f"{path.name} keeps nothing: no embedding is possible with it")
    say(f"{100 - 100 * mask.mean():.2f} % masked out")
    report_paths([path])


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", "--input", required=True, metavar="TEMB", help="<tomogram>_embeddings.temb")
    parser.add_argument("-m", "--map", required=True, metavar="TMAP", help="map.tmap of this embedding")
    parser.add_argument(
        "-t", "--threshold", type=float, required=True, metavar="T",
        help="similarity: positions at or above T are left out, with --lower those below it",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder for the results")
    parser.add_argument("--lower", action="store_true", help="leave out positions below the threshold")
    parser.add_argument(
        "--concat", action="store_true",
        help="write one file with what is kept for any reference, rather than one file each",
    )  # fmt: skip
    parser.set_defaults(run=run_filter)


def run_filter(args: argparse.Namespace) -> None:
    """Filter an embedding."""
    folder = ensure_writable_folder(args.output)
    from tomotwin_lib.formats.frames import (
        read_similarity_map,
        read_tomogram_embedding,
        write_tomogram_embedding,
    )
    from tomotwin_lib.targets import select_by_similarity

    embedding = read_tomogram_embedding(args.input)
    similarity = read_similarity_map(args.map)
    stems = file_stems(similarity.references)
    wanted = [(None, "allrefs")] if args.concat else [*enumerate(stems)]
    outputs = []
    for reference, name in wanted:
        kept = select_by_similarity(embedding, similarity, reference, args.threshold, above=args.lower)
        path = folder / f"{Path(args.input).stem}_filtered_{name}.temb"
        write_tomogram_embedding(path, kept)
        left = 100 * (1 - len(kept.vectors) / len(embedding.vectors))
        say(f"{name}: {len(kept.vectors):,} of {len(embedding.vectors):,} positions, {left:.2f} % left out")
        outputs.append(path)
    report_paths(outputs)


def _add_median(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", "--input", required=True, metavar="TEMB", help="<tomogram>_embeddings.temb")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="for <input>_med.temb")
    parser.set_defaults(run=run_median)


def run_median(args: argparse.Namespace) -> None:
    """Write the median vector as a reference."""
    folder = ensure_writable_folder(args.output)
    from tomotwin_lib.formats.frames import read_tomogram_embedding, write_reference_embedding
    from tomotwin_lib.targets import median_target

    path = folder / f"{Path(args.input).stem}_med.temb"
    write_reference_embedding(path, median_target(read_tomogram_embedding(args.input)))
    report_paths([path])


def _add_make_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-i", "--input", required=True, metavar="TEMB", help="the embedding that was clustered"
    )
    parser.add_argument(
        "-c", "--clusters", required=True, metavar="CSV",
        help="a row for each of its rows, the cluster's number in the column MANUAL_CLUSTER_ID (0: none)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder for cluster.temb")
    parser.set_defaults(run=run_make_target)


def run_make_target(args: argparse.Namespace) -> None:
    """Write the mean of each cluster as a reference."""
    folder = ensure_writable_folder(args.output)
    from tomotwin_lib.formats.clusters import read_clusters
    from tomotwin_lib.formats.frames import read_vectors, write_reference_embedding
    from tomotwin_lib.products import ReferenceEmbedding
    from tomotwin_lib.targets import cluster_targets

    vectors, attributes = read_vectors(args.input)
    clusters = read_clusters(args.clusters)
    if len(clusters) != len(vectors):
        raise InputError(
            args.clusters,
            f"it has {len(clusters):,} rows, and {args.input} has {len(vectors):,}",
            "Give the embedding that was clustered",
        )
    means, names = cluster_targets(vectors, clusters)
    path = folder / "cluster.temb"
    write_reference_embedding(path, ReferenceEmbedding(means, names, attributes))
    say(f"{len(names)} clusters: {', '.join(names)}")
    report_paths([path])


def _add_scale(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--coords", required=True, metavar="FILE", help=".coords, .cbox or .star, in voxels")
    parser.add_argument(
        "--tomotwin_pixel_size", type=float, required=True, metavar="A",
        help="voxel size of the tomogram that was picked, in Å; a .star that tells another is refused",
    )  # fmt: skip
    parser.add_argument(
        "--extraction_pixel_size", type=float, required=True, metavar="A",
        help="voxel size to write the coordinates in, in Å",
    )  # fmt: skip
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="a .coords file, or a folder (default: <coords>_scaled.coords beside it)",
    )
    parser.set_defaults(run=run_scale)


def run_scale(args: argparse.Namespace) -> None:
    """Scale coordinates."""
    from tomotwin_lib.exporting import scale_picks
    from tomotwin_lib.formats.coordinates import write_coords

    for flag in ("tomotwin_pixel_size", "extraction_pixel_size"):
        value = getattr(args, flag)
        if not 0 < value < float("inf"):
            raise InputError(f"--{flag}", f"{value:g} is no voxel size", "Give Å above 0")
    source = Path(args.coords)
    output = Path(args.out) if args.out else source.with_name(f"{source.stem}_scaled.coords")
    if output.is_dir() or not output.suffix:
        output = output / f"{source.stem}.coords"
    if output.resolve() == source.resolve():
        raise InputError(output, "it is the file with the coordinates itself", "Choose another --out")
    factor = args.tomotwin_pixel_size / args.extraction_pixel_size
    positions = read_positions(source)
    told = voxel_size_of(source, positions)
    if told is not None and not same_voxel_size(told, args.tomotwin_pixel_size):
        raise InputError(
            source,
            f"it counts in voxels of {told:g} Å, not of --tomotwin_pixel_size {args.tomotwin_pixel_size:g}",
            f"Give --tomotwin_pixel_size {told:g}, or correct the file",
        )
    write_coords(output, scale_picks(positions, factor))
    say(f"{len(positions):,} coordinates multiplied by {factor:g}")
    report_paths([output])


def _add_combine(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write one checkpoint that embeds with several trained networks side by side: a similarity is then "
        "the mean of theirs. Networks that were trained apart err in different places. It costs as much "
        "time as they do together."
    )
    add_model(
        parser,
        nargs="+",
        help="fully convolutional networks, two or more, trained with the same distance: checkpoints, or "
        "names of networks that ship",
    )
    parser.add_argument(
        "--weights", nargs="+", type=float, metavar="W",
        help="how much each network counts, in the order of --modelpth, above 0 (default: all the same)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="PTH", help="the checkpoint to write")
    parser.set_defaults(run=run_combine)


def run_combine(args: argparse.Namespace) -> None:
    """Combine trained networks."""
    output = _new_checkpoint(args.output)
    from tomotwin_lib.networks.ensemble import combine_checkpoints

    channels = combine_checkpoints(args.modelpth, output, args.weights)
    say(f"{len(args.modelpth)} networks in one, {channels} channels")
    report_paths([output])


def _add_average(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write one checkpoint whose weights are the mean of those of several networks. Where trainings went "
        "different ways from one network, such as with two seeds from `default`, it can be better than each, "
        "in the time of one: score it. Networks that began apart have no mean that finds anything: combine "
        "those."
    )
    add_model(parser, nargs="+", help="equal networks, two or more: checkpoints, or names of some that ship")
    parser.add_argument("-o", "--output", required=True, metavar="PTH", help="the checkpoint to write")
    parser.set_defaults(run=run_average)


def run_average(args: argparse.Namespace) -> None:
    """Average the weights of networks."""
    output = _new_checkpoint(args.output)
    from tomotwin_lib.networks.averaging import average_checkpoints

    average_checkpoints(args.modelpth, output)
    say(f"the mean of {len(args.modelpth)} networks")
    report_paths([output])


def _new_checkpoint(name: str) -> Path:
    output = Path(name)
    if output.suffix != ".pth":
        raise InputError(output, "it does not end in .pth", "Give the name of the checkpoint to write")
    if output.exists():
        raise InputError(output, "it is there already", "Give another name, or delete it first")
    ensure_writable_folder(output.parent)
    return output
