"""References moved into the middle of what they find, one tomogram at a time."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from tomotwin_lib.distances import Distance
from tomotwin_lib.drift import REFINEMENT, judge_walks
from tomotwin_lib.errors import InputError
from tomotwin_lib.nearest import nearest_embeddings
from tomotwin_lib.products import FloatArray, IntArray, ReferenceEmbedding, TomogramEmbedding
from tomotwin_lib.references import negatives_among
from tomotwin_lib.similarity import check_same_network, distance_of


def refine_references(
    tomogram: TomogramEmbedding,
    references: ReferenceEmbedding,
    *,
    rounds: int = 7,
    neighbours: int = 500,
    guard: bool = True,
) -> ReferenceEmbedding:
    """Replace each reference by the medoid of the embeddings nearest to it until it stops moving.

    A reference cut from another tomogram carries that one's noise and contrast. The medoid, the embedding
    most similar on average to the others, is this tomogram's own example of the same particle. Method of
    TomoTwin (Rice et al., Nature Methods 2023).

    A walk that leads away from the protein is refused, and that reference stays as it was given
    (:mod:`tomotwin_lib.drift`): in a tomogram with few particles most of the nearest embeddings are of
    something else. Negatives are never moved: they are what others must not walk to.

    Parameters
    ----------
    tomogram : embedding of the tomogram that the references will be compared with.
    references : embeddings of the references, by the same network.
    rounds : most often that a reference may move.
    neighbours : number of nearest embeddings that the medoid is taken of.
    guard : whether to refuse walks; ``False`` is TomoTwin's way.

    Returns
    -------
    References of the same names, with ``refined: True`` in the attributes and, where guarded, ``refinement``:
    by reference its ``similarity`` to the reference as given at the walk's end, and ``refused``, why it was
    not moved (empty where it was).

    Raises
    ------
    InputError
        If another network made the references, ``rounds`` is negative or ``neighbours`` is less than 2.
    """
    if rounds < 0:
        raise InputError("rounds", f"{rounds} is negative", "Give 0 or more rounds of refinement")
    if neighbours < 2:
        raise InputError("neighbours", f"{neighbours} has no middle", "Give at least 2 neighbours")
    check_same_network(tomogram, references)
    distance = distance_of(references)
    vectors = np.array(references.vectors, dtype=np.float32)
    sites = np.full(len(vectors), -1)
    negative = set(negatives_among(references.names, references.attributes))
    moving = np.array([row for row, name in enumerate(references.names) if name not in negative], dtype=int)
    walked = moving
    for _ in range(rounds):
        nearest = nearest_embeddings(tomogram.vectors, vectors[moving], neighbours, distance)
        medoids = np.array([_medoid(tomogram.vectors, candidates, distance) for candidates in nearest])
        moved = medoids != sites[moving]
        moving, medoids = moving[moved], medoids[moved]
        if not len(moving):
            break
        sites[moving] = medoids
        vectors[moving] = tomogram.vectors[medoids]
    attributes = {**references.attributes, "refined": True}
    if guard:
        walks = judge_walks(tomogram, references, vectors, walked, neighbours, distance)
        for row, walk in walks.items():
            if walk.refused:
                vectors[row] = references.vectors[row]
        attributes[REFINEMENT] = {references.names[row]: asdict(walk) for row, walk in walks.items()}
    return ReferenceEmbedding(vectors, list(references.paths), attributes)


def _medoid(vectors: FloatArray, candidates: IntArray, distance: Distance) -> int:
    """The row, among ``candidates``, with the highest mean similarity to the other candidates.

    Of equals the first row of the tomogram.
    """
    candidates = np.sort(candidates)
    chosen = vectors[candidates]
    similarities = distance.similarity(chosen, chosen).astype(np.float64)
    np.fill_diagonal(similarities, 0)
    return int(candidates[np.argmax(similarities.sum(axis=0))])
