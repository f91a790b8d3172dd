"""Whether "at most so many false picks" is kept: a limit is promised, and what was picked is counted.

The promise is made for each tomogram from the others of its noise level (:mod:`tomotwin_lib.calibration`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.comparison.picking import Picked
from tomotwin_lib.calibration import calibrated, keep_expected, measure_background
from tomotwin_lib.reference_matching import match_references

LIMITS = (0.01, 0.05, 0.2)
"""Shares of false picks that are promised."""

_RESAMPLES = 2000


def promises(
    snr: float, picked: Mapping[str, Picked], truths: Mapping[str, pd.DataFrame], box_sizes: Mapping[str, int]
) -> pd.DataFrame:
    """What became of each limit, over all references and tomograms of a noise level.

    Parameters
    ----------
    picked, truths : by tomogram, at least two.

    Returns
    -------
    Columns snr; limit; picks that were kept; false, their share that is (a pick is right as in
    :func:`~tomotwin_lib.evaluation.evaluate_positions`); low and high, the 95 % bootstrap interval of that
    share over tomograms; recall, the share of particles that the picks find.
    """
    rows = []
    expected = {name: _calibrated_by_others(name, picked, truths, box_sizes) for name in picked}
    for limit in LIMITS:
        counts = np.array(
            [
                _counts(keep_expected(picks, limit, name), truths[name], box_sizes)
                for name, picks in expected.items()
            ],
            dtype=float,
        )
        kept, false, particles = counts.sum(axis=0)
        drawn = np.random.default_rng(0).integers(len(counts), size=(_RESAMPLES, len(counts)))
        resampled = counts[drawn].sum(axis=1)
        shares = resampled[:, 1] / np.maximum(resampled[:, 0], 1)
        low, high = np.quantile(shares, (0.025, 0.975))
        rows.append((snr, limit, int(kept), false / max(kept, 1), low, high, (kept - false) / particles))
    return pd.DataFrame(rows, columns=["snr", "limit", "picks", "false", "low", "high", "recall"])


def promises_table(kept: pd.DataFrame) -> str:
    """Markdown of what :func:`promises` returned, with a column method."""
    lines = [
        "| SNR | method | promised | false among the picks | picks | particles found |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.snr:g} | {row.method} | at most {row.limit:.0%} | "
        f"{row.false:.1%} ({row.low:.1%}–{row.high:.1%}) | {row.picks:,} | {row.recall:.0%} |"
        for row in kept.itertuples()
    ]
    return "\n".join(lines)


def _calibrated_by_others(
    name: str, picked: Mapping[str, Picked], truths: Mapping[str, pd.DataFrame], box_sizes: Mapping[str, int]
) -> pd.DataFrame:
    """The picks of one tomogram with what to expect of them by all others."""
    others = [(picked[other].picks, truths[other]) for other in picked if other != name]
    return calibrated(picked[name].picks, measure_background(others, box_sizes), name)


def _counts(picks: pd.DataFrame, truth: pd.DataFrame, box_sizes: Mapping[str, int]) -> Sequence[int]:
    """Picks, false picks and particles of one tomogram."""
    right = sum(len(own.matching.matches()[1]) for own in match_references(picks, truth, box_sizes))
    return len(picks), len(picks) - right, len(truth)
