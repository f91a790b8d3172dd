"""``tomotwin simulate``: a data set to try everything on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli.output import report_paths, say
from tomotwin_lib.cli.parsing import add_progress

if TYPE_CHECKING:
    from tomotwin_lib.simulation.dataset import SimulatedDataset

SUMMARY = "Simulate tomograms with known particles, references, and subvolumes to train on."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder of the data set")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same data")
    parser.add_argument("--tomograms", type=int, default=1, metavar="N", help="tomograms to be picked")
    parser.add_argument(
        "--size",
        type=int,
        nargs=3,
        default=[200, 200, 80],
        metavar=("X", "Y", "Z"),
        help="of each, in voxels of 10 Å",
    )
    parser.add_argument(
        "--particles", type=int, default=10, metavar="N", help="of each kind in each tomogram"
    )
    parser.add_argument(
        "--subvolumes", type=int, default=80, metavar="N",
        help="training subvolumes of each kind; a quarter as many are made for validation",
    )  # fmt: skip
    parser.add_argument(
        "--snr", type=float, default=0.15, help="variance of the signal over variance of the noise"
    )
    parser.add_argument(
        "-nc",
        "--netconfiguration",
        metavar="JSON",
        help="network configuration to put into the data set's models/",
    )
    parser.add_argument(
        "--png", action="store_true", help="also draw tomograms with the true positions, and subvolumes"
    )
    add_progress(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Simulate, or find the data set made already."""
    from tomotwin_lib.networks.configuration import read_configuration
    from tomotwin_lib.simulation.dataset import simulate_dataset

    model = args.netconfiguration
    x, y, z = args.size
    dataset = simulate_dataset(
        args.output,
        seed=args.seed,
        tomogram_shape=(z, y, x),
        tomograms=args.tomograms,
        particles_per_class=args.particles,
        subvolumes_per_class=args.subvolumes,
        snr=args.snr,
        model_name=Path(model).stem if model is not None else "none",
        model_configuration=read_configuration(model) if model is not None else None,
        progress=args.progress,
    )
    if dataset.reused:
        say("the data set was there already; nothing was simulated")
    pictures = _draw(dataset) if args.png else []
    written = [*dataset.tomograms, *dataset.references, dataset.training, dataset.validation]
    written += [*dataset.positions, dataset.box_sizes]
    if dataset.model is not None:
        written.append(dataset.model)
    report_paths(written + pictures)


def _draw(dataset: SimulatedDataset) -> list[Path]:
    from tomotwin_lib.figures import orthoslices_with_picks, save_figure, subvolume_gallery
    from tomotwin_lib.formats.ground_truth import read_box_sizes, read_particle_positions
    from tomotwin_lib.formats.volumes import find_volumes, read_subvolume, read_volume

    sizes = read_box_sizes(dataset.box_sizes)
    pictures = []
    for tomogram, positions in zip(dataset.tomograms, dataset.positions, strict=True):
        volume = read_volume(tomogram)
        figure = orthoslices_with_picks(
            volume.data,
            read_particle_positions(positions),
            box_sizes=sizes,
            voxel_size_in_angstrom=volume.voxel_size_in_angstrom,
            title=f"{tomogram.name}: true positions",
        )
        pictures.append(save_figure(dataset.folder / f"{tomogram.stem}.png", figure))
    files = find_volumes([dataset.training])
    # A picture of a few, taken evenly from all kinds, which follow each other in the list.
    some = files[:: max(1, len(files) // 40)][:40]
    gallery = subvolume_gallery(
        [(path.name, read_subvolume(path)) for path in some], title="Training subvolumes"
    )
    return [*pictures, save_figure(dataset.folder / "subvolumes.png", gallery)]
