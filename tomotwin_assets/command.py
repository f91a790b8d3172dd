"""``tomotwin-platform``: the asset platform from the shell."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence

from rich.markup import escape
from rich_argparse import RichHelpFormatter

from tomotwin_assets.progress import console
from tomotwin_assets.settings import DATA_VARIABLE, FILE
from tomotwin_lib.errors import InputError

DESCRIPTION = f"""\
Picks particles in all tomograms of a data folder with all its networks, keeps the history, and shows it.

The data folder holds tomograms/*.mrc and references/*.mrc, and where there are any models/*.json (to train)
or *.pth (to import), subvolumes/train, subvolumes/valid and ground_truth/. The network that ships is the
model default. The folder is named by {DATA_VARIABLE} or by data = "…" in {FILE}; without either, ./data/demo
is taken where it exists. Results go to products/.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 if something failed, 2 for bad input, 130 if interrupted."""
    options = _parser().parse_args(arguments)
    quiet()
    try:
        # Dagster takes seconds to import: not before the options have been read. And the graph reads the
        # settings files when it is imported.
        from tomotwin_assets import actions

        return int(options.action(actions, options))
    except InputError as error:
        console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("Interrupted; what was finished is kept.")
        return 130


def _demo(_actions: object, options: argparse.Namespace) -> int:
    from tomotwin_assets.demo import run_demo

    return run_demo(train=options.train)


def quiet() -> None:
    """Keep the libraries' own messages off the shell."""
    warnings.filterwarnings("ignore", module=r"dagster.*")
    logging.getLogger("dagster").setLevel(logging.ERROR)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tomotwin-platform", description=DESCRIPTION, formatter_class=RichHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    register = _command(commands, "register", "look into the data folder and register models and tomograms")
    register.set_defaults(action=lambda actions, options: actions.register())

    run = _command(commands, "run", "make what is not up to date, for all or some models and tomograms")
    run.add_argument(
        "--model", action="append", metavar="NAME", help="this model; may be given more than once"
    )
    run.add_argument(
        "--tomogram", action="append", metavar="NAME", help="this tomogram; may be given more than once"
    )
    run.add_argument(
        "--all", action="store_true", help="all models and tomograms (default where none is named)"
    )
    run.add_argument("--force", action="store_true", help="make everything again, up to date or not")
    run.set_defaults(
        action=lambda actions, options: actions.run(
            None if options.all else options.model,
            None if options.all else options.tomogram,
            force=options.force,
        )
    )

    status = _command(commands, "status", "show what is up to date, and the leaderboard")
    status.set_defaults(action=lambda actions, options: actions.status())

    promote = _command(commands, "promote", "put a model into production, or go back to the one before")
    promote.add_argument("model", nargs="?", default="", metavar="NAME", help="the model; it must be trained")
    promote.add_argument("--why", default="", metavar="TEXT", help="the reason, which the record keeps")
    promote.add_argument(
        "--by", default="", metavar="NAME", help="who promotes it (default: the user of this shell)"
    )
    promote.add_argument(
        "--roll-back", action="store_true", help="the promotion before the current one, with its thresholds"
    )
    promote.set_defaults(
        action=lambda actions, options: actions.promote(
            options.model, options.why, options.by, roll_back=options.roll_back
        )
    )

    ui = _command(commands, "ui", "open Dagster's web interface on the same history")
    ui.add_argument("--port", type=int, default=3000, help="port of the web server (default: %(default)s)")
    ui.add_argument("--host", default="127.0.0.1", help="address it listens on (default: %(default)s)")
    ui.set_defaults(action=lambda actions, options: actions.ui(options.host, options.port))

    demo = _command(
        commands,
        "demo",
        "simulate a small data set under data/demo and pick it with the network that ships",
    )
    demo.add_argument(
        "--train", action="store_true", help="also train a small network on the data set, which takes minutes"
    )
    demo.set_defaults(action=_demo)
    return parser


def _command(commands: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
    return commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", formatter_class=RichHelpFormatter
    )


if __name__ == "__main__":
    sys.exit(main())
