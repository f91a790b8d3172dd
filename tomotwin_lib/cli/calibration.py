"""The options that keep the share of false picks within a limit, and what is printed of it."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from tomotwin_lib.cli.output import number, print_table, warn
from tomotwin_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tomotwin_lib.calibration import Calibration

_BY_SIMILARITY = "choose by similarity, without --max_false_picks (`tomotwin pick --minmetric`)"


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
        _say_which_are_unknown(picks, calibration, args)
    if args.max_false_picks is not None:
        within = keep_expected(picks, args.max_false_picks, source)
        _say_which_keep_none(picks, within, calibration, args.max_false_picks)
        picks = within
    if SHARE in picks.columns and EXPECTED in picks.columns and calibration is not None:
        rows = [
            (str(row["reference"]), number(int(row["picks"])), number(float(row["lowest"])),
             number(float(row[EXPECTED]), 1))
            for row in calibration_table(picks).to_dict("records")
        ]  # fmt: skip
        header = ("reference", "picks", "lowest similarity", "expected false")
        print_table("False picks to expect", header, rows)
    return picks


def _say_which_are_unknown(picks: pd.DataFrame, calibration: Calibration, args: argparse.Namespace) -> None:
    """Name the references with picks of which the calibration knows nothing, and what becomes of them."""
    from tomotwin_lib.calibration import least_shares

    table = least_shares(picks)
    unknown = table[(table["picks"] > 0) & ~table["reference"].isin(list(calibration.backgrounds))]
    if unknown.empty:
        return
    fate = "are all dropped" if (args.max_false_picks or 1) < 1 else "all have the share 1"
    warn(
        f"{args.calibration} knows nothing of {', '.join(unknown['reference'])}: their "
        f"{unknown['picks'].sum():,} picks, of which nothing can be promised, {fate}. Make a calibration "
        f"from tomograms whose ground truth holds their classes, or {_BY_SIMILARITY}"
    )


def _say_which_keep_none(
    picks: pd.DataFrame, kept: pd.DataFrame, calibration: Calibration | None, limit: float
) -> None:
    """For each reference that loses all its picks to the limit, say which limit leaves some."""
    from tomotwin_lib.calibration import SHARE, least_shares

    with_picks = set(kept["predicted_class"])
    for index, row in enumerate(least_shares(picks).to_dict("records")):
        name = str(row["reference"])
        unknown = calibration is not None and name not in calibration.backgrounds  # told by another note
        if not row["picks"] or index in with_picks or unknown:
            continue
        more = "a calibration from more tomograms"
        if calibration is not None:
            more += f" than these {calibration.backgrounds[name].tomograms}"
        # Rounded up, so that the share that is named does leave some.
        enough = math.ceil(row[SHARE] * 1000) / 1000
        promise = f"a share of at least {enough:g}" if enough < 1 else "no share"
        remedy = f"Give {enough:g} or more" if enough < 1 else _BY_SIMILARITY.capitalize()
        warn(
            f"{name}: --max_false_picks {limit:g} leaves none of its {row['picks']:,} picks, of which "
            f"{promise} of false ones can be promised. {remedy}, or {more}"
        )
