"""Which partitions are retired: those whose file has been gone for a while, unless a whole disk is gone.

Products stay on disk, and a file that comes back becomes a partition again, with all that was made of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

FEWEST_TO_SUSPECT = 10
"""Below so many known files, many may go at once without looking like an unmounted disk."""
FEWEST_LOOKS = 2
"""A single look may have met a moment between deleting and writing again."""


@dataclass(frozen=True)
class Judgement:
    """What is to be done about files that are gone.

    Attributes
    ----------
    retire : keys whose partitions go, sorted.
    missing : key → (when it was first missed, seconds since 1970; how many looks have missed it), of those
        that are waited for.
    warning : why nothing is retired although files are gone, and what to do; empty otherwise.
    """

    retire: list[str] = field(default_factory=list)
    missing: dict[str, tuple[float, int]] = field(default_factory=dict)
    warning: str = ""


def judge(
    known: Collection[str],
    there: Collection[str],
    missed_before: Mapping[str, tuple[float, int]],
    *,
    folder: str,
    folder_exists: bool,
    now: float,
    retire_after_seconds: float,
) -> Judgement:
    """Judge by one look into a folder.

    Parameters
    ----------
    known, there : keys of the partitions, and of the files that were found.
    missed_before : :attr:`Judgement.missing` of the look before.
    folder, folder_exists : its name, for the warning, and whether it exists.
    now : seconds since 1970.
    """
    gone = sorted(set(known) - set(there))
    if gone and (not folder_exists or (len(known) >= FEWEST_TO_SUSPECT and 2 * len(gone) > len(known))):
        what = f"{len(gone)} of {len(known)} known files are gone" if folder_exists else "the folder is gone"
        return Judgement(
            warning=f"{folder}: {what}, as if a disk were not mounted: nothing is retired. Mount it again; "
            "if they were deleted on purpose, run the job register_data_folder with retire_missing: true."
        )
    retire, missing = [], {}
    for key in gone:
        since, looks = missed_before.get(key, (now, 0))
        if looks + 1 >= FEWEST_LOOKS and now - since >= retire_after_seconds:
            retire.append(key)
        else:
            missing[key] = (since, looks + 1)
    return Judgement(retire, missing)
