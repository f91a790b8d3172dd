"""The option that takes limits from another tomogram's scores, and what was taken."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from tomotwin_lib.cli.output import number, print_table


def add_limits(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add ``--limits``."""
    parser.add_argument(
        "--limits", metavar="JSON",
        help=f"{purpose} the limits of an evaluation_optim_dict.json that `tomotwin evaluate positions "
        "--optim` wrote for another tomogram. Each reference gets its own, else the median over the "
        "references of its class. Further limits that are given narrow these",
    )  # fmt: skip


def print_limits(limits: Iterable[tuple[str, float, int, int, str]]) -> None:
    """Print rows of reference, lowest similarity, smallest and largest size (0: none), and whose they are."""
    rows = [
        (reference, number(float(metric)), number(smallest), number(largest or None), origin)
        for reference, metric, smallest, largest, origin in limits
    ]
    print_table("Limits", ("reference", "similarity above", "size above", "size below", "limits of"), rows)
