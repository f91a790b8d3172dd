"""``tomotwin train`` and ``tomotwin_train.py``."""

from __future__ import annotations

import argparse

from tomotwin_lib.cli.output import report_paths, say, warn
from tomotwin_lib.cli.parsing import add_device, add_progress
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
        "--validvolumes", metavar="FOLDER",
        help="validation subvolumes, likewise (default: a fifth of each class of the training subvolumes, "
        "which are not trained on then)",
    )  # fmt: skip
    parser.add_argument(
        "-p", "--pdbpath", metavar="FOLDER",
        help="densities that subvolumes are compared with: MRC cubes of at most 37 voxels, protein bright, "
        "voxels as large as those of the subvolumes, labels in the names (default: subvolumes are compared "
        "with each other)",
    )  # fmt: skip
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
        "--max_neg", type=int, metavar="N",
        help="negatives for each anchor in a batch, chosen at random (default: all subvolumes of other "
        "classes in the batch)",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", metavar="PTH",
        help="go on from the latest.pth of an interrupted run, of TomoTwin too; --epochs counts from the "
        "beginning of that run",
    )  # fmt: skip
    parser.add_argument(
        "--start", metavar="MODEL",
        help="begin with the weights of this network rather than with random ones: a checkpoint of the same "
        "configuration of the network, or the name of one that ships, such as default",
    )  # fmt: skip
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
    parser.add_argument(
        "--seed", type=int, metavar="N",
        help="of weights, batches, augmentation and what is set aside for validation (default: 0, or with "
        "--checkpoint that of its run)",
    )  # fmt: skip
    parser.add_argument(
        "--max-minutes", type=float, metavar="MINUTES", help="stop after so much time (default: no limit)"
    )
    add_device(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train."""
    ensure_writable_folder(args.outpath)
    from tomotwin_lib.networks.configuration import check_configuration, read_configuration
    from tomotwin_lib.training.metric_parts import LOSSES
    from tomotwin_lib.training.roles import assign_roles
    from tomotwin_lib.training.settings import TrainSettings
    from tomotwin_lib.training.trainer import train

    configuration = read_configuration(args.netconfiguration)
    if args.distance is not None:
        configuration["distance"] = args.distance
        check_configuration(configuration, "-d/--distance")
    settings = TrainSettings.from_configuration(configuration, str(args.netconfiguration))
    if args.pdbpath is not None:
        for note in assign_roles(settings, args.volpath, args.validvolumes, args.pdbpath).notes():
            warn(note)
    if args.max_neg is not None and LOSSES[settings.loss].by_class:
        warn(f"--max_neg {args.max_neg} changes nothing: {settings.loss} compares with no negatives")
    elif args.max_neg is not None and settings.miner_name is not None:
        warn(f"--max_neg {args.max_neg} changes nothing: the {settings.miner_name} chooses the negatives")
    result = train(
        configuration,
        args.volpath,
        args.validvolumes,
        args.outpath,
        epochs=args.epochs,
        device=args.device,
        seed=args.seed,
        densities=args.pdbpath,
        max_negatives=args.max_neg,
        resume_from=args.checkpoint,
        start_from=args.start,
        max_minutes=args.max_minutes,
        save_after_improvement=args.save_after_improvement,
        overwrite=args.overwrite,
        progress=args.progress,
        on_note=warn,
    )
    history = result.history
    if len(history):
        say(
            f"{len(history)} epoch{'' if len(history) == 1 else 's'}, "
            f"lowest validation loss {history['valid_loss'].min():.4f}, "
            f"highest validation F1 {history['valid_f1'].max():.4f}"
        )
    extras = sorted(result.folder.glob("best_model_*.pth")) if args.save_after_improvement else []
    best = [path for path in (result.best_loss, result.best_f1) if path is not None]
    report_paths(
        [*best, result.final, *extras]
        + [result.folder / name for name in ("latest.pth", "history.csv", "training_curve.png")]
    )
