"""How many false picks to expect at a similarity, from tomograms whose particles are known.

Similarities are no probabilities: what similarity the background of a tomogram reaches differs from reference
to reference. In tomograms whose particles are known (simulated ones, or a few picked by hand) every pick that
is none of them is a peak of the background, whatever it consists of: noise, other particles, membranes, a
particle beside its centre. Their number per volume above each similarity, carried over to the volume of
another tomogram, is the number of false picks to expect there. Divided by the number of picks that there
are, it is the share of false ones, as in target-decoy searches of mass spectra (Elias & Gygi, Nature Methods
2007). Two things keep few picks from promising too much: one false pick more than was seen is reckoned with
(Barber & Candès, Annals of Statistics 2015); and the number of picks is taken at the lower end of what chance
explains (Gehrels, ApJ 1986), since the cut-off is put where picks happen to be many.

The peaks' heights in one tomogram alone do not tell: a particle that resembles the target makes a hump as the
target does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammaincinv, ndtr

from tomotwin_lib.boxes import class_of_reference
from tomotwin_lib.errors import InputError
from tomotwin_lib.locating import LOCATING
from tomotwin_lib.products import FloatArray
from tomotwin_lib.reference_matching import match_references
from tomotwin_lib.references import CONTENTS

EXPECTED = "expected_false"
"""Column: false picks of the same reference to expect at this similarity or a higher one."""

SHARE = "false_share"
"""Column: the share of false picks to expect if this pick and all better ones of its reference are kept."""

# One standard deviation of a normal distribution, which a Poisson distribution's lower limit is named by.
_LOWER_END = ndtr(-1)

_REMEDY = (
    "Make it with `tomotwin evaluate tomograms` from picks of the same network and references, located alike"
)


@dataclass(frozen=True)
class Background:
    """The picks of one reference that were none of its particles, in tomograms whose particles are known.

    Attributes
    ----------
    similarities : (pick,) of the false picks of all tomograms, rising.
    voxels : volume of these tomograms together.
    tomograms : how many they are.
    lowest : similarity down to which there are picks; nothing is known below.
    """

    similarities: FloatArray
    voxels: float
    tomograms: int
    lowest: float

    def expected(self, similarity: FloatArray, voxels: float) -> FloatArray:
        """False picks to expect in so large a volume at each similarity (pick,) or above; NaN where unknown.

        As many as were seen and one more: what has not been seen may well come.
        """
        seen = len(self.similarities) - np.searchsorted(self.similarities, similarity, side="left")
        return np.where(similarity >= self.lowest, (seen + 1) * (voxels / self.voxels), np.nan)


@dataclass(frozen=True)
class Calibration:
    """The background of each reference.

    Attributes
    ----------
    backgrounds : by the reference's file name.
    model_md5 : of the network that made the picks; empty where unknown.
    contents : by the reference's file name an MD5 of what it was made of, where known.
    locating : how the picks were located, where known.
    """

    backgrounds: Mapping[str, Background]
    model_md5: str = ""
    contents: Mapping[str, str] = field(default_factory=dict)
    locating: Mapping[str, Any] = field(default_factory=dict)


def measure_background(
    tomograms: Sequence[tuple[pd.DataFrame, pd.DataFrame]], box_sizes: int | Mapping[str, int]
) -> Calibration:
    """Collect the false picks of each reference in tomograms whose particles are known.

    A pick is right as in :func:`~tomotwin_lib.evaluation.evaluate_positions`. In a tomogram whose ground
    truth does not hold a reference's class all picks of the reference count as false.

    Parameters
    ----------
    tomograms : picks and ground truth of each, as for ``evaluate_positions``; the picks as located, without
        limits, by the same network with the same settings.
    box_sizes : as there.

    Returns
    -------
    The background of each reference whose class is in the ground truth of one of them.

    Raises
    ------
    InputError
        If no reference's class is in a tomogram's truth, a box size is missing, the picks come from several
        networks or from different references of one name, were located in different ways, or do not tell
        their tomogram's shape.
    """
    false: dict[str, list[FloatArray]] = {}
    lowest: dict[str, float] = {}
    voxels: dict[str, float] = {}
    classes = {str(name) for _, truth in tomograms for name in truth["class"]}
    for picks, truth in tomograms:
        right = np.zeros(len(picks), dtype=bool)
        for own in match_references(picks, truth, box_sizes):
            right[own.rows[own.matching.matches()[1]]] = True
        metric, number = picks["metric_best"].to_numpy(np.float64), picks["predicted_class"].to_numpy()
        floor = float(metric.min()) if len(metric) else -np.inf
        for index, reference in enumerate(picks.attrs["references"]):
            if class_of_reference(reference, classes) is None:
                continue
            of_reference = number == index
            false.setdefault(reference, []).append(metric[of_reference & ~right])
            voxels[reference] = voxels.get(reference, 0.0) + volume_of_picks(picks)
            # Where one tomogram was located less deeply than the others, nothing is known below that.
            lowest[reference] = max(lowest.get(reference, -np.inf), floor)
    backgrounds = {
        reference: Background(
            np.sort(np.concatenate(own)), voxels[reference], len(own), max(lowest[reference], -1e9)
        )
        for reference, own in false.items()
    }
    tables = [picks for picks, _ in tomograms]
    return Calibration(backgrounds, _one_network(tables), _one_content(tables), _one_way(tables))


def calibrated(picks: pd.DataFrame, calibration: Calibration, source: str | Path) -> pd.DataFrame:
    """Picks with what to expect of them.

    Parameters
    ----------
    picks : as located, by the network of the calibration; their attributes tell the tomogram's shape.
    calibration : what :func:`measure_background` returned.
    source : its file, for complaints.

    Returns
    -------
    The same picks with the columns ``EXPECTED`` and ``SHARE`` (0 to 1, never falling from a better pick to a
    worse one of its reference). Below the similarities that the calibration knows they are NaN and 1, as for
    all picks of references that it does not know.

    Raises
    ------
    InputError
        If the calibration is another network's, knows none of the references or one of the same name and
        another content, the picks were located in another way, or the shape is not told.
    """
    md5 = str(picks.attrs.get("modelmd5", ""))
    if md5 and calibration.model_md5 and md5 != calibration.model_md5:
        raise InputError(source, "it was measured with another network than made these picks", _REMEDY)
    references = list(picks.attrs["references"])
    if not set(references) & set(calibration.backgrounds):
        known = ", ".join(calibration.backgrounds) or "none"
        raise InputError(
            source, f"it knows none of the references {', '.join(references)}, only {known}", _REMEDY
        )
    for reference, content in picks.attrs.get(CONTENTS, {}).items():
        if calibration.contents.get(reference, content) != content:
            raise InputError(source, f"it was measured with another {reference} than these picks", _REMEDY)
    if told := _differing(calibration.locating, picks.attrs.get(LOCATING, {})):
        raise InputError(
            source, f"it was measured with other settings than these picks were located with: {told}", _REMEDY
        )
    voxels = volume_of_picks(picks)
    metric, number = picks["metric_best"].to_numpy(np.float64), picks["predicted_class"].to_numpy()
    expected, share = np.full(len(picks), np.nan), np.ones(len(picks))
    for index, reference in enumerate(references):
        if reference in calibration.backgrounds:
            own = np.flatnonzero(number == index)
            expected[own] = calibration.backgrounds[reference].expected(metric[own], voxels)
            share[own] = _shares(metric[own], expected[own])
    found = picks.assign(**{EXPECTED: expected.astype(np.float32), SHARE: share.astype(np.float32)})
    found.attrs = dict(picks.attrs)
    return found


def keep_expected(picks: pd.DataFrame, max_false_picks: float, source: str | Path) -> pd.DataFrame:
    """Of each reference as many of its best picks as keep the expected share of false ones within a limit.

    Parameters
    ----------
    picks : what :func:`calibrated` returned.
    max_false_picks : the largest share of false picks, above 0 and up to 1; expected, so that one tomogram
        may have somewhat more and another fewer.
    source : the picks' file, for complaints.

    Raises
    ------
    InputError
        If the share is out of range, or the picks are not calibrated.
    """
    check_share(max_false_picks)
    if SHARE not in picks.columns:
        raise InputError(
            source,
            "its picks do not tell what share is false",
            "Locate them with `tomotwin locate findmax … --calibration FILE`, where FILE is the "
            "calibration.json of `tomotwin evaluate tomograms`, or give --calibration FILE here",
        )
    # The column is in 32 bits: a share that equals the limit is within it.
    return picks[picks[SHARE].to_numpy() <= np.float32(max_false_picks)].reset_index(drop=True)


def check_share(max_false_picks: float) -> None:
    """Refuse what is no share of false picks; InputError."""
    if not 0 < max_false_picks <= 1:
        meant = f"Did you mean {max_false_picks / 100:g}? " if 1 < max_false_picks <= 100 else ""
        raise InputError(
            "--max_false_picks",
            f"{max_false_picks:g} is no share",
            f"{meant}Give a number above 0 up to 1, such as 0.05",
        )


def least_shares(picks: pd.DataFrame) -> pd.DataFrame:
    """The least share of false picks that some of each reference's picks keep to, one row a reference.

    Parameters
    ----------
    picks : what :func:`calibrated` returned.

    Returns
    -------
    Columns reference, picks and ``SHARE`` (NaN without a pick): a smaller ``max_false_picks`` keeps none.
    """
    rows = []
    for index, reference in enumerate(picks.attrs["references"]):
        own = picks.loc[picks["predicted_class"] == index, SHARE]
        rows.append((reference, len(own), float(own.min())))
    return pd.DataFrame(rows, columns=["reference", "picks", SHARE])


def calibration_table(picks: pd.DataFrame) -> pd.DataFrame:
    """What to expect of calibrated picks that were kept, one row a reference.

    Returns
    -------
    Columns reference, picks, lowest (similarity that was kept, NaN without a pick) and ``EXPECTED``.
    """
    rows = []
    for index, reference in enumerate(picks.attrs["references"]):
        own = picks[picks["predicted_class"] == index]
        worst = own["metric_best"].min() if len(own) else np.nan
        rows.append((reference, len(own), float(worst), float(own[EXPECTED].max()) if len(own) else 0.0))
    return pd.DataFrame(rows, columns=["reference", "picks", "lowest", EXPECTED])


def volume_of_picks(picks: pd.DataFrame) -> float:
    """Voxels of the tomogram that picks come from, as their attributes tell; InputError where they do not."""
    shape = picks.attrs.get("tomogram_input_shape")
    if shape is None or len(shape) != 3:
        raise InputError(
            "picks", "they do not tell the shape of their tomogram", "Embed, map and locate it again"
        )
    return float(np.prod([float(length) for length in shape]))


def _shares(metric: FloatArray, expected: FloatArray) -> FloatArray:
    """For each pick the least share of false ones among the picks down to it or to a worse one."""
    kept = len(metric) - np.searchsorted(np.sort(metric), metric, side="left")
    # The least of many shares is chosen; without the margin it is least where chance makes it so.
    counted = gammaincinv(np.maximum(kept, 1), _LOWER_END)
    share = np.where(np.isnan(expected), 1.0, np.minimum(expected / counted, 1.0))
    rising = np.argsort(metric, kind="stable")
    share[rising] = np.minimum.accumulate(share[rising])
    return share


def _one_network(pick_tables: Sequence[pd.DataFrame]) -> str:
    md5s = {str(picks.attrs["modelmd5"]) for picks in pick_tables if picks.attrs.get("modelmd5")}
    if len(md5s) > 1:
        raise InputError("picks", f"they come from {len(md5s)} networks", "Give picks of one network")
    return next(iter(md5s), "")


def _one_way(pick_tables: Sequence[pd.DataFrame]) -> dict[str, Any]:
    ways = [picks.attrs[LOCATING] for picks in pick_tables if LOCATING in picks.attrs]
    for way in ways[1:]:
        if told := _differing(ways[0], way):
            raise InputError(
                "picks", f"they were located with different settings: {told}", "Locate all of them alike"
            )
    return dict(ways[0]) if ways else {}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The settings that both tell and that differ."""
    return ", ".join(
        f"{name} {one[name]} and {other[name]}" for name in one if name in other and one[name] != other[name]
    )


def _one_content(pick_tables: Sequence[pd.DataFrame]) -> dict[str, str]:
    contents: dict[str, str] = {}
    for picks in pick_tables:
        for reference, content in picks.attrs.get(CONTENTS, {}).items():
            if contents.setdefault(reference, content) != content:
                raise InputError(
                    "picks", f"they come from different references called {reference}", "Give picks of one"
                )
    return contents
