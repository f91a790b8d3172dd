"""References made ready to be compared: which are negatives, and which are of one protein."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import label_from_name
from tomotwin_lib.products import FloatArray, ReferenceEmbedding

NEGATIVE_PREFIX = "negative_"
"""What the file name of a negative begins with, whatever the capitals: ``negative_membrane_1.mrc``."""

NEGATIVES = "negatives"
"""The attribute of embeddings, maps and picks that names the negatives."""

COMBINED = "combined"
"""The attribute that tells which files each reference was combined of."""

CONTENTS = "contents"
"""The attribute that tells an MD5 of what each reference was made of, so that another of its name is seen."""

_COUNTING_NUMBER = re.compile(r"[_\- ]\d+$")


def ready_references(
    references: ReferenceEmbedding,
    *,
    combine: bool = False,
    negatives: Iterable[str] = (),
    source: str = "--negatives",
) -> ReferenceEmbedding:
    """The references as they are compared with a tomogram.

    Parameters
    ----------
    references : one vector a file.
    combine : whether to combine those of one protein; see :func:`combine_references`.
    negatives, source : see :func:`mark_negatives`.

    Raises
    ------
    InputError
        As in :func:`mark_negatives`.
    """
    ready = mark_negatives(references, negatives, source)
    return combine_references(ready) if combine else ready


def protein_of(reference: str) -> str:
    """The particle that a reference is an example of, in lower case.

    The label that its file name holds, such as a PDB code; else the name without its ending and without the
    number behind it, so that ``ribosome_1.mrc`` and ``ribosome_2.mrc`` are of one protein. For negatives it
    is their kind, such as ``negative_membrane``.
    """
    stem = _stem(reference)
    name = _COUNTING_NUMBER.sub("", stem) or stem
    if not name.startswith(NEGATIVE_PREFIX):
        with suppress(InputError):
            return label_from_name(name)
    return name


def negatives_among(references: Sequence[str], attributes: Mapping[str, Any]) -> list[str]:
    """Which references are negatives: by the attribute that names them, or by the prefix of their names."""
    named = set(attributes.get(NEGATIVES) or ())
    return [name for name in references if name in named or _stem(name).startswith(NEGATIVE_PREFIX)]


def mark_negatives(
    references: ReferenceEmbedding, named: Iterable[str] = (), source: str = "--negatives"
) -> ReferenceEmbedding:
    """Tell what is looked for from what is only to be kept away from.

    A negative is an example of what is no target but may resemble one: membrane, gold, carbon, ice, another
    protein. It is compared like the others, and :func:`~tomotwin_lib.locating.locate` drops what is more
    similar to it than to the target.

    Parameters
    ----------
    references : one vector a file.
    named : negatives beside those whose names begin with ``negative_``: file names, with or without ending,
        or what :func:`protein_of` gives, such as ``membrane`` for ``membrane_1.mrc`` and ``membrane_2.mrc``.
    source : what gave the names, for messages.

    Returns
    -------
    The targets, then the negatives, whose names are in the attribute ``negatives``; the same as
    ``references`` where there is no negative.

    Raises
    ------
    InputError
        If a name is that of no reference, or no target is left.
    """
    names = references.names
    chosen = set(negatives_among(names, references.attributes))
    for wanted in named:
        known = {wanted.lower(), f"{NEGATIVE_PREFIX}{wanted.lower()}"}
        found = [name for name in names if known & {name.lower(), _stem(name), protein_of(name)}]
        if not found:
            raise InputError(source, f"there is no reference {wanted!r}", f"Choose of {', '.join(names)}")
        chosen.update(found)
    if not chosen:
        return references
    rows = [row for row, name in enumerate(names) if name not in chosen]
    if not rows:
        raise InputError(
            source,
            f"all of {', '.join(names)} are negatives, so that there is nothing to look for",
            "Add a reference of what is looked for",
        )
    rows += [row for row, name in enumerate(names) if name in chosen]
    return ReferenceEmbedding(
        references.vectors[rows],
        [references.paths[row] for row in rows],
        {**references.attributes, NEGATIVES: [name for name in names if name in chosen]},
    )


def combine_references(references: ReferenceEmbedding) -> ReferenceEmbedding:
    """Make one reference of all those of a protein: the mean direction of their vectors.

    On simulated tomograms several references combined found more than one of them alone, and the mean as
    much as the best of the similarities to each; with one wrong reference among four it lost far less. It is
    one vector, and so costs nothing further on. Negatives stay as they are: membranes, say, differ among
    themselves, and a mean would resemble none of them.

    Parameters
    ----------
    references : as :func:`mark_negatives` gives them.

    Returns
    -------
    A reference a protein (:func:`protein_of`), called ``<protein>.mrc``, of unit norm, in the order in which
    the proteins first come; a reference that is alone keeps its path and vector. The attribute ``combined``
    tells for each that was combined the names of its files, ``contents`` an MD5 of theirs.
    """
    names = references.names
    negatives = set(negatives_among(names, references.attributes))
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        # A row of its own for each negative: no protein has this name.
        groups.setdefault(f"{row}/{name}" if name in negatives else protein_of(name), []).append(row)
    vectors, paths, combined = [], [], {}
    contents = dict(references.attributes.get(CONTENTS, {}))
    for protein, rows in groups.items():
        if len(rows) == 1:
            vectors.append(references.vectors[rows[0]])
            paths.append(references.paths[rows[0]])
            continue
        paths.append(f"{protein}.mrc")
        vectors.append(_direction(_directions(references.vectors[rows]).mean(axis=0)))
        combined[paths[-1]] = members = [names[row] for row in rows]
        parts = sorted(contents.pop(name, "") for name in members)
        if all(parts):
            contents[paths[-1]] = hashlib.md5(" ".join(parts).encode(), usedforsecurity=False).hexdigest()
    attributes = references.attributes
    if combined:
        attributes = {**attributes, COMBINED: combined, **({CONTENTS: contents} if contents else {})}
    return ReferenceEmbedding(np.stack(vectors).astype(np.float32), paths, dict(attributes))


def doubtful_references(references: ReferenceEmbedding) -> dict[str, str]:
    """References that resemble another protein more than the other references of their own.

    Among several references one that was cut beside a particle, or from another protein, gives itself away.

    Parameters
    ----------
    references : before they are combined.

    Returns
    -------
    By the name of each such file, the protein, or kind of negative, whose mean direction it resembles more.
    """
    names = references.names
    negatives = set(negatives_among(names, references.attributes))
    proteins = np.array([protein_of(name) for name in names])
    directions = _directions(references.vectors)
    found = {}
    for row, (name, protein) in enumerate(zip(names, proteins.tolist(), strict=True)):
        others = np.arange(len(names)) != row
        if name in negatives or not (others & (proteins == protein)).any():
            continue
        alike = {
            other: float(directions[row] @ _direction(directions[others & (proteins == other)].mean(axis=0)))
            for other in np.unique(proteins[others]).tolist()
        }
        most = max(alike, key=lambda other: (alike[other], other == protein))
        if most != protein:
            found[name] = most
    return found


def _stem(name: str) -> str:
    return name.lower().rsplit(".", 1)[0]


def _directions(vectors: FloatArray) -> npt.NDArray[np.float64]:
    """Vectors (vector, channel) at length one; those of no length stay as they are."""
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(lengths > 0, lengths, 1)


def _direction(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(_directions(vector[None])[0], dtype=np.float64)
