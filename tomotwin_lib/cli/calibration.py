"""The options that keep the share of false picks within a limit, and what is printed of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tomotwin_lib.cli.output import number, print_table, warn
from tomotwin_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tomotwin_lib.calibration import Calibration


def add_calibration(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add ``--calibration`` and ``--max_false_picks``."""
    parser.add_argument(
        "--calibration", metavar="JSON",
        help="calibration.json of `tomotwin evaluate tomograms`, from tomograms whose particles are known "
        "(simulated ones will do if they look like yours), located with the same network, references and "
        "settings: how many false picks to expect at each similarity",
    )  # fmt: skip
    parser.add_argument(
        "--max_false_picks", type=float, metavar="SHARE",
        help=f"{purpose} of which at most this share is false, such as 0.05: expected, one tomogram has "
        "more and another fewer",
    )  # fmt: skip


def check_calibration(args: argparse.Namespace) -> Calibration | None:
    """Read the calibration that was given, ``None`` without one; refuse a share that is none."""
    from tomotwin_lib.calibration import check_share
    from tomotwin_lib.formats.calibration import read_calibration

    if args.max_false_picks is not None:
        check_share(args.max_false_picks)
        # Picks that were located with a calibration bring their shares along, a map brings none.
        if args.calibration is None and "map" in args:
            raise InputError(
                "--max_false_picks", "how often background reaches a similarity is not known",
                "Give --calibration, which `tomotwin evaluate tomograms` writes",
            )  # fmt: skip
    return None if args.calibration is None else read_calibration(args.calibration)


def keep_expected_picks(
    picks: pd.DataFrame, args: argparse.Namespace, calibration: Calibration | None, source: str
) -> pd.DataFrame:
    """Calibrate the picks and keep those that ``--max_false_picks`` asks for; print what to expect."""
    from tomotwin_lib.calibration import EXPECTED, SHARE, calibrated, calibration_table, keep_expected

    if calibration is not None:
        picks = calibrated(picks, calibration, args.calibration)
    if args.max_false_picks is not None:
        located = len(picks)
        picks = keep_expected(picks, args.max_false_picks, source)
        if located and not len(picks):
            warn(f"at most {args.max_false_picks:.3g} false picks leave none of {located:,}")
    if SHARE in picks.columns and EXPECTED in picks.columns and calibration is not None:
        rows = [
            (str(row["reference"]), number(int(row["picks"])), number(float(row["lowest"])),
             number(float(row[EXPECTED]), 1))
            for row in calibration_table(picks).to_dict("records")
        ]  # fmt: skip
        header = ("reference", "picks", "lowest similarity", "expected false")
        print_table("False picks to expect", header, rows)
    return picks
