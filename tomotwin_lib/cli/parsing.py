"""How all commands parse their arguments and lay out their help. Imports nothing slow."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from rich_argparse import RichHelpFormatter

from tomotwin_lib.errors import InputError

_COMMAND = "_command"


class CommandFormatter(RichHelpFormatter):
    """Help in colour that says the default of every option that has one."""

    @staticmethod
    def group_name_formatter(name: str) -> str:  # type: ignore[override]  # a function kept in the class
        """A heading: str.title, the default, would capitalise options too, as in "With --Simulate"."""
        return name[:1].upper() + name[1:]

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        silent = action.default in (None, True, False, [], argparse.SUPPRESS) or not action.option_strings
        if text is None or silent or "(default" in text:
            return text
        default = action.default
        shown = " ".join(map(str, default)) if isinstance(default, list | tuple) else "%(default)s"
        return f"{text} (default: {shown})"


class CommandParser(argparse.ArgumentParser):
    """A parser whose complaints are one line, like those of the commands themselves."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", CommandFormatter)
        super().__init__(**options)
        # The innermost command's own name stays in the namespace, for complaints about what it does not know.
        self.set_defaults(**{_COMMAND: self.prog})

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments; unknown ones are complained about in the name of the innermost command.

        Raises
        ------
        InputError
            If the command line cannot be used.
        """
        parsed, unknown = self.parse_known_args(args, namespace)
        prog = getattr(parsed, _COMMAND)
        delattr(parsed, _COMMAND)
        if unknown:
            raise InputError(
                prog, f"unrecognized arguments: {' '.join(unknown)}", f"`{prog} --help` shows the options"
            )
        return parsed

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(self.prog, message, f"`{self.prog} --help` shows the options")


def add_model(parser: argparse.ArgumentParser, **options: Any) -> None:
    """The trained network that a command works with: a checkpoint, or a name."""
    told = "a trained network: its checkpoint, or the name of one that ships, such as default"
    parser.add_argument(
        "-m", "--modelpth", "--model", **{"required": True, "metavar": "MODEL", "help": told, **options}
    )


def add_device(parser: argparse._ActionsContainer) -> None:
    """Where the network is evaluated."""
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="auto (a GPU if there is one), cpu, cuda or cuda:<number>",
    )


def add_progress(parser: argparse.ArgumentParser) -> None:
    """The switch that silences progress bars; ``args.progress`` says whether to show them."""
    parser.add_argument(
        "--no-progress", dest="progress", action="store_false", default=True, help="show no progress bars"
    )


def add_locating(parser: argparse._ActionsContainer) -> None:
    """What counts as a maximum of the similarity."""
    parser.add_argument(
        "-t", "--tolerance", type=float, default=0.2, metavar="T",
        help="how far below its maximum a region may reach, in units of similarity",
    )  # fmt: skip
    parser.add_argument(
        "-g", "--global_min", type=float, default=0.5, metavar="MIN", help="lowest similarity of a maximum"
    )
    parser.add_argument(
        "--compete", action="store_true",
        help="let the references of different proteins compete: a maximum where another protein's reference "
        "is more similar is no pick (negatives compete always)",
    )  # fmt: skip


def add_references(parser: argparse._ActionsContainer) -> None:
    """What references are: several of one protein, and examples of what is no target."""
    parser.add_argument(
        "--combine", action="store_true",
        help="make one reference of all those of a protein, the mean of their directions: those whose file "
        "names hold one label, such as a PDB code, or differ only in a number at the end",
    )  # fmt: skip
    parser.add_argument(
        "--negatives", nargs="+", default=[], metavar="NAME",
        help="references that are examples of what is not looked for (membrane, gold, carbon, ice, another "
        "protein), beside those called negative_…: what is more similar to one of them than to its own "
        "reference is no pick",
    )  # fmt: skip


def add_box_sizes(parser: argparse._ActionsContainer, *flags: str, required_for: str) -> None:
    """Box sizes as one number or a file."""
    parser.add_argument(
        *flags,
        default="37",
        metavar="SIZE",
        help=f"edge of the particle's box in voxels, {required_for}: a number for all, or a JSON file "
        'from name to size such as {"1bxn": 19}',
    )
