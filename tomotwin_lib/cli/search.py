"""``tomotwin search``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tomotwin_lib.cli.output import number, print_table, report_paths, say, warn
from tomotwin_lib.cli.parsing import add_device, add_progress
from tomotwin_lib.files import ensure_writable_folder

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SUMMARY = "Search for the configuration that trains best. The same command again goes on with the search."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "-v", "--volpath", required=True, metavar="FOLDER", help="training subvolumes, as of train"
    )
    parser.add_argument(
        "--validvolumes", metavar="FOLDER",
        help="validation subvolumes, likewise (default: a fifth of each class of the training subvolumes, "
        "the same in all trials)",
    )  # fmt: skip
    parser.add_argument(
        "-p", "--pdbpath", metavar="FOLDER", help="densities that subvolumes are compared with, as of train"
    )
    parser.add_argument(
        "-o", "--outpath", required=True, metavar="FOLDER",
        help="for the study: a folder of its name with one for each trial, and its database",
    )  # fmt: skip
    parser.add_argument(
        "-c", "--optuna_config", required=True, metavar="JSON",
        help='network configuration in which any value may be left open, such as {"suggest_float": '
        '{"low": 1e-5, "high": 1e-3, "log": true}} (suggest_int, suggest_categorical with choices), and '
        'the section "optuna": {"target": "VAL_LOSS", "minmax": "minimize"} (F1, F1_AT_VAL_LOSS; prune, '
        "n_warmup, epochs, STORAGE)",
    )  # fmt: skip
    parser.add_argument("-sn", "--name", required=True, metavar="NAME", help="of the study")
    parser.add_argument(
        "-n", "--ntrials", type=int, default=100, metavar="N",
        help="trials in total, those of earlier calls included",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=int, metavar="N",
        help="passes of each trial through the training subvolumes (default: what the configuration says, "
        "else 10)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, help="of what is tried, and of each trial as that of train"
    )
    add_device(parser)
    add_progress(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Search."""
    ensure_writable_folder(args.outpath)
    from tomotwin_lib.training.roles import assign_roles
    from tomotwin_lib.training.search import search
    from tomotwin_lib.training.search_report import COLUMNS
    from tomotwin_lib.training.search_space import read_search_space
    from tomotwin_lib.training.settings import TrainSettings

    space = read_search_space(args.optuna_config)
    if args.pdbpath is not None:
        _, example = next(space.examples())
        settings = TrainSettings.from_configuration(example, space.source)
        for note in assign_roles(settings, args.volpath, args.validvolumes, args.pdbpath).notes():
            warn(note)
    result = search(
        space,
        args.volpath,
        args.validvolumes,
        args.outpath,
        name=args.name,
        trials=args.ntrials,
        densities=args.pdbpath,
        epochs=args.epochs,
        device=args.device,
        seed=args.seed,
        progress=args.progress,
        on_trial=_tell,
        on_note=warn,
    )
    parameters = [name for name in result.trials.columns if name not in COLUMNS]
    print_table(
        f"study {args.name}, {space.study.target}",
        ["trial", "state", "value", "epochs", *parameters],
        (
            [str(row["trial"]), row["state"], number(row["value"], 4), str(row["epochs"])]
            + [f"{row[name]:.4g}" if isinstance(row[name], float) else str(row[name]) for name in parameters]
            for _, row in result.trials.iterrows()
        ),
    )
    say(f"best: trial {result.best_trial}")
    report_paths([result.best_configuration, result.trials_file, result.picture])


def _tell(trial: FrozenTrial) -> None:
    """Say how a trial ended."""
    value = "" if trial.value is None else f", {trial.value:.4f}"
    say(f"trial {trial.number}: {trial.state.name.lower()}{value}")
    if "error" in trial.user_attrs:
        warn(trial.user_attrs["error"])
