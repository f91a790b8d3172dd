"""``tomotwin train_on_tomograms``."""

from __future__ import annotations

import argparse

from tomotwin_lib.cli.output import report_paths, say, warn
from tomotwin_lib.cli.parsing import add_device, add_progress
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

SUMMARY = "Train a network on whole tomograms whose particles are known, or on simulated ones."

_SIMULATING = ("structures", "exclude", "made_up", "tomogram_count")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "-t", "--tomograms", metavar="FOLDER",
        help="a folder as `tomotwin simulate` writes it: tomograms/*.mrc, protein dark, ground_truth/*.txt "
        "with lines of class X Y Z, and if there are any, class masks beside them",
    )  # fmt: skip
    source.add_argument(
        "--simulate", metavar="FOLDER",
        help="tomograms made on the spot, of proteins, made-up molecules and built-in shapes, and kept in "
        "this folder; those that it holds are not made again",
    )  # fmt: skip
    parser.add_argument(
        "--subvolumes", nargs="+", metavar="PATH",
        help="subvolumes, or folders of them, to train on too: protein bright, a particle in the middle of "
        "each, its label in the file's name; labels of both kinds of data that are alike are one class",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--outpath", required=True, metavar="FOLDER", help="for the network, its losses and their curve"
    )
    parser.add_argument(
        "-c", "-nc", "--netconfiguration", default="on_tomograms", metavar="JSON",
        help="which network to train, and how: a file, whose train_config may name values of the recipe, or "
        "the name of one that ships",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, metavar="MINUTES", help="how long to train (default: 60)")
    parser.add_argument(
        "--steps", type=int, metavar="N",
        help="stop after so many batches; the same seed and number give the same network on a CPU",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of weights, batches, noise, and of --simulate"
    )
    parser.add_argument(
        "--start",
        metavar="PTH",
        help="begin with the weights of this network, of the same network_config or a width that goes into "
        "it: its checkpoint, or the name of one that ships, such as default",
    )
    parser.add_argument(
        "--negatives", nargs="+", default=[], metavar="CLASS",
        help="with --tomograms: classes of the ground truth that are no particles, such as fiducial",
    )  # fmt: skip
    simulating = parser.add_argument_group("with --simulate")
    simulating.add_argument(
        "--structures", metavar="FOLDER",
        help="density maps (MRC) and atomic models (PDB, mmCIF), with a label such as a PDB code in their "
        "names (default: made-up molecules and built-in shapes alone)",
    )  # fmt: skip
    simulating.add_argument(
        "--exclude", nargs="+", metavar="LABEL", help="structures to leave out, such as those to test with"
    )
    simulating.add_argument("--made_up", type=int, metavar="N", help="made-up molecules (default: 200)")
    simulating.add_argument(
        "--tomogram_count", type=int, metavar="N", help="number of tomograms (default: 80)"
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true", help="go on with the training in --outpath that was cut off"
    )
    again.add_argument("--overwrite", action="store_true", help="replace an earlier training in --outpath")
    add_device(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train."""
    from tomotwin_lib.networks.configuration import read_configuration
    from tomotwin_lib.training.centred_subvolumes import read_centred_subvolumes
    from tomotwin_lib.training.labelled_folder import read_labelled_tomograms
    from tomotwin_lib.training.recipe import Recipe
    from tomotwin_lib.training.simulated_pool import simulated_pool
    from tomotwin_lib.training.tomogram_training import (
        FEW_STEPS,
        network_to_train,
        require_budget,
        require_place,
        train_on_tomograms,
    )

    minutes = 60.0 if args.minutes is None and args.steps is None else args.minutes
    configuration = read_configuration(args.netconfiguration, Recipe.from_configuration)
    # Before tomograms are made or read for minutes.
    require_budget(minutes, args.steps, args.seed)
    require_place(ensure_writable_folder(args.outpath), args.resume, args.overwrite)
    _check_source(args)
    network_to_train(configuration, args.start)
    subvolumes = (
        [] if args.subvolumes is None else read_centred_subvolumes(args.subvolumes, progress=args.progress)
    )
    if args.simulate is None:
        tomograms = read_labelled_tomograms(args.tomograms, args.negatives, progress=args.progress)
    else:
        tomograms = simulated_pool(
            args.simulate,
            80 if args.tomogram_count is None else args.tomogram_count,
            structures=args.structures,
            exclude=args.exclude or (),
            made_up=200 if args.made_up is None else args.made_up,
            seed=args.seed,
            progress=args.progress,
        )
    result = train_on_tomograms(
        configuration,
        tomograms,
        args.outpath,
        subvolumes=subvolumes,
        minutes=minutes,
        steps=args.steps,
        seed=args.seed,
        device=args.device,
        start=args.start,
        resume=args.resume,
        overwrite=args.overwrite,
        progress=args.progress,
    )
    last = result.steps.iloc[-1]
    say(
        f"{int(last['step']):,} batches in {last['seconds'] / 60:.1f} minutes, last losses "
        f"{last['pairs']:.3f} (pairs) and {last['proxies']:.3f} (proxies)"
    )
    report_paths([result.network, result.table, result.curve])
    if last["step"] < FEW_STEPS:
        warn(
            f"after {int(last['step'])} batches a network has hardly learnt; give it at least {FEW_STEPS} by "
            "more --minutes or --steps; an hour (the default) gives a useful one"
        )
    say(f"next: tomotwin embed tomogram -v TOMOGRAM.mrc -m {result.network} -o FOLDER")


def _check_source(args: argparse.Namespace) -> None:
    """Refuse options that belong to the other source of tomograms."""
    if args.simulate is None:
        given = [name for name in _SIMULATING if getattr(args, name) is not None]
        if given:
            raise InputError(f"--{given[0]}", "it belongs to --simulate", "Give --simulate, or leave it out")
    elif args.exclude and args.structures is None:
        raise InputError(
            "--exclude", "it leaves out structures, and there are none", "Give --structures, or leave it out"
        )
    elif args.negatives:
        raise InputError("--negatives", "it belongs to --tomograms", "Leave it out")
