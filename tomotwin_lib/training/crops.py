"""Crops of a tomogram for fine-tuning: what each position in them is, by the picks that there are.

A dense network embeds a crop at many positions for little more than its middle alone. Around a pick, the
middle is a positive and what lies off it a negative; elsewhere all is negative but what looks like a particle
that nobody picked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import KDTree

from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.half_turn_layers import HALF_TURNS
from tomotwin_lib.products import SimilarityMap

SITES = 7
"""Positions along each edge of a crop, two voxels apart as those of the networks."""

NEAR = 4.0
"""Distance from a pick, in voxels, below which a position is neither: similarity falls off gradually."""

UNKNOWN_PERCENTILE = 10
MOST_UNKNOWN = 0.02
HARD_SHARE = 0.05


@dataclass(frozen=True)
class Picked:
    """Picks in the part that is trained on.

    Attributes
    ----------
    positions : (pick, 3) z y x in voxels of the part; all that lie in it, those near the plane too.
    radii : (pick,) half of the box of each one's class, in voxels.
    anchors : rows of the picks that are trained on.
    labels : (pick,) number of the class.
    """

    positions: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]
    anchors: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]

    def anchors_of(self, label: int) -> npt.NDArray[np.int64]:
        """Rows of the picks of a class that are trained on."""
        return self.anchors[self.labels[self.anchors] == label]

    def windows(self, data: npt.NDArray[np.float32], edge: int) -> dict[int, npt.NDArray[np.float32]]:
        """Windows around the picks that are trained on, by label, rising.

        Parameters
        ----------
        data : (z, y, x) the part, continued by reflection; protein bright.
        edge : of a window, in voxels, odd.

        Returns
        -------
        (pick, edge, edge, edge) for each class, in the order of :meth:`anchors_of`.
        """
        padded = np.pad(data, edge // 2, mode="reflect")
        lows = np.rint(self.positions).astype(int)
        return {
            int(label): np.stack(
                [padded[tuple(slice(low, low + edge) for low in lows[row])] for row in self.anchors_of(label)]
            )
            for label in np.unique(self.labels[self.anchors])
        }


class Crops:
    """Draws crops from the part of a tomogram that is trained on.

    Parameters
    ----------
    data : (z, y, x), standardised, protein bright.
    picked : the picks in it.
    start : how similar its positions are to the references, by the network that is begun with; a reference
        for each class that is trained on, in the order of their labels.
    window, stride : of the network, in voxels.
    complete : every particle of these classes has been picked. Else the positions that are as similar to a
        reference as the picks are (above the 10th percentile of theirs, but no more than 2 % of all) are
        unknown: no negatives.

    Raises
    ------
    InputError
        If there is nothing between the picks' boxes.
    """

    def __init__(
        self,
        data: npt.NDArray[np.float32],
        picked: Picked,
        start: SimilarityMap,
        *,
        window: int,
        stride: int,
        complete: bool,
    ) -> None:
        self.edge = window + (SITES - 1) * stride
        self.margin = self.edge // 2 + 1
        self.shape = np.array(data.shape)
        self.data = np.pad(data, self.margin, mode="reflect")
        self.picked = picked
        self.offsets = np.stack(np.meshgrid(*(3 * [np.arange(SITES)]), indexing="ij"), -1)
        self.offsets = (self.offsets - SITES // 2) * stride
        self.tree = KDTree(picked.positions)
        self.grid = start.grid
        sites = self._grid_sites()
        similarity = np.stack([start.volume(k).reshape(-1) for k in range(len(start.references))], axis=1)
        outside = self._distances(sites)[1]
        if not outside.any():
            raise InputError("box sizes", "the boxes of the picks leave no background", "Give smaller ones")
        self.unknown = np.zeros(self.grid.shape, dtype=bool)
        if not complete:
            self.unknown = self._unknown(similarity, sites, outside).reshape(self.grid.shape)
        known = outside & ~self.unknown.reshape(-1)
        self.background = sites[known]
        best = similarity[known].max(axis=1)
        self.hard = np.argsort(best)[len(best) - max(round(HARD_SHARE * len(best)), 1) :]

    def around(self, row: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A crop around a pick, a voxel or none off its centre: see :meth:`_cut`."""
        centre = np.rint(self.picked.positions[row]).astype(int) + rng.integers(-1, 2, 3)
        return self._cut(np.clip(centre, 0, self.shape - 1), rng)

    def elsewhere(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A crop around a position without a pick, every other one of which resembles a reference."""
        number = rng.choice(self.hard) if rng.random() < 0.5 else rng.integers(len(self.background))
        return self._cut(self.background[number].astype(int), rng)

    def _cut(
        self, centre: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Voxels (edge, edge, edge), and which positions in it (site, site, site) are negatives.

        Both are turned by one of the half turns, which leave the missing wedge where it is.
        """
        low = centre + self.margin - self.edge // 2
        voxels = torch.from_numpy(self.data[tuple(slice(start, start + self.edge) for start in low)].copy())
        negative = torch.from_numpy(self._negative(centre + self.offsets.reshape(-1, 3)))
        negative = negative.view(SITES, SITES, SITES)
        turn = HALF_TURNS[rng.integers(len(HALF_TURNS))]
        return voxels.flip(turn), negative.flip(turn)

    def _negative(self, sites: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        distance, outside = self._distances(sites)
        inside = ((sites >= 0) & (sites < self.shape)).all(axis=1)
        nearest = np.rint((sites - np.array(self.grid.origin)) / np.array(self.grid.stride)).astype(int)
        nearest = np.clip(nearest, 0, np.array(self.grid.shape) - 1)
        unknown = self.unknown[tuple(nearest.T)]
        return inside & (distance >= NEAR) & ~(outside & unknown)

    def _distances(
        self, sites: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Distance to the nearest pick, and whether that is out of its box."""
        found, row = self.tree.query(sites)
        distance = np.asarray(found)
        return distance, distance > self.picked.radii[row]

    def _grid_sites(self) -> npt.NDArray[Any]:
        """(site, 3) z y x of the map's positions, in voxels."""
        return np.stack(np.meshgrid(*self.grid.axes(), indexing="ij"), -1).reshape(-1, 3)

    def _unknown(
        self,
        similarity: npt.NDArray[np.float32],
        sites: npt.NDArray[np.int64],
        outside: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.bool_]:
        unknown = np.zeros(len(sites), dtype=bool)
        tree = KDTree(sites)
        for column, label in enumerate(np.unique(self.picked.labels[self.picked.anchors])):
            at_picks = similarity[tree.query(self.picked.positions[self.picked.anchors_of(label)])[1], column]
            level = np.percentile(at_picks, UNKNOWN_PERCENTILE)
            level = max(level, np.quantile(similarity[outside, column], 1 - MOST_UNKNOWN))
            unknown |= similarity[:, column] > level
        return unknown & outside
