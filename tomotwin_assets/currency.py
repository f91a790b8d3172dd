"""Which products are up to date: the rule of ``make``, told by Dagster's record of events.

A product is current if its file is there, it was made with the settings that would be used now, and nothing
it is made from has been made or changed since.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import dagster as dg

from tomotwin_assets.assets.sources import MODELS
from tomotwin_assets.configs import CONFIGS, recorded, resolve
from tomotwin_assets.partitions import pair_key, pairs, split_key, tomograms
from tomotwin_assets.production import PRODUCTION_MODEL, read_promotion
from tomotwin_assets.provenance import VERSION_TAG
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.settings import Settings

_USED = "dagster/input_data_version/"
"""Tags of an event that tell which data versions of its parents were used."""


@dataclass(frozen=True)
class Made:
    """The latest making of a product.

    Attributes
    ----------
    number : of the event in the record of events.
    settings : that it was made with.
    version : the data version that it was given.
    used : parent → the data version of it that was used.
    """

    number: int
    settings: object
    version: str | None = None
    used: dict[str, str] = field(default_factory=dict)


@dataclass
class Currency:
    """Answers for one data folder, one instance and the settings as they are now."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    folder: DataFolder
    settings: Settings

    @cached_property
    def parents(self) -> dict[str, set[str]]:
        """Asset → the assets it is made from."""
        return {
            spec.key.to_user_string(): {dep.asset_key.to_user_string() for dep in spec.deps}
            for spec in self.definitions.resolve_all_asset_specs()
        }

    @cached_property
    def partitioned(self) -> dict[str, dg.PartitionsDefinition | None]:
        """Asset → its partitions."""
        return {
            spec.key.to_user_string(): spec.partitions_def
            for spec in self.definitions.resolve_all_asset_specs()
        }

    def why_not(self, asset: str, key: str | None) -> str | None:
        """Why a product has to be made (again), in a few words; ``None`` if it is current."""
        made = self._made(asset, key)
        if made is None:
            return "not made yet"
        if not self.folder.is_kept(self.folder.product(asset, *(split_key(key) if key else ()))):
            return "its file is gone"
        if self._settings_differ(made, asset, key):
            return "its settings have changed"
        for parent in sorted(self.needs(asset, key)):
            latest = self._made(parent, self.parent_key(parent, asset, key))
            if latest is not None and latest.number > made.number and not self._same(parent, latest, made):
                return f"{parent} is newer"
        return None

    def _same(self, parent: str, latest: Made, made: Made) -> bool:
        """Whether the newer making of a parent changed nothing.

        Only where its data version tells all that there is: others' do not tell of settings.
        """
        return parent == PRODUCTION_MODEL and latest.version == made.used.get(parent)

    def needs(self, asset: str, key: str | None) -> set[str]:
        """What a product is made from."""
        parents = self.parents[asset]
        return parents & {MODELS} if self._imported(asset, key) else parents

    def _settings_differ(self, made: Made, asset: str, key: str | None) -> bool:
        if asset not in CONFIGS or self._imported(asset, key):
            return False
        return made.settings != recorded(resolve(asset, self.settings))

    def _imported(self, asset: str, key: str | None) -> bool:
        """Whether it is an imported network, which subvolumes and training settings have no part in."""
        return asset == "trained_model" and key is not None and self.folder.model_file(key).suffix == ".pth"

    def parent_key(self, parent: str, asset: str, key: str | None) -> str | None:
        """The parent's partition that belongs to ``key``; ``None`` where it has none, or all count."""
        partitions = self.partitioned[parent]
        if partitions is None or key is None:
            return None
        if partitions == pairs and self.partitioned[asset] == tomograms:
            # Of all models only the one in production counts for what is made of a tomogram.
            promotion = read_promotion(self.folder)
            return pair_key(promotion.model, key) if promotion is not None else None
        if partitions == self.partitioned[asset] or not isinstance(key, dg.MultiPartitionKey):
            return key
        dimension = next(d.name for d in pairs.partitions_defs if d.partitions_def == partitions)
        return key.keys_by_dimension[dimension]

    def _made(self, asset: str, key: str | None) -> Made | None:
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset), asset_partitions=None if key is None else [key]
        )
        records = self.instance.fetch_materializations(wanted, limit=1).records
        if not records:
            return None
        event = records[0].asset_materialization
        settings = event.metadata.get("settings") if event is not None else None
        tags = (event.tags or {}) if event is not None else {}
        used = {name.removeprefix(_USED): version for name, version in tags.items() if name.startswith(_USED)}
        return Made(
            records[0].storage_id,
            settings.value if settings is not None else None,
            tags.get(VERSION_TAG),
            used,
        )
