"""Where the files of a record belong in the data folder.

The names inside a record are its authors' and may change, so places are chosen by what names and folders say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tomotwin_lib.errors import InputError
from tomotwin_lib.published.records import BOX_SIZES, EVALUATION, TRAINING, WEIGHTS

_TRAIN = re.compile("train", re.IGNORECASE)
_VALID = re.compile(r"valid|(?<![a-z])val(?![a-z])", re.IGNORECASE)
_REFERENCE = re.compile("ref", re.IGNORECASE)
_POSITIONS = re.compile("position", re.IGNORECASE)

TRUTH = PurePosixPath("ground_truth")
TOMOGRAMS = PurePosixPath("tomograms")
REFERENCES = PurePosixPath("references")


@dataclass(frozen=True)
class Item:
    """A file of a record.

    Attributes
    ----------
    parts : names of the archives and folders that it lies in, and its own.
    source : where it lies now.
    """

    parts: tuple[str, ...]
    source: Path


def destination(name: str, parts: tuple[str, ...]) -> PurePosixPath | None:
    """Where a file of the published data ``name`` belongs, in the data folder; ``None`` for nowhere.

    True positions get their own name here, and that of their tomogram in :func:`arrange`.

    Raises
    ------
    InputError
        If it is a subvolume and no folder or archive says what for.
    """
    if any(part.startswith((".", "__MACOSX")) for part in parts):
        return None
    return _DESTINATIONS[name](parts)


def arrange(name: str, items: Iterable[Item]) -> tuple[dict[PurePosixPath, Path], list[str]]:
    """Give each file of the published data ``name`` its place in the data folder.

    Returns
    -------
    Place, relative to the data folder → where the file lies now; and the names of the files without a place.

    Raises
    ------
    InputError
        If a subvolume cannot be told what it is for.
    """
    places: dict[PurePosixPath, Path] = {}
    left_out: list[str] = []
    for item in sorted(items, key=lambda item: item.parts):
        place = destination(name, item.parts)
        if place is None:
            left_out.append("/".join(item.parts))
        else:
            places[_free(place, places)] = item.source
    return _with_named_positions(places), left_out


def _subvolume(parts: tuple[str, ...]) -> PurePosixPath | None:
    *outer, file = parts
    if not file.lower().endswith(".mrc"):
        return None
    # The innermost folder that says something; the file's own name at last.
    for part in (*reversed(outer), file):
        trains, validates = bool(_TRAIN.search(part)), bool(_VALID.search(part))
        if trains != validates:
            return PurePosixPath("subvolumes", "train" if trains else "valid", file)
    raise InputError(
        "/".join(parts),
        "no folder or archive says whether it is to train or to validate with",
        "Unpack the archives in .published/training/downloads into subvolumes/train and subvolumes/valid",
    )


def _evaluation(parts: tuple[str, ...]) -> PurePosixPath | None:
    *outer, file = parts
    if file.lower().endswith(".mrc"):
        return (REFERENCES if any(map(_REFERENCE.search, outer)) else TOMOGRAMS) / file
    if file.lower().endswith(".txt") and _POSITIONS.search(file):
        return TRUTH / file
    return None


def _box_sizes(parts: tuple[str, ...]) -> PurePosixPath | None:
    return TRUTH / "boxsizes.json" if parts[-1].lower().endswith(".json") else None


def _weights(parts: tuple[str, ...]) -> PurePosixPath | None:
    return PurePosixPath("models", parts[-1]) if parts[-1].lower().endswith(".pth") else None


_DESTINATIONS: dict[str, Callable[[tuple[str, ...]], PurePosixPath | None]] = {
    TRAINING: _subvolume,
    EVALUATION: _evaluation,
    BOX_SIZES: _box_sizes,
    WEIGHTS: _weights,
}


def _free(place: PurePosixPath, taken: dict[PurePosixPath, Path]) -> PurePosixPath:
    """``place``, or the same with a number where folders of a record hold files of one name.

    Folders of volumes are not searched deeper, so that they cannot be kept. The number comes last: the class
    is read from the beginning of the name.
    """
    number, free = 2, place
    while free in taken:
        free = place.with_stem(f"{place.stem}_{number}")
        number += 1
    return free


def _with_named_positions(places: dict[PurePosixPath, Path]) -> dict[PurePosixPath, Path]:
    """True positions under the name of their tomogram, by which the platform knows them.

    They keep their own where it could be any of several.
    """
    tomograms = [place.stem for place in places if place.parent == TOMOGRAMS]
    positions = [place for place in places if place.parent == TRUTH and place.suffix.lower() == ".txt"]
    if len(tomograms) != 1 or len(positions) != 1:
        return places
    named = dict(places)
    named[TRUTH / f"{tomograms[0]}.txt"] = named.pop(positions[0])
    return named
