"""Notices what lies in the data folder: new partitions, new and changed files.

A file's fingerprint is its name, size and time of change: cheap enough to look every half minute. Each new
fingerprint becomes an event of the folder's asset, so Dagster knows which products are older than it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg

from tomotwin_assets.assets.sources import GROUND_TRUTH, MODELS, REFERENCES, SUBVOLUMES, TOMOGRAMS
from tomotwin_assets.completeness import Arrivals
from tomotwin_assets.partitions import check_key, models, tomograms
from tomotwin_assets.provenance import VERSION_TAG, recorded_version
from tomotwin_assets.resources import DataFolder
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import md5_of_file

CHUNK = 500
"""Partitions added at a time."""
EVENTS_A_TICK = 500
"""Most sources that a sensor's tick reports, and so the most partitions that it adds; the rest follow."""


@dataclass(frozen=True)
class Scan:
    """What a look into the data folder found.

    Attributes
    ----------
    models, tomograms : keys of all usable files.
    new_models, new_tomograms : those that are no partitions yet.
    events : new and changed sources, to be reported to Dagster.
    problems : files that cannot become partitions, and why.
    gone_models, gone_tomograms : keys of partitions whose files are no longer there.
    known_tomograms : keys of all partitions.
    more : whether more sources are new or changed than were asked for.
    """

    models: list[str]
    tomograms: list[str]
    new_models: list[str]
    new_tomograms: list[str]
    events: list[dg.AssetMaterialization]
    problems: list[InputError] = field(default_factory=list)
    gone_models: list[str] = field(default_factory=list)
    gone_tomograms: list[str] = field(default_factory=list)
    known_tomograms: list[str] = field(default_factory=list)
    more: bool = False

    @property
    def gone(self) -> list[str]:
        """Partitions without a file, as ``model x`` or ``tomogram y``."""
        return [f"model {key}" for key in self.gone_models] + [
            f"tomogram {key}" for key in self.gone_tomograms
        ]

    @property
    def summary(self) -> str:
        """One line that says what was found."""
        return (
            f"{len(self.models)} models ({len(self.new_models)} new), {len(self.tomograms)} tomograms "
            f"({len(self.new_tomograms)} new), {len(self.events)} new or changed sources"
            f"{' (more follow)' if self.more else ''}, {len(self.problems)} problems"
        )


def scan(
    folder: DataFolder,
    instance: dg.DagsterInstance,
    arrivals: Arrivals | None = None,
    most_events: int | None = None,
) -> Scan:
    """Look into the data folder and compare it with what the instance knows; changes nothing.

    Costs one query for each kind of source, however many files there are.

    Parameters
    ----------
    arrivals : leaves out new and changed files that are not complete; without it, all count as complete.
    most_events : report so many sources at most, and as partitions only what has been reported.

    Raises
    ------
    InputError
        If there is no data folder.
    """
    folder = DataFolder(root=str(folder.path))  # settings are read once, not for every file
    problems: list[InputError] = []
    model_paths, tomogram_paths = folder.model_files(), folder.tomogram_files()
    model_files = keyed(model_paths, problems)
    tomogram_files = keyed(tomogram_paths, problems)
    known_models = instance.get_dynamic_partitions(str(models.name))
    known_tomograms = instance.get_dynamic_partitions(str(tomograms.name))
    references = _volumes(folder.references)
    if folder.box_sizes_file is not None:
        references.append(folder.box_sizes_file)
    truths = [path for path in folder.ground_truth_files() if path.stem in tomogram_files]
    look = _Look(folder.path, instance, arrivals, most_events)
    look.folder(SUBVOLUMES, [*_volumes(folder.training), *_volumes(folder.validation)])
    look.folder(REFERENCES, references)
    ready_models = look.files(MODELS, model_files)
    # What is known of a tomogram before the tomogram: a report made in between would be out of date at once.
    look.files(GROUND_TRUTH, {path.stem: path for path in truths})
    ready_tomograms = look.files(TOMOGRAMS, tomogram_files)
    return Scan(
        models=list(model_files),
        tomograms=list(tomogram_files),
        new_models=_without(ready_models, known_models),
        new_tomograms=_without(ready_tomograms, known_tomograms),
        events=look.events,
        problems=problems,
        gone_models=sorted(_without(known_models, _stems(model_paths))),
        gone_tomograms=sorted(_without(known_tomograms, _stems(tomogram_paths))),
        known_tomograms=list(known_tomograms),
        more=look.more,
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


def retired(key: str, why: str) -> dg.AssetObservation:
    """The record that a tomogram's partition was removed."""
    return dg.AssetObservation(
        asset_key=TOMOGRAMS,
        partition=key,
        description=f"Retired: {why}. Its products are kept; when the file is back, so is the partition.",
        metadata={"retired": why},
    )


def keyed(paths: Iterable[Path], problems: list[InputError]) -> dict[str, Path]:
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


def _stems(paths: Iterable[Path]) -> set[str]:
    """Names that are taken, by files that can be used or not."""
    return {path.stem for path in paths}


def _without(keys: Iterable[str], others: Iterable[str]) -> list[str]:
    others = set(others)
    return [key for key in keys if key not in others]


def _volumes(folder: Path) -> list[Path]:
    return (
        sorted(path for path in folder.rglob("*.mrc") if not path.name.startswith("."))
        if folder.is_dir()
        else []
    )


@dataclass
class _Look:
    """Compares sources with what was last reported of them, and gathers what is to be reported now."""

    root: Path
    instance: dg.DagsterInstance
    arrivals: Arrivals | None
    most_events: int | None
    events: list[dg.AssetMaterialization] = field(default_factory=list)
    more: bool = False

    def files(self, asset: str, files: Mapping[str, Path]) -> list[str]:
        """Look at sources of one file each; returns the keys of those that are, or are now, reported."""
        reported = self._reported(asset)
        return [key for key, path in files.items() if self._source(asset, key, [path], reported.get(key))]

    def folder(self, asset: str, paths: list[Path]) -> None:
        """Look at a source that is a whole folder of files."""
        if paths:
            self._source(asset, None, paths, recorded_version(self.instance, dg.AssetKey(asset)))

    def _reported(self, asset: str) -> dict[str, str]:
        """Key → the fingerprint that was last reported."""
        tags = self.instance.event_log_storage.get_latest_tags_by_partition(
            dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, [VERSION_TAG]
        )
        return {key: found[VERSION_TAG] for key, found in tags.items() if VERSION_TAG in found}

    def _source(self, asset: str, key: str | None, paths: list[Path], reported: str | None) -> bool:
        try:
            files = [(path, path.stat()) for path in paths]
        except FileNotFoundError:  # deleted since the folder was listed
            return False
        fingerprint = self._fingerprint(files)
        if fingerprint == reported:
            return True
        if self.most_events is not None and len(self.events) >= self.most_events:
            self.more = True
            return reported is not None
        if self.arrivals is not None and not self.arrivals.complete(files):
            return False
        metadata: dict[str, Any] = {
            "path": dg.MetadataValue.path(paths[0] if len(paths) == 1 else paths[0].parent),
            "files": len(paths),
            "size_in_mb": round(sum(status.st_size for _, status in files) / 1e6, 3),
        }
        self.events.append(
            dg.AssetMaterialization(
                asset_key=asset, partition=key, metadata=metadata, tags={VERSION_TAG: fingerprint}
            )
        )
        return True

    def _fingerprint(self, files: list[tuple[Path, os.stat_result]]) -> str:
        """A hash of names, sizes and times of change; of its content where a file came with the library."""
        digest = hashlib.sha256()
        for path, status in files:
            if path.is_relative_to(self.root):
                name = path.relative_to(self.root).as_posix()
                digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
            else:
                digest.update(_content(path, status.st_size, status.st_mtime_ns).encode())
        return digest.hexdigest()


@lru_cache(maxsize=8)
def _content(path: Path, size: int, changed: int) -> str:
    """MD5 of a file: installing the library again changes the times of its files, and nothing else.

    The file is read once while ``size`` and the time of change stay what they are.
    """
    return md5_of_file(path)
