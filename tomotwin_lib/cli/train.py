"""``tomotwin train`` and ``tomotwin_train.py``."""

from __future__ import annotations

import argparse

from tomotwin_lib.cli.output import report_paths, say, warn
from tomotwin_lib.cli.parsing import add_device, add_progress
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder

SUMMARY = "Train a network on a folder of labelled subvolumes."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "-v", "--volpath", required=True, metavar="FOLDER",
        help="training subvolumes: MRC files of 37³ voxels, protein bright, with the label (such as a PDB "
        "code) in the file name",
    )  # fmt: skip
    parser.add_argument(
        "--validvolumes", required=True, metavar="FOLDER", help="validation subvolumes, likewise"
    )
    parser.add_argument(
        "-p",
        "--pdbpath",
        metavar="FOLDER",
        help="densities as anchors: not available in this version, refused",
    )
    parser.add_argument(
        "-o", "--outpath", required=True, metavar="FOLDER", help="for checkpoints, history and logs"
    )
    parser.add_argument(
        "-nc",
        "--netconfiguration",
        required=True,
        metavar="JSON",
        help="which network to train, and how: a file, or the name of one that ships, fully_convolutional",
    )
    parser.add_argument(
        "--epochs", type=int, default=10, metavar="N", help="passes through the training subvolumes"
    )
    parser.add_argument(
        "--max_neg", type=int, default=1, metavar="N",
        help="negatives for each anchor, for TomoTwin's command lines; batches by class use every subvolume "
        "of another class as a negative, so other numbers make no difference",
    )  # fmt: skip
    parser.add_argument("--checkpoint", metavar="PTH", help="go on from the latest.pth of an interrupted run")
    parser.add_argument(
        "-d", "--distance", type=str.upper, metavar="NAME",
        help="COSINE, EUCLIDEAN, GEODESIC or SNR (default: what the configuration says, else COSINE)",
    )  # fmt: skip
    parser.add_argument(
        "--save_after_improvement", action="store_true",
        help="keep every improved network as best_model_NNN[_f1][_loss].pth, not only the best",
    )  # fmt: skip
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier training in the folder for checkpoints"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and augmentation")
    parser.add_argument(
        "--max-minutes", type=float, metavar="MINUTES", help="stop after so much time (default: no limit)"
    )
    add_device(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train."""
    if args.pdbpath is not None:
        raise InputError(
            "-p/--pdbpath",
            f"training with densities ({args.pdbpath}) as anchors is not available in this version",
            "Leave the option out: anchors and positives then come from the subvolumes of -v",
        )
    if args.max_neg < 1:
        raise InputError("--max_neg", f"{args.max_neg} is no number of negatives", "Give 1 or more")
    ensure_writable_folder(args.outpath)
    from tomotwin_lib.networks.configuration import check_configuration, read_configuration
    from tomotwin_lib.training.trainer import train

    configuration = read_configuration(args.netconfiguration)
    if args.distance is not None:
        configuration["distance"] = args.distance
        check_configuration(configuration, "-d/--distance")
    if args.max_neg != 1:
        warn(f"--max_neg {args.max_neg} changes nothing: a batch offers each anchor all of its other classes")
    result = train(
        configuration,
        args.volpath,
        args.validvolumes,
        args.outpath,
        epochs=args.epochs,
        device=args.device,
        seed=args.seed,
        resume_from=args.checkpoint,
        max_minutes=args.max_minutes,
        save_after_improvement=args.save_after_improvement,
        overwrite=args.overwrite,
        progress=args.progress,
    )
    history = result.history
    if len(history):
        say(
            f"{len(history)} epoch{'' if len(history) == 1 else 's'}, "
            f"lowest validation loss {history['valid_loss'].min():.4f}, "
            f"highest validation F1 {history['valid_f1'].max():.4f}"
        )
    extras = sorted(result.folder.glob("best_model_*.pth")) if args.save_after_improvement else []
    report_paths(
        [result.best_loss, result.best_f1, result.final, *extras]
        + [result.folder / name for name in ("latest.pth", "history.csv", "training_curve.png")]
    )
