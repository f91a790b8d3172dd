"""``tomotwin simulate``: a data set to try everything on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotwin_lib.cli.output import report_paths, say
from tomotwin_lib.cli.parsing import add_device, add_progress
from tomotwin_lib.errors import InputError

if TYPE_CHECKING:
    from tomotwin_lib.simulation.dataset import SimulatedDataset

PARTICLES = 10
"""Of each kind in each tomogram, where nothing says how many."""

SUMMARY = "Simulate tomograms with known particles, references, and subvolumes to train on."

_FLAGS = {
    "tomogram shape": "--size",
    "particles per class": "--particles",
    "subvolumes per class": "--subvolumes",
    "made up": "--made_up",
    "defocus in micrometres": "--defocus",
    "voxel size in angstrom": "--voxel_size",
    "thickness in nanometres": "--thickness",
    **{name: f"--{name}" for name in ("seed", "tomograms", "particles", "crowding", "snr")},
}
"""What settings of the library are called in the shell."""


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
        help="of each, in voxels (of 10 Å, unless --voxel_size says otherwise)",
    )
    parser.add_argument(
        "--particles", type=int, metavar="N", help=f"of each kind in each tomogram (default: {PARTICLES})"
    )
    parser.add_argument(
        "--subvolumes", type=int, default=80, metavar="N",
        help="training subvolumes of each kind, 0 for none; a quarter as many are made for validation",
    )  # fmt: skip
    _add_range(parser, "--snr", "variance of the signal over variance of the noise", default=0.15)
    parser.add_argument(
        "-nc",
        "--netconfiguration",
        metavar="JSON",
        help="network configuration to put into the data set's models/",
    )
    parser.add_argument(
        "--png", action="store_true", help="also draw tomograms with the true positions, and subvolumes"
    )
    specimen = parser.add_argument_group(
        "crowded specimens",
        "Any of these, or a range, simulates the data set another way: molecules crowd by their shapes, "
        "the microscope takes a whole tilt series, class masks and a picture of slices are written too. "
        "Ranges are two numbers, from which one is drawn for every tomogram.",
    )
    specimen.add_argument(
        "--structures", nargs="+", default=[], metavar="PATH",
        help="density maps (MRC), atomic models (PDB, mmCIF; these need the extra 'structures'), or folders "
        "of them; each file's name tells the label, as 1abc.pdb does",
    )  # fmt: skip
    specimen.add_argument(
        "--made_up", type=int, default=0, metavar="N",
        help="made-up molecules of random shape, mass and symmetry, labelled 0000, 0001, … (with neither "
        "these nor structures: the built-in shapes)",
    )  # fmt: skip
    specimen.add_argument(
        "--distractors", action="store_true",
        help="membranes, gold, filaments, microtubules, carbon and ice crystals beside the molecules",
    )  # fmt: skip
    specimen.add_argument(
        "--crowding", type=float, metavar="SHARE",
        help="share of the ice that particles take up, instead of --particles: 0.02 is dilute, 0.1 crowded",
    )  # fmt: skip
    specimen.add_argument(
        "--method", choices=("fourier", "tilt_series"),
        help="fourier (the default): the tilt series as one filter; tilt_series: every image is projected, "
        "exposed and back-projected, which takes about ten times as long",
    )  # fmt: skip
    _add_range(specimen, "--defocus", "underfocus in µm (default: 3 4)")
    _add_range(specimen, "--voxel_size", "in Å; references are made for its middle (default: 10)")
    _add_range(
        specimen, "--thickness", "of the ice in nm, in the middle of the depth (default: the whole depth)"
    )
    add_device(specimen)
    add_progress(parser)
    parser.set_defaults(run=run)


def _add_range(
    parser: argparse._ActionsContainer, flag: str, text: str, default: float | None = None
) -> None:
    parser.add_argument(
        flag, type=float, nargs="+", default=default, metavar="VALUE", help=f"{text}; one number or a range"
    )


def run(args: argparse.Namespace) -> None:
    """Simulate, or find the data set made already."""
    if args.particles is None and args.crowding is None:
        args.particles = PARTICLES
    try:
        dataset = _crowded(args) if _is_crowded(args) else _plain(args)
    except InputError as error:
        if error.source in _FLAGS:
            raise InputError(_FLAGS[error.source], error.problem, error.remedy) from error
        raise
    if dataset.reused:
        say("the data set was there already; nothing was simulated")
    pictures = _draw(dataset) if args.png else []
    written = [*dataset.tomograms, *dataset.references, dataset.training, dataset.validation]
    written += [*dataset.positions, *dataset.masks, dataset.box_sizes]
    written += [path for path in (dataset.mask_names, dataset.picture, dataset.model) if path is not None]
    report_paths([path for path in written if path.exists()] + pictures)


def _is_crowded(args: argparse.Namespace) -> bool:
    given = (args.structures, args.made_up, args.distractors, args.method, args.defocus, args.voxel_size)
    return (
        any(given) or args.crowding is not None or args.thickness is not None or len(_numbers(args.snr)) > 1
    )


def _numbers(value: float | list[float]) -> list[float]:
    return value if isinstance(value, list) else [value]


def _range(flag: str, value: float | list[float]) -> tuple[float, float]:
    numbers = _numbers(value)
    if len(numbers) > 2:
        raise InputError(flag, f"{len(numbers)} numbers were given", "Give one, or the least and the most")
    return numbers[0], numbers[-1]


def _crowded(args: argparse.Namespace) -> SimulatedDataset:
    from tomotwin_lib.simulation.labelled_dataset import simulate_labelled_dataset
    from tomotwin_lib.simulation.recipe import Recipe

    x, y, z = args.size
    ranges = {
        "defocus_in_micrometres": ("--defocus", args.defocus),
        "voxel_size_in_angstrom": ("--voxel_size", args.voxel_size),
        "thickness_in_nanometres": ("--thickness", args.thickness),
    }
    given: dict[str, Any] = {
        name: _range(flag, value) for name, (flag, value) in ranges.items() if value is not None
    }
    recipe = Recipe(
        structures=tuple(args.structures),
        made_up=args.made_up,
        seed=args.seed,
        tomograms=args.tomograms,
        tomogram_shape=(z, y, x),
        particles_per_class=args.particles,
        crowding=args.crowding,
        distractors=args.distractors,
        method=args.method or "fourier",
        snr=_range("--snr", args.snr),
        subvolumes_per_class=args.subvolumes,
        **given,
    )
    return simulate_labelled_dataset(
        args.output, recipe, device=args.device, progress=args.progress, **_model(args)
    )


def _plain(args: argparse.Namespace) -> SimulatedDataset:
    from tomotwin_lib.simulation.dataset import simulate_dataset

    if args.device not in ("auto", "cpu"):
        told = f"it is {args.device}, and only crowded specimens use a GPU"
        raise InputError("--device", told, "Leave it out, or give --method")
    x, y, z = args.size
    _, snr = _range("--snr", args.snr)
    return simulate_dataset(
        args.output,
        seed=args.seed,
        tomogram_shape=(z, y, x),
        tomograms=args.tomograms,
        particles_per_class=args.particles,
        subvolumes_per_class=args.subvolumes,
        snr=snr,
        progress=args.progress,
        **_model(args),
    )


def _model(args: argparse.Namespace) -> dict[str, Any]:
    from tomotwin_lib.networks.configuration import read_configuration

    if args.netconfiguration is None:
        return {}
    path = Path(args.netconfiguration)
    return {"model_name": path.stem, "model_configuration": read_configuration(path)}


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
    if not dataset.training.is_dir():
        return pictures
    files = find_volumes([dataset.training])
    # A picture of a few, taken evenly from all kinds, which follow each other in the list.
    some = files[:: max(1, len(files) // 40)][:40]
    gallery = subvolume_gallery(
        [(path.name, read_subvolume(path)) for path in some], title="Training subvolumes"
    )
    return [*pictures, save_figure(dataset.folder / "subvolumes.png", gallery)]
