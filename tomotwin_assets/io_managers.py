"""Where products lie on disk, and in which format.

Each is one file under ``products/<asset>/<model>/<tomogram>``, in the formats of the ecosystem: what a step
wrote, TomoTwin and ``pandas.read_pickle`` open.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from tomotwin_assets.batches import LATER, is_batch
from tomotwin_assets.metadata import file_metadata
from tomotwin_assets.partitions import split_key
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.retries import second_tries
from tomotwin_assets.values import (
    ReferenceVolumes,
    TrainingData,
    UnstoredEmbedding,
    read_json,
    read_report,
)
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, write_json
from tomotwin_lib.formats import frames
from tomotwin_lib.formats.volumes import Volume, read_volume
from tomotwin_lib.products import TomogramEmbedding

_UNSTORED = "unstored_embedding"
"""The attribute of a frame without rows that tells how to make them."""
_UNSTORED_BYTES = 100_000
"""Such a frame is smaller: a larger file need not be read twice."""


@dataclass(frozen=True)
class _Format:
    """How the value of an asset is written to, and read from, its path in the data folder."""

    write: Callable[[DataFolder, Path, Any], None]
    read: Callable[[DataFolder, Path], Any]


def _frame(write: Callable[..., None], read: Callable[..., Any]) -> _Format:
    return _Format(lambda folder, path, value: write(path, value), lambda folder, path: read(path))


def _write_checkpoint(folder: DataFolder, path: Path, checkpoint: Path) -> None:
    if checkpoint != path:
        with atomic_path(path) as temporary:
            shutil.copyfile(checkpoint, temporary)


def _write_tomogram(folder: DataFolder, path: Path, volume: Volume) -> None:
    # Tomograms are large and the user's own: the product is a record that points at the checked file.
    record = {
        "path": folder.relative(volume.path),
        "shape_zyx": list(volume.data.shape),
        "voxel_size_in_angstrom": volume.voxel_size_in_angstrom,
    }
    write_json(path, record)


def _read_tomogram(folder: DataFolder, path: Path) -> Volume:
    return read_volume(folder.path / str(read_json(path)["path"]))


def _write_references(folder: DataFolder, path: Path, references: ReferenceVolumes) -> None:
    names = [folder.relative(reference) for reference in references.paths]
    write_json(path, {"paths": names, "box_sizes": references.box_sizes})


def _read_references(folder: DataFolder, path: Path) -> ReferenceVolumes:
    record = read_json(path)
    return ReferenceVolumes([folder.path / name for name in record["paths"]], record["box_sizes"])


def _write_leaderboard(folder: DataFolder, path: Path, leaderboard: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        leaderboard.to_csv(temporary, index=False)


def _write_embedding(
    folder: DataFolder, path: Path, embedding: TomogramEmbedding | UnstoredEmbedding
) -> None:
    if isinstance(embedding, TomogramEmbedding):
        frames.write_tomogram_embedding(path, embedding)
        return
    # Still a frame, which TomoTwin and pandas open, and see that it has no rows.
    frame = pd.DataFrame({axis: pd.Series(dtype="float32") for axis in "ZYX"})
    frame.attrs[_UNSTORED] = {
        "model": folder.relative(Path(embedding.model)),
        "tomogram": folder.relative(Path(embedding.tomogram)),
        "options": embedding.options,
    }
    frames.write_frame(path, frame)


def _read_embedding(folder: DataFolder, path: Path) -> TomogramEmbedding | UnstoredEmbedding:
    if path.stat().st_size < _UNSTORED_BYTES:
        record = frames.read_frame(path).attrs.get(_UNSTORED)
        if record is not None:
            files = {name: str(folder.path / record[name]) for name in ("model", "tomogram")}
            folder.fetch(folder.path / record["model"])
            return UnstoredEmbedding(**files, options=record["options"])
    return frames.read_tomogram_embedding(path)


FORMATS = {
    "training_data": _Format(
        lambda folder, path, value: write_json(path, asdict(value)),
        lambda folder, path: TrainingData(**read_json(path)),
    ),
    "trained_model": _Format(_write_checkpoint, lambda folder, path: path),
    "tomogram": _Format(_write_tomogram, _read_tomogram),
    "reference_volumes": _Format(_write_references, _read_references),
    "reference_embeddings": _frame(frames.write_reference_embedding, frames.read_reference_embedding),
    "tomogram_embeddings": _Format(_write_embedding, _read_embedding),
    "similarity_map": _frame(frames.write_similarity_map, frames.read_similarity_map),
    "located_picks": _frame(frames.write_picks, frames.read_picks),
    "evaluation_report": _Format(
        lambda folder, path, value: write_json(path, asdict(value)), lambda folder, path: read_report(path)
    ),
    "leaderboard": _Format(_write_leaderboard, lambda folder, path: pd.read_csv(path)),
}


class ProductStore(dg.ConfigurableIOManager):
    """Writes and reads the value of each asset at its place in the data folder."""

    data_folder: dg.ResourceDependency[DataFolder]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write a product, whole or not at all, and record where it lies.

        Raises
        ------
        InputError
            If its folder cannot be written.
        dagster.RetryRequested
            If it cannot be written now, such as on a full disk.
        """
        asset = context.asset_key.to_user_string()
        keys = split_key(context.asset_partition_key) if context.has_asset_partitions else ()
        path = self.data_folder.product(asset, *keys)
        with second_tries():
            FORMATS[asset].write(self.data_folder, path, obj)
            self.data_folder.keep(path)
        context.add_output_metadata(file_metadata(path))

    def load_input(self, context: dg.InputContext) -> Any:
        """Read a product, or :data:`~tomotwin_assets.batches.LATER` where the run has several partitions.

        Raises
        ------
        InputError
            If it has not been made yet.
        dagster.RetryRequested
            If it cannot be read now, such as from a file server that does not answer.
        """
        if is_batch(context.step_context):
            return LATER
        asset = context.asset_key.to_user_string()
        keys = split_key(context.asset_partition_key) if context.has_asset_partitions else ()
        path = self.data_folder.fetch(self.data_folder.product(asset, *keys))
        if not path.is_file():
            name = " of ".join([asset, " on ".join(keys)] if keys else [asset])
            raise InputError(path, f"{name} has not been made yet", f"Materialise {asset} first")
        with second_tries():
            return FORMATS[asset].read(self.data_folder, path)
