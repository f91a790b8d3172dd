"""What has been published, by the names that it is fetched under, and the servers that hold it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tomotwin_lib.errors import InputError

ZENODO_VARIABLE = "TOMOTWIN_ZENODO"
GITHUB_VARIABLE = "TOMOTWIN_GITHUB"
ZENODO = "https://zenodo.org"
GITHUB = "https://raw.githubusercontent.com"

TRAINING = "training"
EVALUATION = "evaluation"
BOX_SIZES = "boxsizes"
WEIGHTS = "weights"


@dataclass(frozen=True)
class PublishedData:
    """Data that can be fetched.

    Attributes
    ----------
    name : what it is called on the shell and in the launchpad.
    what : what it is, in a few words.
    record : number of its record at Zenodo, or the path of a single file at GitHub.
    """

    name: str
    what: str
    record: int | str


PUBLISHED = {
    data.name: data
    for data in (
        PublishedData(TRAINING, "subvolumes to train and validate with (large)", 6637456),
        PublishedData(EVALUATION, "a tomogram with references and true positions", 15631632),
        PublishedData(
            BOX_SIZES,
            "box sizes of all these proteins",
            "MPI-Dortmund/tomotwin-cryoet/main/resources/boxsizes.json",
        ),
        PublishedData(WEIGHTS, "TomoTwin's trained network", 8137931),
    )
}
"""Name → data, as TomoTwin's developer information lists them."""


def published(name: str) -> PublishedData:
    """The data of a name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in PUBLISHED:
        raise InputError("published data", f"there is no {name!r}", f"There are {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


@dataclass(frozen=True)
class Servers:
    """Addresses of the servers, without a slash at the end: the real ones, or mirrors of them."""

    zenodo: str = ZENODO
    github: str = GITHUB

    @classmethod
    def from_environment(cls) -> Servers:
        """The servers that TOMOTWIN_ZENODO and TOMOTWIN_GITHUB name, the real ones where they are not set."""
        return cls(
            (os.environ.get(ZENODO_VARIABLE) or ZENODO).rstrip("/"),
            (os.environ.get(GITHUB_VARIABLE) or GITHUB).rstrip("/"),
        )
