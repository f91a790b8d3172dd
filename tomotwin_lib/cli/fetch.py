"""``tomotwin fetch``: published data into a data folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.cli.output import print_table, report_paths, say, warn
from tomotwin_lib.cli.parsing import add_progress
from tomotwin_lib.errors import InputError
from tomotwin_lib.published.records import (
    GITHUB,
    GITHUB_VARIABLE,
    PUBLISHED,
    ZENODO,
    ZENODO_VARIABLE,
    Servers,
    published,
)

if TYPE_CHECKING:
    from tomotwin_lib.published.receipts import Fetched

SUMMARY = "Fetch published data into a data folder: training volumes, a tomogram to evaluate with, weights."

_MANY = 20
"""More files than these are told by their folders."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    names = "; ".join(f"{data.name}: {data.what}" for data in PUBLISHED.values())
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help=f"what to fetch. {names}. The size of each download is said first. One that was interrupted "
        "is gone on with, and what is there already is not fetched again",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="DATA_FOLDER", help="the data folder; nothing in it is overwritten"
    )
    parser.add_argument(
        "--list", action="store_true",
        help="show what there is, with records, sizes and licences; fetch nothing",
    )  # fmt: skip
    add_progress(parser)
    parser.epilog = (
        f"The variables {ZENODO_VARIABLE} and {GITHUB_VARIABLE} can name mirrors of {ZENODO} and {GITHUB}."
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Fetch one after the other, or list what there is."""
    if args.list:
        _list()
        return
    if not args.names:
        raise InputError("tomotwin fetch", "no name is given", "`tomotwin fetch --list` shows what there is")
    for name in args.names:
        published(name)  # before the first long download
    if args.output is None:
        raise InputError("-o/--output", "no data folder is given", "Say where the data belong")
    # It imports what reads formats, which takes a while.
    from tomotwin_lib.published.fetching import fetch

    for name in dict.fromkeys(args.names):
        fetched = fetch(name, args.output, progress=args.progress, tell=say)
        if fetched.reused:
            say(f"{name}: was fetched before and is unchanged; nothing was downloaded")
        else:
            _report(Path(args.output), fetched)


def _report(folder: Path, fetched: Fetched) -> None:
    if len(fetched.files) > _MANY:
        report_paths(f"{folder / place} ({count:,} files)" for place, count in fetched.folders().items())
    else:
        report_paths(folder / file.path for file in fetched.files)
    if len(fetched.left_out) == 1:
        warn(f"1 file of the record was left out: {fetched.left_out[0]}")
    elif fetched.left_out:
        warn(f"{len(fetched.left_out):,} files of the record were left out, such as {fetched.left_out[0]}")
    licence = f", licence {fetched.licence}" if fetched.licence else ""
    say(f"{fetched.name}: {fetched.title} ({fetched.page}{licence})")


def _list() -> None:
    """What there is; records, sizes and licences as far as the server can be asked."""
    from tomotwin_lib.published.listing import list_files, size_text

    servers, rows, problem = Servers.from_environment(), [], None
    for data in PUBLISHED.values():
        record = str(data.record) if isinstance(data.record, int) else "–"
        licence, size = "–", "–"
        # One server holds all records: asking it again would only take another time to fail.
        if problem is None:
            try:
                listing = list_files(data, servers)
                licence, size = listing.licence or "–", size_text(listing.size)
            except InputError as error:
                problem = error
        rows.append((data.name, data.what, record, size, licence))
    print_table("Published data", ("name", "what it is", "Zenodo record", "size", "licence"), rows)
    if problem is not None:
        warn(str(problem))
