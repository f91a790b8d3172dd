"""The similarity of every embedded position of a tomogram to every reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from tomotwin_lib.distances import Distance, distance_named
from tomotwin_lib.drift import REFINEMENT
from tomotwin_lib.errors import InputError
from tomotwin_lib.half_precision import halved
from tomotwin_lib.products import FloatArray, ReferenceEmbedding, SimilarityMap, TomogramEmbedding
from tomotwin_lib.references import COMBINED, CONTENTS, NEGATIVES
from tomotwin_lib.rows import blocks, row_blocks
from tomotwin_lib.threads import in_threads


class Comparison:
    """The similarity map of a tomogram before it is computed.

    Like a :class:`~tomotwin_lib.products.SimilarityMap`, but its values are made a few at a time as they are
    asked for, so that they never lie in memory together. The distance is the one that the network was trained
    with, as its configuration says.

    Attributes
    ----------
    references, grid, sites, attributes : as in :class:`~tomotwin_lib.products.SimilarityMap`. The attributes
        are the tomogram's, with the names of the ``references`` and with ``skip_refinement``, which says that
        they are as the network gave them.
    distance : by which they are compared.
    """

    def __init__(
        self, tomogram: TomogramEmbedding, references: ReferenceEmbedding, *, progress: bool = True
    ) -> None:
        """Take what is to be compared; see :func:`similarity_map`."""
        check_same_network(tomogram, references)
        self.distance = distance_of(references)
        self.references = references.names
        self.grid, self.sites = tomogram.grid, tomogram.sites
        self.attributes = _attributes_of_map(tomogram, references)
        self._vectors = tomogram.vectors, references.vectors
        self._progress = progress

    def __len__(self) -> int:
        """Number of positions."""
        return len(self._vectors[0])

    def blocks(self) -> Iterator[FloatArray]:
        """The values (site, reference) some sites at a time, in their order.

        float16 as files hold them, or float32 where the distance has no bound.
        """
        vectors, references = self._vectors

        def compare(block: FloatArray) -> FloatArray:
            values = self.distance.similarity(block, references)
            return halved(values) if self.distance.bounded else values

        with tqdm(
            total=len(self), desc="Map", unit="position", unit_scale=True, disable=not self._progress
        ) as bar:
            for values in in_threads(compare, row_blocks(vectors)):
                yield values
                bar.update(len(values))


def similarity_map(
    tomogram: TomogramEmbedding, references: ReferenceEmbedding, *, progress: bool = True
) -> SimilarityMap:
    """Compare every embedded position with every reference.

    The distance is the one that the network was trained with, as its configuration says.

    Parameters
    ----------
    tomogram : embedding of the tomogram.
    references : embeddings of the references, by the same network.
    progress : whether to show a progress bar.

    Returns
    -------
    The map, float16 as files hold it, or float32 where the distance has no bound; its attributes are the
    tomogram's, with the names of the ``references`` and with ``skip_refinement``, which says that they are as
    the network gave them.

    Raises
    ------
    InputError
        If another network made the references, or one with another number of channels.
    """
    comparison = Comparison(tomogram, references, progress=progress)
    kind = np.float16 if comparison.distance.bounded else np.float32
    values = np.empty((len(comparison), len(references.vectors)), dtype=kind)
    for block, found in zip(blocks(len(values)), comparison.blocks(), strict=True):
        values[block] = found
    return map_of(values, tomogram, references)


def map_of(values: FloatArray, tomogram: TomogramEmbedding, references: ReferenceEmbedding) -> SimilarityMap:
    """The map that holds ``values`` (site, reference) at a tomogram's sites, with its attributes."""
    return SimilarityMap(
        values=values,
        references=references.names,
        grid=tomogram.grid,
        sites=tomogram.sites,
        attributes=_attributes_of_map(tomogram, references),
    )


def _attributes_of_map(tomogram: TomogramEmbedding, references: ReferenceEmbedding) -> dict[str, Any]:
    told = references.attributes
    return {
        **tomogram.attributes,
        "references": references.names,
        "skip_refinement": not told.get("refined", False),
        **{name: told[name] for name in (NEGATIVES, COMBINED, CONTENTS, REFINEMENT) if name in told},
    }


def check_same_network(
    tomogram: TomogramEmbedding, references: ReferenceEmbedding, source: str | None = None
) -> None:
    """Make sure that the embeddings can be compared.

    Parameters
    ----------
    source : name of the references' file, for messages.

    Raises
    ------
    InputError
        If there is nothing to compare, the checkpoints' fingerprints differ, or the channels do.
    """
    source = source or f"references for {tomogram.attributes.get('filepath', 'the tomogram')}"
    check_references(references, tomogram.attributes, source)
    if not len(tomogram.vectors):
        raise InputError(
            source, "the tomogram has no embedded position", "Embed it with a larger mask or range"
        )
    channels = references.vectors.shape[1], tomogram.vectors.shape[1]
    if channels[0] != channels[1]:
        raise InputError(
            source,
            f"they have {channels[0]} channels, the tomogram's embedding has {channels[1]}",
            "Embed both with the same network",
        )


def check_references(references: ReferenceEmbedding, ours: Mapping[str, Any], source: str) -> None:
    """Make sure that references were embedded by the network that a tomogram is embedded with.

    Parameters
    ----------
    ours : what the tomogram's attributes say of its network (``modelmd5``, ``modelpth``, ``half_turns``).
    source : name of the references' file, for messages.

    Raises
    ------
    InputError
        If there is no reference, or the networks differ.
    """
    theirs = references.attributes
    if not len(references.vectors):
        raise InputError(source, "there is no reference", "Embed at least one reference subvolume")
    md5s = theirs.get("modelmd5"), ours.get("modelmd5")
    # A file that does not tell its network's fingerprint can only be held to the number of channels.
    if all(md5s) and md5s[0] != md5s[1]:
        raise InputError(
            source,
            f"they were embedded with {theirs.get('modelpth', 'a network')} (MD5 {md5s[0]}), "
            f"the tomogram with {ours.get('modelpth', 'a network')} (MD5 {md5s[1]})",
            "Embed both with the same network",
        )
    if bool(theirs.get("half_turns")) != bool(ours.get("half_turns")):
        told = ["with" if part.get("half_turns") else "without" for part in (theirs, ours)]
        raise InputError(
            source,
            f"they were embedded {told[0]} --half_turns, the tomogram {told[1]}",
            "Embed both alike",
        )


def distance_of(references: ReferenceEmbedding) -> Distance:
    """The distance that the references' network was trained with; cosine where its configuration is unknown.

    Raises
    ------
    InputError
        If the configuration names a distance that there is not.
    """
    configuration = references.attributes.get("tomotwin_config") or {}
    source = str(references.attributes.get("modelpth", "tomotwin_config"))
    return distance_named(configuration.get("distance", "COSINE"), source)
