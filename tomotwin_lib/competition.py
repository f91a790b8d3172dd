"""Who wins a maximum of the similarity: the reference, or a rival that is more similar there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tomotwin_lib.errors import InputError
from tomotwin_lib.products import FloatArray, IntArray, SimilarityMap
from tomotwin_lib.references import negatives_among, protein_of

DROPPED = "dropped"
"""The attribute of picks that tells, by reference and rival, how many maxima the rival took."""


class Competition:
    """The references of a map as rivals of each other.

    Parameters
    ----------
    similarity : the map. Its negatives are rivals of all targets.
    among_targets : whether targets of different proteins are rivals too.

    Attributes
    ----------
    targets : the columns of the map whose particles are looked for, rising.

    Raises
    ------
    InputError
        If every reference is a negative.
    """

    def __init__(self, similarity: SimilarityMap, *, among_targets: bool = False) -> None:
        self._similarity = similarity
        self._among_targets = among_targets
        names = similarity.references
        negative = set(negatives_among(names, similarity.attributes))
        self._negatives = [column for column, name in enumerate(names) if name in negative]
        self.targets = [column for column, name in enumerate(names) if name not in negative]
        if names and not self.targets:
            raise InputError(
                "similarity map", f"all of its references are negatives: {', '.join(names)}",
                "Map with a reference of what is looked for",
            )  # fmt: skip

    def rivals(self, target: int) -> list[int]:
        """The columns that a target competes with."""
        if not self._among_targets:
            return self._negatives
        names = self._similarity.references
        own = protein_of(names[target])
        return self._negatives + [column for column in self.targets if protein_of(names[column]) != own]

    def outcome(
        self, target: int, peaks: IntArray, values: FloatArray
    ) -> tuple[npt.NDArray[np.bool_], dict[str, int]]:
        """Which maxima of a target stay its own, and who took the others.

        Parameters
        ----------
        target : its column.
        peaks : (peak,) where the maxima are, as flat indices into the map's grid.
        values : (peak,) the similarity to the target there.

        Returns
        -------
        (peak,) whether no rival is more similar, and by rival how many maxima it took, the most similar rival
        of each; rivals that took none are left out.
        """
        rivals, sites = self.rivals(target), self._similarity.sites
        if not rivals or not len(peaks):
            return np.ones(len(peaks), dtype=bool), {}
        rows = peaks if sites is None else np.searchsorted(sites, peaks)
        theirs = np.asarray(self._similarity.values[rows], dtype=np.float32)[:, rivals]
        # A rival without a value there, which is no number, takes nothing.
        theirs = np.where(np.isnan(theirs), -np.inf, theirs)
        stays = theirs.max(axis=1) <= values
        winners = Counter(np.array(rivals)[theirs.argmax(axis=1)][~stays].tolist())
        names = self._similarity.references
        return stays, {names[column]: count for column, count in sorted(winners.items())}


def dropped_by_kind(dropped: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    """What ``attrs["dropped"]`` of picks tells, with the rivals of one kind together.

    Returns
    -------
    Rows of reference, kind (:func:`~tomotwin_lib.references.protein_of`) and number of maxima; the kind that
    took most first.
    """
    rows: list[tuple[str, str, int]] = []
    for reference, taken in dropped.items():
        kinds: Counter[str] = Counter()
        for rival, count in taken.items():
            kinds[protein_of(rival)] += count
        rows += [(reference, kind, count) for kind, count in kinds.most_common()]
    return rows
