"""Notices what lies in the data folder: new partitions, new and changed files.

A file's fingerprint is its name, size and time of change: cheap enough to look every half minute. Each new
fingerprint becomes an event of the folder's asset, so Dagster knows which products are older than it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from tomotwin_assets.assets.sources import GROUND_TRUTH, MODELS, REFERENCES, SUBVOLUMES, TOMOGRAMS
from tomotwin_assets.partitions import check_key, models, tomograms
from tomotwin_assets.resources import DataFolder
from tomotwin_lib.errors import InputError

VERSION_TAG = "dagster/data_version"
CHUNK = 500
"""Partitions added at a time."""


@dataclass(frozen=True)
class Scan:
    """What a look into the data folder found.

    Attributes
    ----------
    models, tomograms : keys of all usable files.
    new_models, new_tomograms : those that are no partitions yet.
    events : new and changed sources, to be reported to Dagster.
    problems : files that cannot become partitions, and why.
    gone : partitions whose files are no longer there, as ``model x`` or ``tomogram y``.
    """

    models: list[str]
    tomograms: list[str]
    new_models: list[str]
    new_tomograms: list[str]
    events: list[dg.AssetMaterialization]
    problems: list[InputError] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """One line that says what was found."""
        return (
            f"{len(self.models)} models ({len(self.new_models)} new), {len(self.tomograms)} tomograms "
            f"({len(self.new_tomograms)} new), {len(self.events)} new or changed sources, "
            f"{len(self.problems)} problems"
        )


def scan(folder: DataFolder, instance: dg.DagsterInstance) -> Scan:
    """Look into the data folder and compare it with what the instance knows; changes nothing.

    Raises
    ------
    InputError
        If there is no data folder.
    """
    folder = DataFolder(root=str(folder.path))  # settings are read once, not for every file
    problems: list[InputError] = []
    model_files = _keyed(folder.model_files(), problems)
    tomogram_files = _keyed(folder.tomogram_files(), problems)
    known_models = set(instance.get_dynamic_partitions(str(models.name)))
    known_tomograms = set(instance.get_dynamic_partitions(str(tomograms.name)))
    truths = [path for key in tomogram_files if (path := folder.ground_truth_file(key)) is not None]
    references = _volumes(folder.references)
    if folder.box_sizes_file is not None:
        references.append(folder.box_sizes_file)
    events = [
        *_changed(
            instance, folder, SUBVOLUMES, {None: [*_volumes(folder.training), *_volumes(folder.validation)]}
        ),
        *_changed(instance, folder, REFERENCES, {None: references}),
        *_changed(instance, folder, MODELS, {key: [path] for key, path in model_files.items()}),
        *_changed(instance, folder, TOMOGRAMS, {key: [path] for key, path in tomogram_files.items()}),
        *_changed(instance, folder, GROUND_TRUTH, {path.stem: [path] for path in truths}),
    ]
    return Scan(
        models=list(model_files),
        tomograms=list(tomogram_files),
        new_models=[key for key in model_files if key not in known_models],
        new_tomograms=[key for key in tomogram_files if key not in known_tomograms],
        events=events,
        problems=problems,
        gone=[f"model {key}" for key in sorted(known_models - set(model_files))]
        + [f"tomogram {key}" for key in sorted(known_tomograms - set(tomogram_files))],
    )


def register(folder: DataFolder, instance: dg.DagsterInstance) -> Scan:
    """Look into the data folder, add new partitions and report new and changed sources.

    Doing it twice changes nothing.

    Raises
    ------
    InputError
        If there is no data folder.
    """
    found = scan(folder, instance)
    apply(found, instance, instance.report_runless_asset_event)
    return found


def apply(
    found: Scan, instance: dg.DagsterInstance, report: Callable[[dg.AssetMaterialization], None]
) -> None:
    """Add the new partitions of a scan and pass its events to ``report``."""
    for partitions, keys in ((models, found.new_models), (tomograms, found.new_tomograms)):
        for start in range(0, len(keys), CHUNK):
            instance.add_dynamic_partitions(str(partitions.name), keys[start : start + CHUNK])
    for event in found.events:
        report(event)


def _keyed(paths: Iterable[Path], problems: list[InputError]) -> dict[str, Path]:
    """The files by their partition keys; those without a usable key of their own go to ``problems``."""
    by_key: dict[str, list[Path]] = {}
    for path in paths:
        try:
            by_key.setdefault(check_key(path.stem, str(path)), []).append(path)
        except InputError as error:
            problems.append(error)
    for same in by_key.values():
        if len(same) > 1:
            names = " and ".join(path.name for path in same)
            problems.append(
                InputError(same[0].parent, f"{names} have one name", "Rename or move one of them")
            )
    return {key: same[0] for key, same in by_key.items() if len(same) == 1}


def _volumes(folder: Path) -> list[Path]:
    return (
        sorted(path for path in folder.rglob("*.mrc") if not path.name.startswith("."))
        if folder.is_dir()
        else []
    )


def _changed(
    instance: dg.DagsterInstance, folder: DataFolder, asset: str, sources: dict[str | None, list[Path]]
) -> list[dg.AssetMaterialization]:
    """Events for those partitions of a source whose files are not as they were last reported."""
    events = []
    for key, paths in sources.items():
        if not paths:
            continue
        fingerprint, size = _fingerprint(folder, paths)
        if fingerprint == _reported(instance, asset, key):
            continue
        metadata: dict[str, Any] = {
            "path": dg.MetadataValue.path(paths[0] if len(paths) == 1 else paths[0].parent),
            "files": len(paths),
            "size_in_mb": round(size / 1e6, 3),
        }
        events.append(
            dg.AssetMaterialization(
                asset_key=asset, partition=key, metadata=metadata, tags={VERSION_TAG: fingerprint}
            )
        )
    return events


def _fingerprint(folder: DataFolder, paths: list[Path]) -> tuple[str, int]:
    """A hash of names, sizes and times of change, and the bytes in all."""
    digest, size = hashlib.sha256(), 0
    for path in paths:
        status = path.stat()
        size += status.st_size
        digest.update(f"{folder.relative(path)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest(), size


def _reported(instance: dg.DagsterInstance, asset: str, key: str | None) -> str | None:
    """The fingerprint that was last reported for a source."""
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(asset), asset_partitions=None if key is None else [key]
    )
    records = instance.fetch_materializations(wanted, limit=1).records
    event = records[0].asset_materialization if records else None
    return event.tags.get(VERSION_TAG) if event is not None and event.tags else None
