"""The files of TomoTwin's ecosystem: pickled pandas frames whose attributes carry the lineage.

===========  ===============================================================================================
``.temb``    a tomogram's embedding: Z Y X 0 1 2 …, one row a site, x fastest; or that of subvolumes:
             filepath 0 1 2 …
``.tmap``    similarities: X Y Z d_class_0 d_class_1 …, in the order of ``attrs['references']``
``.tloc``    picks: X Y Z size metric_best predicted_class width height depth
``.tumap``   a low-dimensional picture of an embedding
===========  ===============================================================================================

Only this package knows of them; everything else works on the arrays of :mod:`tomotwin_lib.products`.
Coordinates are voxels, written as 32-bit floats: the 16-bit ones that TomoTwin writes are not exact above
2048. Embeddings of tomograms and similarities are written as 16-bit floats, as TomoTwin does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path
from tomotwin_lib.formats.columns import (
    attributes_of,
    column_of_numbers,
    matrix_of_columns,
    numbered_columns,
    require_columns,
    text_labels,
)
from tomotwin_lib.formats.plain import plain_attributes, plain_frame
from tomotwin_lib.formats.portable_pickle import Columns, dump_columns, dump_frame
from tomotwin_lib.formats.safe_pickle import load_frame
from tomotwin_lib.formats.site_grid import GRID_KEY, grid_attribute, sites_of_frame
from tomotwin_lib.half_precision import halved
from tomotwin_lib.products import FloatArray, ReferenceEmbedding, SimilarityMap, TomogramEmbedding
from tomotwin_lib.rows import row_blocks

if TYPE_CHECKING:
    from tomotwin_lib.similarity import Comparison

_INDEX_NAME = "index"
_PICK_TYPES: dict[str, type[np.generic]] = {
    "X": np.float32,
    "Y": np.float32,
    "Z": np.float32,
    "size": np.int64,
    "metric_best": np.float32,
    "predicted_class": np.int64,
    "width": np.int64,
    "height": np.int64,
    "depth": np.int64,
}


def read_frame(path: str | Path) -> pd.DataFrame:
    """Read any of the frame files without running what its pickle asks for.

    Raises
    ------
    InputError
        If it cannot be read as a frame, or two of its columns have one name.
    """
    frame = plain_frame(load_frame(path))
    if not frame.columns.is_unique:
        double = frame.columns[frame.columns.duplicated()][0]
        raise InputError(path, f"it has more than one column '{double}'", "Make it again")
    return frame


def write_frame(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a frame, whole or not at all, so that pandas 1.5 to 3 read it.

    Raises
    ------
    TypeError
        If an attribute is neither plain Python (lists, tuples, dictionaries, text, numbers) nor an array.
    InputError
        If the folder cannot be written.
    """
    plain = plain_frame(frame)
    plain.attrs.clear()
    plain.attrs.update(plain_attributes(frame.attrs))
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        dump_frame(plain, stream)


def write_tomogram_embedding(path: str | Path, embedding: TomogramEmbedding) -> None:
    """Write a tomogram's embedding as a ``.temb`` file; its vectors are rounded to 16-bit floats."""
    channels = [str(channel) for channel in range(embedding.vectors.shape[1])]
    _write_sites(path, embedding, "ZYX", channels, lambda: row_blocks(embedding.vectors))


def read_tomogram_embedding(path: str | Path) -> TomogramEmbedding:
    """Read a tomogram's embedding from a ``.temb`` file.

    Raises
    ------
    InputError
        If it cannot be read, lacks columns, holds something that is no number, or coordinates that are on no
        grid or were spoilt by 16-bit floats.
    """
    path = Path(path)
    frame = read_frame(path)
    channels = numbered_columns(frame, "")
    require_columns(path, frame, ["Z", "Y", "X", *(channels or ["0"])], "the embedding of a tomogram")
    attributes = attributes_of(frame)
    sites = sites_of_frame(path, frame, attributes)
    attributes.pop(GRID_KEY, None)
    vectors = matrix_of_columns(path, frame, channels, sites.order)
    return TomogramEmbedding(vectors, sites.grid, sites.sites, attributes)


def write_reference_embedding(path: str | Path, embedding: ReferenceEmbedding) -> None:
    """Write the embedding of subvolumes as a ``.temb`` file, in 32-bit floats."""
    channels = text_labels(range(embedding.vectors.shape[1]))
    paths = pd.DataFrame({"filepath": pd.Series([str(path) for path in embedding.paths], dtype=object)})
    vectors = pd.DataFrame(np.asarray(embedding.vectors, dtype=np.float32), columns=channels)
    frame = pd.concat([paths, vectors], axis=1)
    frame.attrs.update(embedding.attributes)
    write_frame(path, frame)


def read_reference_embedding(path: str | Path) -> ReferenceEmbedding:
    """Read the embedding of subvolumes from a ``.temb`` file.

    Raises
    ------
    InputError
        If it cannot be read, lacks columns or rows, or holds something that is no number.
    """
    path = Path(path)
    frame = read_frame(path)
    channels = numbered_columns(frame, "")
    require_columns(path, frame, ["filepath", *(channels or ["0"])], "the embedding of references")
    if frame.empty:
        raise InputError(path, "it has no rows", "Embed at least one reference")
    paths = [str(value) for value in frame["filepath"]]
    vectors = matrix_of_columns(path, frame, channels).astype(np.float32)
    return ReferenceEmbedding(vectors, paths, attributes_of(frame))


def read_vectors(path: str | Path) -> tuple[FloatArray, dict[str, Any]]:
    """Read the vectors of any embedding, (row, channel) in the order of the file, and its attributes.

    Raises
    ------
    InputError
        If it cannot be read, lacks columns, or holds something that is no number.
    """
    path = Path(path)
    frame = read_frame(path)
    channels = numbered_columns(frame, "")
    require_columns(path, frame, channels or ["0"], "an embedding")
    attributes = attributes_of(frame)
    attributes.pop(GRID_KEY, None)
    return matrix_of_columns(path, frame, channels), attributes


def write_similarity_map(path: str | Path, similarity: SimilarityMap | Comparison) -> None:
    """Write similarities as a ``.tmap`` file; they are rounded to 16-bit floats.

    A :class:`~tomotwin_lib.similarity.Comparison` is computed on the way and never in memory as a whole.
    """
    labels = [f"d_class_{index}" for index in range(len(similarity.references))]
    more = {"references": list(similarity.references)}
    attributes = {"skip_refinement": True, **similarity.attributes, **more}
    _write_sites(path, similarity, "XYZ", labels, similarity.blocks, attributes)


def read_similarity_map(path: str | Path) -> SimilarityMap:
    """Read similarities from a ``.tmap`` file.

    Raises
    ------
    InputError
        If it cannot be read, lacks columns or the names of the references, holds something that is no
        number, or coordinates that are on no grid or were spoilt by 16-bit floats.
    """
    path = Path(path)
    frame = read_frame(path)
    labels = numbered_columns(frame, "d_class_")
    require_columns(path, frame, ["X", "Y", "Z", *(labels or ["d_class_0"])], "a similarity map")
    attributes = attributes_of(frame)
    references = _references(path, attributes)
    if len(references) != len(labels):
        raise InputError(
            path,
            f"it has {len(labels)} columns d_class_… and names {len(references)} references",
            "Map again",
        )
    sites = sites_of_frame(path, frame, attributes)
    attributes.pop(GRID_KEY, None)
    values = matrix_of_columns(path, frame, labels, sites.order)
    return SimilarityMap(values, references, sites.grid, sites.sites, attributes)


def write_picks(path: str | Path, picks: pd.DataFrame) -> None:
    """Write picks as a ``.tloc`` file.

    Parameters
    ----------
    path : the file.
    picks : columns X, Y, Z (voxels), size (voxels of the map), metric_best, predicted_class (position in
        ``attrs['references']``), width, height, depth (voxels); further columns are written behind them.

    Raises
    ------
    KeyError
        If a column, or ``references`` in the attributes, is missing.
    """
    references = list(picks.attrs["references"])
    frame = _typed_picks(picks)
    frame.attrs.update({**picks.attrs, "references": references})
    write_frame(path, frame)


def read_picks(path: str | Path) -> pd.DataFrame:
    """Read picks from a ``.tloc`` file.

    Returns
    -------
    Frame as in :func:`write_picks`, coordinates and metric in 32-bit floats, with the attributes of the
    file except arrays.

    Raises
    ------
    InputError
        If it cannot be read, lacks columns or the names of the references, holds something that is no
        number, coordinates that were spoilt by 16-bit floats, or a class without a reference.
    """
    path = Path(path)
    frame = read_frame(path)
    require_columns(path, frame, list(_PICK_TYPES), "located picks")
    attributes = attributes_of(frame)
    references = _references(path, attributes)
    for column in _PICK_TYPES:
        values = column_of_numbers(path, frame, column)
        if not np.isfinite(values).all():
            raise InputError(
                path,
                f"column {column} holds something that is no number, as 16-bit floats do when they overflow",
                "Locate again",
            )
    classes = frame["predicted_class"]
    if len(frame) and not 0 <= classes.min() <= classes.max() < len(references):
        raise InputError(
            path,
            f"it has picks of classes {classes.min()} to {classes.max()} but {len(references)} references",
            "Locate again",
        )
    picks = _typed_picks(frame)
    # pandas compares attributes whenever it puts frames together, and cannot do so with arrays; TomoTwin's
    # older files have a whole map there.
    plain = {key: value for key, value in attributes.items() if not isinstance(value, np.ndarray)}
    picks.attrs.update({**plain, "references": references})
    return picks


def _typed_picks(picks: pd.DataFrame) -> pd.DataFrame:
    """The columns of picks in TomoTwin's order and our types, then all others; without attributes."""
    columns: dict[str, Any] = {name: picks[name].to_numpy(dtype=kind) for name, kind in _PICK_TYPES.items()}
    columns.update({name: picks[name].to_numpy() for name in picks.columns if name not in columns})
    frame = pd.DataFrame(columns)
    frame.columns = text_labels(columns)
    return frame


class _BeyondHalfPrecision(Exception):
    """A value that 16-bit floats cannot hold."""


def _write_sites(
    path: str | Path,
    product: TomogramEmbedding | SimilarityMap | Comparison,
    axes: str,
    labels: Sequence[str],
    blocks: Callable[[], Iterable[FloatArray]],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write a frame with a row a site, with the grid in its attributes.

    Parameters
    ----------
    axes : the coordinates' columns, in their order.
    labels : names of the other columns.
    blocks : makes their values (row, column), some rows at a time.
    """
    z, y, x = product.grid.stride
    attributes = product.attributes if attributes is None else attributes
    plain = plain_attributes({**attributes, "stride": [x, y, z], GRID_KEY: grid_attribute(product.grid)})
    places = ["ZYX".index(axis) for axis in axes]
    rows = product.grid.size if product.sites is None else len(product.sites)
    for kind in (np.float16, np.float32):
        positions = (block[:, places] for block in product.grid.position_blocks(product.sites))
        parts = [Columns(axes, np.float32, positions), Columns(labels, kind, _of_type(blocks(), kind))]
        with (
            suppress(_BeyondHalfPrecision),
            atomic_path(path) as temporary,
            temporary.open("wb") as stream,
        ):
            dump_columns(rows, parts, _INDEX_NAME, plain, stream)
            return


def _of_type(blocks: Iterable[FloatArray], kind: type[np.floating[Any]]) -> Iterator[FloatArray]:
    for block in blocks:
        values = block.astype(kind, copy=False) if kind is np.float32 else halved(block)
        if values.dtype != kind:
            raise _BeyondHalfPrecision
        yield values


def _references(path: Path, attributes: Mapping[str, Any]) -> list[str]:
    references = attributes.get("references")
    if not isinstance(references, list | tuple) or not all(isinstance(name, str) for name in references):
        raise InputError(path, "its attributes do not name the references", "Map and locate again")
    return list(references)
