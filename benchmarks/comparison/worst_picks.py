"""The worst false picks and misses of a method: where they are, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from tomotwin_lib.boxes import class_of_reference
from tomotwin_lib.picking import above
from tomotwin_lib.reference_matching import match_references

FALSE, MISS = "false pick", "miss"
NOTHING = "nothing"

COLUMNS = [
    "kind", "tomogram", "reference", "class", "X", "Y", "Z", "similarity", "threshold", "what", "nearest",
    "distance",
]  # fmt: skip

ANOTHER, OWN, THING = "another protein", "its own, again or off centre", "a distractor"
COUNTED = [ANOTHER, OWN, THING, NOTHING, MISS]
"""What :func:`fault_counts` counts: what lies where false picks are, and misses."""

_AGAIN = ", again or off centre"
_AROUND = 2  # voxels around a false pick that are searched for a distractor


def faults(
    name: str,
    picks: pd.DataFrame,
    truth: pd.DataFrame,
    thresholds: Mapping[str, float],
    box_sizes: Mapping[str, int],
    mask: npt.NDArray[np.integer],
    names: Mapping[int, str],
) -> pd.DataFrame:
    """All false picks and misses of one tomogram at the given thresholds.

    Parameters
    ----------
    name : of the tomogram.
    picks, truth, box_sizes : as for :func:`~tomotwin_lib.evaluation.evaluate_positions`; without limits.
    thresholds : by reference, the similarity that a pick has to be above; others are left out.
    mask, names : what lies at each voxel (z, y, x), and the meaning of its values; 0 is ice.

    Returns
    -------
    Columns ``COLUMNS``. ``nearest`` and ``distance`` (voxels): for a false pick the class of the nearest
    particle of any class; for a miss that of the nearest pick of any reference above its threshold. What lies
    at a false pick (``what``): its own protein, found already or too far from the centre, another protein
    within whose radius it lies, a kind of distractor, or nothing. For a miss: what the particle was taken for
    by a pick within its radius, its own reference's pick off its centre included, or nothing. ``similarity``
    of a miss is that of the best pick of its reference within its radius, NaN where there is none.
    """
    references = list(picks.attrs["references"])
    classes = truth["class"].astype(str).to_numpy()
    particles = truth[["X", "Y", "Z"]].to_numpy(np.float64)
    radii = np.array([box_sizes[one] / 2 for one in classes])
    centres = picks[["X", "Y", "Z"]].to_numpy(np.float64)
    numbers, metric = picks["predicted_class"].to_numpy(), picks["metric_best"].to_numpy(np.float64)
    kept = np.zeros(len(picks), dtype=bool)
    for number, reference in enumerate(references):
        if reference in thresholds:
            kept |= (numbers == number) & above(metric, thresholds[reference])
    class_of_pick = [class_of_reference(references[number], set(classes)) or "" for number in numbers]
    rows: list[tuple[object, ...]] = []
    for own in match_references(picks, truth, box_sizes):
        if own.reference not in thresholds:
            continue
        told = name, own.reference, own.class_name
        limit = thresholds[own.reference]
        found, match = own.matching.matches(kept[own.rows])
        wrong = kept[own.rows].copy()
        wrong[match] = False
        for row in own.rows[wrong]:
            distances = np.linalg.norm(particles - centres[row], axis=1)
            nearest = int(distances.argmin())
            hit = _particle_hit(distances / radii, classes, own.class_name)
            what = hit or _distractor(mask, names, centres[row], set(classes))
            rows.append(
                (FALSE, *told, *centres[row], metric[row], limit, what, classes[nearest], distances[nearest])
            )
        missed = np.ones(len(own.particles), dtype=bool)
        missed[found] = False
        radius = box_sizes[own.class_name] / 2
        tree = cKDTree(centres[kept]) if kept.any() else None
        for place in own.particles[missed]:
            near = np.linalg.norm(own.centres - place, axis=1) <= radius
            best = float(own.metric[near].max()) if near.any() else np.nan
            what, nearest_class, distance = NOTHING, NOTHING, np.nan
            if tree is not None:
                distance, at = (value.item() for value in map(np.asarray, tree.query(place)))
                nearest_class = class_of_pick[np.flatnonzero(kept)[at]]
                if distance <= radius:
                    same = nearest_class == own.class_name
                    what = f"{nearest_class}, off centre" if same else nearest_class
            rows.append((MISS, *told, *place, best, limit, what, nearest_class, distance))
    return pd.DataFrame(rows, columns=COLUMNS)


def fault_counts(table: pd.DataFrame, classes: Collection[str]) -> dict[str, int]:
    """How many faults of each kind ``COUNTED`` there are among those of :func:`faults`."""
    false = table.loc[table["kind"] == FALSE, "what"].astype(str)
    own = false.str.endswith(_AGAIN)
    another, nothing = false.isin(set(classes)), false == NOTHING
    counts = {ANOTHER: another, OWN: own, THING: ~(own | another | nothing), NOTHING: nothing}
    return {name: int(some.sum()) for name, some in counts.items()} | {
        MISS: int((table["kind"] == MISS).sum())
    }


def worst(table: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """The false picks furthest above, and the misses furthest below their thresholds; the worst first.

    Misses without any pick near come first, as they are below all.
    """
    excess = table["similarity"] - table["threshold"]
    wrong = excess[table["kind"] == FALSE].sort_values(ascending=False, kind="stable")
    missed = excess[table["kind"] == MISS].sort_values(kind="stable", na_position="first")
    return table.loc[[*wrong.index[:count], *missed.index[:count]]].reset_index(drop=True)


def _particle_hit(shares: npt.NDArray[np.float64], classes: npt.NDArray[np.object_], own: str) -> str | None:
    """What particle a pick lies in, by its distances in units of each particle's radius."""
    if not len(shares) or shares.min() >= 1:
        return None
    hit = str(classes[int(shares.argmin())])
    return f"{hit}{_AGAIN}" if hit == own else hit


def _distractor(
    mask: npt.NDArray[np.integer], names: Mapping[int, str], place: npt.NDArray[np.float64], classes: set[str]
) -> str:
    """The most frequent thing around a place (X, Y, Z) that is no particle, or ``NOTHING``."""
    z, y, x = (round(float(at)) for at in place[::-1])
    around = mask[tuple(slice(max(at - _AROUND, 0), at + _AROUND + 1) for at in (z, y, x))]
    values, counts = np.unique(around, return_counts=True)
    things = {
        names[int(value)]: int(count)
        for value, count in zip(values, counts, strict=True)
        if value != 0 and names[int(value)] not in classes
    }
    return max(things, key=lambda thing: things[thing]) if things else NOTHING
