"""The commands: ``tomotwin …``, and the names that TomoTwin gave them.

One parser serves both names. Commands import what they compute with when they run, so that help is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import tomotwin_lib
from tomotwin_lib.cli import (
    embed,
    evaluate,
    fetch,
    finetune,
    info,
    locate,
    pick,
    search,
    simulate,
    tools,
    train,
    train_on_tomograms,
)
from tomotwin_lib.cli import map as map_command
from tomotwin_lib.cli.output import EXIT_INPUT, guarded
from tomotwin_lib.cli.parsing import CommandParser

COMMANDS: dict[str, ModuleType] = {
    "simulate": simulate,
    "fetch": fetch,
    "train": train,
    "finetune": finetune,
    "train_on_tomograms": train_on_tomograms,
    "search": search,
    "embed": embed,
    "map": map_command,
    "locate": locate,
    "pick": pick,
    "evaluate": evaluate,
    "info": info,
    "tools": tools,
}


def build_parser() -> CommandParser:
    """The parser of ``tomotwin`` with all its commands; ``args.run`` is the function to call."""
    parser = CommandParser(
        prog="tomotwin",
        description="Pick particles in cryo-electron tomograms by deep metric learning: simulate or bring "
        "data, train a network, embed tomogram and references, compare, locate, pick, evaluate.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {tomotwin_lib.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=CommandParser)
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        module.add_arguments(command)
    return parser


def build_single_parser(prog: str, module: ModuleType) -> CommandParser:
    """The parser of one command under a name of its own."""
    parser = CommandParser(prog=prog, description=module.SUMMARY)
    module.add_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """``tomotwin``; returns the exit code."""
    return _dispatch(build_parser(), argv)


def train_main(argv: Sequence[str] | None = None) -> int:
    """``tomotwin_train.py``; returns the exit code."""
    return _dispatch(build_single_parser("tomotwin_train.py", train), argv)


def embed_main(argv: Sequence[str] | None = None) -> int:
    """``tomotwin_embed.py``; returns the exit code."""
    return _dispatch(build_single_parser("tomotwin_embed.py", embed), argv)


def map_main(argv: Sequence[str] | None = None) -> int:
    """``tomotwin_map.py``; returns the exit code."""
    return _dispatch(build_single_parser("tomotwin_map.py", map_command), argv)


def locate_main(argv: Sequence[str] | None = None) -> int:
    """``tomotwin_locate.py``; returns the exit code."""
    return _dispatch(build_single_parser("tomotwin_locate.py", locate), argv)


def pick_main(argv: Sequence[str] | None = None) -> int:
    """``tomotwin_pick.py``; returns the exit code."""
    return _dispatch(build_single_parser("tomotwin_pick.py", pick), argv)


def evaluate_main(argv: Sequence[str] | None = None) -> int:
    """``tomotwin_scripts_evaluate.py``; returns the exit code."""
    return _dispatch(build_single_parser("tomotwin_scripts_evaluate.py", evaluate), argv)


def tools_main(argv: Sequence[str] | None = None) -> int:
    """``tomotwin_tools.py``; returns the exit code."""
    return _dispatch(build_single_parser("tomotwin_tools.py", tools), argv)


def _dispatch(parser: CommandParser, argv: Sequence[str] | None) -> int:
    def run() -> int:
        args = parser.parse_args(argv)
        if not hasattr(args, "run"):
            parser.print_help()
            return EXIT_INPUT
        args.run(args)
        return 0

    return guarded(run)
