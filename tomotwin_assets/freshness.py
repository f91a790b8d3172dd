"""One product: whether it is out of date, what it is made from, and what was tried."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tomotwin_assets.assets.sources import GROUND_TRUTH, MODELS, REFERENCES, SUBVOLUMES, TOMOGRAMS
from tomotwin_assets.history import Attempt
from tomotwin_assets.partitions import MODEL, TOMOGRAM, pair_key
from tomotwin_assets.production import PRODUCTION_MODEL
from tomotwin_assets.snapshot import Snapshot
from tomotwin_assets.stages import Stage

NEVER = "not made yet"
_CHANGED = {
    TOMOGRAMS: "changed tomogram",
    MODELS: "changed model",
    REFERENCES: "changed references",
    SUBVOLUMES: "changed subvolumes",
    GROUND_TRUTH: "changed ground truth",
    PRODUCTION_MODEL: "another model was promoted",
}
_IMPORTED = frozenset({MODELS})
_NOTHING: Mapping[str | None, int] = {}


@dataclass(frozen=True)
class Place:
    """A model and a tomogram, as far as they matter: what products' keys are told from."""

    model: str | None = None
    tomogram: str | None = None

    @cached_property
    def pair(self) -> str | None:
        """The partition of the two; ``None`` where one of them is missing."""
        return None if self.model is None or self.tomogram is None else pair_key(self.model, self.tomogram)


@dataclass
class Products:
    """Answers from a snapshot, for an asset at a place."""

    snapshot: Snapshot
    _newest: dict[str, int] = field(default_factory=dict)

    def why_not(self, asset: str, place: Place) -> str | None:
        """Why a product has to be made (again), in a few words; ``None`` if it is current."""
        made = self.made(asset, place)
        if made is None:
            return NEVER
        if self._file(asset, place) not in self.snapshot.there.get(asset, ()):
            return f"the file of {asset} is gone"
        for parent in sorted(self.needs(asset, place)):
            if (self._number(parent, asset, place) or 0) > made:
                return _CHANGED.get(parent, f"{parent} is newer")
        return None

    def failure(self, stage: Stage, todo: Iterable[str], place: Place) -> Attempt | None:
        """The latest attempt at what is to be made, unless something from outside the stage is newer."""
        attempts = [attempt for asset in todo if (attempt := self.attempt(asset, place)) is not None]
        if not attempts:
            return None
        latest = max(attempts, key=lambda attempt: attempt.number)
        inputs = [
            self._number(parent, asset, place) or 0
            for asset in todo
            for parent in self.needs(asset, place)
            if parent not in stage.assets
        ]
        return latest if max(inputs, default=0) <= latest.number else None

    def state(self, todo: Iterable[str], place: Place) -> str:
        """A hash of the events that the products, and what they are made from, were last made in."""
        digest = hashlib.sha256()
        for asset in todo:
            digest.update(f"{asset} {self.made(asset, place)}".encode())
            for parent in sorted(self.needs(asset, place)):
                digest.update(f" {parent} {self._number(parent, asset, place)}".encode())
        return digest.hexdigest()[:16]

    def needs(self, asset: str, place: Place) -> frozenset[str]:
        """What a product is made from; subvolumes have no part in an imported network."""
        imported = asset == "trained_model" and place.model not in self.snapshot.to_train
        return _IMPORTED if imported else self.snapshot.graph.parents[asset]

    def _number(self, parent: str, asset: str, place: Place) -> int | None:
        """The event of a parent that counts for a product; of many partitions, the newest that are wanted."""
        if parent == PRODUCTION_MODEL:
            return self.snapshot.promoted
        return self._newest_number(parent) if self.gathers(asset, parent) else self.made(parent, place)

    def gathers(self, asset: str, parent: str) -> bool:
        """Whether a product without partitions is made from all partitions of a parent."""
        dimensions = self.snapshot.graph.dimensions
        return bool(dimensions[parent]) and not dimensions[asset]

    def _newest_number(self, asset: str) -> int:
        if asset not in self._newest:
            now = self.snapshot
            dimensions = now.graph.dimensions[asset]
            models = [*now.models, now.production] if MODEL in dimensions else [None]
            tomograms = [t for t in now.tomograms if t in now.benchmark] if TOMOGRAM in dimensions else [None]
            numbers = (self.made(asset, Place(model, one)) or 0 for model in models for one in tomograms)
            self._newest[asset] = max(numbers, default=0)
        return self._newest[asset]

    def made(self, asset: str, place: Place) -> int | None:
        """Number of the event in which it was last made."""
        return self.snapshot.made.get(asset, _NOTHING).get(self.key(asset, place))

    def attempt(self, asset: str, place: Place) -> Attempt | None:
        """The latest start that has not ended with the product."""
        return self.snapshot.attempts.get(asset, {}).get(self.key(asset, place))

    def key(self, asset: str, place: Place) -> str | None:
        """The partition as Dagster names it; ``None`` for an asset without."""
        dimensions = self.snapshot.graph.dimensions[asset]
        if len(dimensions) == 2:
            return place.pair
        return (place.model if dimensions[0] == MODEL else place.tomogram) if dimensions else None

    def _file(self, asset: str, place: Place) -> tuple[str | None, ...]:
        keys = {MODEL: place.model, TOMOGRAM: place.tomogram}
        return tuple(keys[dimension] for dimension in self.snapshot.graph.dimensions[asset])
