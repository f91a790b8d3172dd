"""From files to vectors: references and tomograms as a network sees them."""

import hashlib
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from tomotwin_assets import metadata, provenance
from tomotwin_assets.assets.sources import REFERENCES, TOMOGRAMS
from tomotwin_assets.batches import SEVERAL_A_RUN, each_partition
from tomotwin_assets.checks import report_failure
from tomotwin_assets.configs import EmbeddingConfig, recorded
from tomotwin_assets.loaded_networks import load_network
from tomotwin_assets.partitions import models, pairs, tomograms
from tomotwin_assets.progress import show_bars
from tomotwin_assets.resources import ComputeDevice, DataFolder
from tomotwin_assets.retries import with_second_tries
from tomotwin_assets.values import EmbeddingProduct, ReferenceVolumes, UnstoredEmbedding
from tomotwin_lib.distances import distance_named
from tomotwin_lib.embedding.estimate import Estimate, require_disk
from tomotwin_lib.embedding.grids import window_grid
from tomotwin_lib.embedding.preparation import Statistics, require_usable
from tomotwin_lib.embedding.subvolumes import embed_subvolumes
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.errors import InputError
from tomotwin_lib.figures import orthoslices_with_picks, subvolume_gallery
from tomotwin_lib.files import sha256_of_file
from tomotwin_lib.formats.volumes import Volume, find_volumes, read_subvolume, read_volume
from tomotwin_lib.half_precision import halved
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.products import ReferenceEmbedding
from tomotwin_lib.voxel_sizes import unlike_the_network


@dg.asset(
    partitions_def=tomograms, deps=[TOMOGRAMS], kinds={"mrc"}, backfill_policy=SEVERAL_A_RUN, code_version="1"
)
@each_partition
def tomogram(context: dg.AssetExecutionContext, data_folder: DataFolder) -> dg.MaterializeResult[Volume]:
    """A tomogram whose header and voxels have been checked; the product is a record that points at it."""
    started = time.perf_counter()
    volume, statistics = _checked(context, data_folder.tomogram_file(context.partition_key))
    size = metadata.shape_text(volume.data.shape, volume.voxel_size_in_angstrom)
    slices = orthoslices_with_picks(
        volume.data, voxel_size_in_angstrom=volume.voxel_size_in_angstrom, title=context.partition_key
    )
    return dg.MaterializeResult(
        value=volume,
        metadata={
            "summary": size,
            "shape_zyx": str(tuple(int(edge) for edge in volume.data.shape)),
            "voxel_size_in_angstrom": volume.voxel_size_in_angstrom or 0.0,
            "voxel_type": str(volume.data.dtype),
            "mean": statistics.mean,
            "standard_deviation": statistics.deviation,
            "tomogram_path": dg.MetadataValue.path(volume.path),
            "tomogram_in_mb": round(volume.path.stat().st_size / 1e6, 3),
            **metadata.pictures(data_folder, ("tomogram", context.partition_key), slices=slices),
            **provenance.about(context, started),
        },
        data_version=dg.DataVersion(sha256_of_file(volume.path)),
    )


@dg.asset(deps=[REFERENCES], kinds={"mrc"}, code_version="1")
@with_second_tries
def reference_volumes(
    context: dg.AssetExecutionContext, data_folder: DataFolder
) -> dg.MaterializeResult[ReferenceVolumes]:
    """The references and the box sizes of their particles, checked."""
    started = time.perf_counter()
    paths = find_volumes([data_folder.references])
    # Every network here looks through a window of that size: better said now than after a training.
    volumes = [(path.stem, read_subvolume(path, EmbeddingNetwork.window_size)) for path in paths]
    references = ReferenceVolumes(paths, data_folder.box_sizes())
    return dg.MaterializeResult(
        value=references,
        metadata={
            "summary": f"{len(paths)} references: {', '.join(name for name, _ in volumes)}",
            "dagster/row_count": len(paths),
            "references": metadata.table(
                pd.DataFrame(
                    {
                        "reference": [path.name for path in paths],
                        "shape": [metadata.shape_text(volume.shape) for _, volume in volumes],
                    }
                )
            ),
            "box_sizes_in_voxels": metadata.box_sizes(references.box_sizes),
            **metadata.pictures(data_folder, ("reference_volumes",), gallery=subvolume_gallery(volumes)),
            **provenance.about(context, started),
            "folder": dg.MetadataValue.path(data_folder.references),
        },
        data_version=_version(references),
    )


@dg.asset(partitions_def=models, kinds={"pytorch"}, pool="gpu", code_version="1")
@with_second_tries
def reference_embeddings(
    context: dg.AssetExecutionContext,
    trained_model: Path,
    reference_volumes: ReferenceVolumes,
    device: ComputeDevice,
) -> dg.MaterializeResult[ReferenceEmbedding]:
    """The references as vectors, one a reference."""
    started = time.perf_counter()
    loaded = load_network(trained_model, device.name)
    embedding = embed_subvolumes(loaded, reference_volumes.paths, progress=show_bars())
    made = provenance.about(context, started, device.name)
    alike = distance_named(loaded.distance).similarity(embedding.vectors, embedding.vectors)
    names = [path.stem for path in reference_volumes.paths]
    between = pd.DataFrame(alike, columns=names)
    between.insert(0, "reference", names)
    return dg.MaterializeResult(
        value=embedding,
        metadata={
            "summary": f"{len(names)} references, {embedding.vectors.shape[1]} channels",
            "dagster/row_count": len(names),
            "channels": int(embedding.vectors.shape[1]),
            "similarity_of_references": metadata.table(between),
            "model_md5": loaded.md5,
            **made,
        },
        data_version=provenance.data_version(context),
    )


@dg.asset(
    partitions_def=pairs, kinds={"pytorch"}, pool="gpu", backfill_policy=SEVERAL_A_RUN, code_version="1"
)
@each_partition
def tomogram_embeddings(
    context: dg.AssetExecutionContext,
    config: EmbeddingConfig,
    tomogram: Volume,
    trained_model: Path,
    device: ComputeDevice,
    data_folder: DataFolder,
) -> dg.MaterializeResult[EmbeddingProduct]:
    """The tomogram as vectors, one for each position of a grid."""
    loaded = load_network(trained_model, device.name)
    problem = unlike_the_network(tomogram.path, tomogram.voxel_size_in_angstrom, loaded)
    if problem:
        context.log.warning(problem)
    told = f"; {problem}" if problem else ""
    options: dict[str, Any] = {
        "stride": config.stride,
        "padding": config.padding,
        "batch_size": config.batch_size,
    }
    version = provenance.data_version(context, config)
    about: dict[str, Any] = {
        "model_md5": loaded.md5,
        "settings": dg.MetadataValue.json(recorded(config)),
    }
    if not config.store:
        grid = window_grid(
            tomogram.data.shape, config.stride, loaded.window_size, config.padding, source=tomogram.path
        )
        return dg.MaterializeResult(
            value=UnstoredEmbedding(str(trained_model), str(tomogram.path), options),
            metadata={
                "summary": f"{grid.size:,} positions every {config.stride} voxels, not stored: "
                f"similarity_map makes them on the way{told}",
                "dagster/row_count": 0,
                "grid_zyx": str(grid.shape),
                **provenance.about(context, device=device.name),
                **about,
            },
            data_version=version,
        )
    started = time.perf_counter()
    estimates: list[Estimate] = []

    def tell(estimate: Estimate) -> None:
        context.log.info(str(estimate))
        require_disk(estimate, data_folder.path / "products")
        estimates.append(estimate)

    # Halved as the file holds them, which takes half the memory.
    embedding = embed_tomogram(
        loaded,
        tomogram,
        **options,
        device=device.name,
        progress=show_bars(),
        keep=halved,
        on_estimate=tell,
    )
    seconds = time.perf_counter() - started
    positions, channels = embedding.vectors.shape
    return dg.MaterializeResult(
        value=embedding,
        metadata={
            "summary": f"{positions:,} positions every {config.stride} voxels, "
            f"{positions / seconds:,.0f} a second{told}",
            "dagster/row_count": positions,
            "channels": channels,
            "grid_zyx": str(embedding.grid.shape),
            **provenance.about(context, started, device.name),
            **metadata.estimated(estimates[0]),
            "positions_per_second": round(positions / seconds, 1),
            "method": str(embedding.attributes.get("embedding_method", "")),
            **about,
        },
        data_version=version,
    )


def _checked(context: dg.AssetExecutionContext, file: Path) -> tuple[Volume, Statistics]:
    """A tomogram that can be embedded; where it cannot, the check that says so is recorded as failed."""
    check = "readable"
    try:
        volume = read_volume(file)
        check = "has_density"
        return volume, require_usable(volume)
    except InputError as error:
        report_failure(context, "tomogram", check, error)
        raise


def _version(references: ReferenceVolumes) -> dg.DataVersion:
    """Changes with the content, the names or the box sizes of the references."""
    parts = [f"{path.name} {sha256_of_file(path)}" for path in references.paths]
    return dg.DataVersion(hashlib.sha256(repr((parts, references.box_sizes)).encode()).hexdigest())
