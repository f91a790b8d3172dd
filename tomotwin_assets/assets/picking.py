"""From vectors to coordinates: similarity maps, located picks, files for other programs."""

import time
from typing import Any

import dagster as dg
import numpy as np
import numpy.typing as npt
import pandas as pd

from tomotwin_assets import metadata, provenance
from tomotwin_assets.batches import SEVERAL_A_RUN, each_partition
from tomotwin_assets.configs import CoordinatesConfig, PickingConfig, SimilarityConfig, recorded
from tomotwin_assets.coordinates import picks_by_reference, write_coordinates
from tomotwin_assets.loaded_networks import load_network
from tomotwin_assets.partitions import pairs, split_key
from tomotwin_assets.progress import show_bars
from tomotwin_assets.reference_records import about_references, about_rivals
from tomotwin_assets.resources import ComputeDevice, DataFolder
from tomotwin_assets.values import EmbeddingProduct, ReferenceVolumes, UnstoredEmbedding
from tomotwin_lib.calibration import calibrated, calibration_table, keep_expected
from tomotwin_lib.drift import refused_walks
from tomotwin_lib.embedding.estimate import Estimate
from tomotwin_lib.errors import InputError
from tomotwin_lib.figures import (
    MOST_PICKS,
    orthoslices_with_picks,
    picks_beside_similarity,
    score_histogram,
    similarity_histogram,
    similarity_slices,
)
from tomotwin_lib.files import md5_of_file
from tomotwin_lib.formats.calibration import read_calibration
from tomotwin_lib.formats.volumes import read_volume
from tomotwin_lib.locating import locate
from tomotwin_lib.picking import keep_picks
from tomotwin_lib.products import ReferenceEmbedding, SimilarityMap
from tomotwin_lib.references import ready_references
from tomotwin_lib.refinement import refine_references
from tomotwin_lib.scoring import score_tomogram
from tomotwin_lib.similarity import similarity_map as compare
from tomotwin_lib.voxel_sizes import differing_voxel_sizes


@dg.asset(partitions_def=pairs, kinds={"numpy"}, pool="gpu", backfill_policy=SEVERAL_A_RUN, code_version="2")
@each_partition
def similarity_map(
    context: dg.AssetExecutionContext,
    config: SimilarityConfig,
    tomogram_embeddings: EmbeddingProduct,
    reference_embeddings: ReferenceEmbedding,
    device: ComputeDevice,
    data_folder: DataFolder,
) -> dg.MaterializeResult[SimilarityMap]:
    """The similarity of every position of the tomogram to every reference; more is better.

    Where the embedding is not stored, the tomogram is embedded here, tile by tile (hence the pool).
    """
    started = time.perf_counter()
    references = ready_references(
        reference_embeddings,
        combine=config.combine,
        negatives=config.negatives,
        source="[similarity] negatives",
    )
    if isinstance(tomogram_embeddings, UnstoredEmbedding):
        similarity = _score(context, tomogram_embeddings, references, config, device.name)
    else:
        if config.refine:
            references = refine_references(tomogram_embeddings, references)
        similarity = compare(tomogram_embeddings, references, progress=show_bars())
    made = provenance.about(context, started, device.name)
    refused = refused_walks(similarity.attributes)
    for name, why in refused.items():
        context.log.warning(f"{name} was not refined: {why}")
    spread = similarity.spread()
    highest = pd.DataFrame(
        {"reference": similarity.references, "highest": spread.highest, "mean": spread.mean}
    )
    problem = differing_voxel_sizes(
        str(similarity.attributes.get("filepath", "")), reference_embeddings.paths
    )
    if problem:
        context.log.warning(problem)
    return dg.MaterializeResult(
        value=similarity,
        metadata={
            "summary": f"{similarity.values.shape[0]:,} positions × {len(similarity.references)} references"
            + (f"; {problem}" if problem else "")
            + (f"; not refined, as they walked away: {', '.join(refused)}" if refused else ""),
            "dagster/row_count": len(similarity.values),
            "references": len(similarity.references),
            "mean_highest_similarity": _finite_mean(spread.highest),
            "mean_similarity": _finite_mean(spread.mean),
            "similarity_by_reference": metadata.table(highest),
            **about_references(reference_embeddings, similarity.attributes),
            **metadata.pictures(
                data_folder,
                ("similarity_map", *split_key(context.partition_key)),
                histogram=similarity_histogram(similarity),
                best_slices=similarity_slices(similarity),
            ),
            "settings": dg.MetadataValue.json(recorded(config)),
            **made,
        },
        data_version=provenance.data_version(context, config),
    )


@dg.asset(partitions_def=pairs, kinds={"pandas"}, backfill_policy=SEVERAL_A_RUN, code_version="1")
@each_partition
def located_picks(
    context: dg.AssetExecutionContext,
    config: PickingConfig,
    similarity_map: SimilarityMap,
    reference_volumes: ReferenceVolumes,
    data_folder: DataFolder,
) -> dg.MaterializeResult[pd.DataFrame]:
    """The particles: local maxima of the similarity, of which the best one stays where boxes overlap."""
    model, tomogram = split_key(context.partition_key)
    started = time.perf_counter()
    file = data_folder.calibration_file()
    background = None if config.max_false_picks is None else read_calibration(file)
    picks = locate(
        similarity_map,
        tolerance=config.tolerance,
        global_min=config.lowest_similarity,
        box_sizes=reference_volumes.box_sizes,
        overlap=config.overlap,
        compete=config.compete,
        progress=show_bars(),
    )
    expected: dict[str, Any] = {}
    calibration: list[str] = []
    if config.max_false_picks is not None and background is not None:
        picks = keep_expected(calibrated(picks, background, file), config.max_false_picks, file)
        calibration = [md5_of_file(file)]
        expected = {
            "false_picks_to_expect": metadata.table(calibration_table(picks)),
            "calibration_md5": calibration[0],
        }
    made = provenance.about(context, started)
    numbers = picks_by_reference(picks)
    found = sum(count > 0 for count in numbers.values())
    volume = read_volume(data_folder.tomogram_file(tomogram))
    shown: dict[str, Any] = {
        "voxel_size_in_angstrom": volume.voxel_size_in_angstrom,
        "title": f"{tomogram}, picked with {model}",
    }
    pictures = metadata.pictures(
        data_folder,
        ("located_picks", model, tomogram),
        picks_on_slices=orthoslices_with_picks(volume.data, picks, most=MOST_PICKS, **shown),
        picks_and_similarity=picks_beside_similarity(volume.data, picks, similarity_map, **shown),
        scores_against_background=score_histogram(picks, similarity_map, config.lowest_similarity),
    )
    return dg.MaterializeResult(
        value=picks,
        metadata={
            "summary": f"{len(picks):,} picks of {found} kinds of particle",
            "dagster/row_count": len(picks),
            "picks_by_reference": metadata.counts(numbers, "reference", "picks"),
            **about_rivals(picks.attrs),
            **({"mean_score": float(picks["metric_best"].mean())} if len(picks) else {}),
            **expected,
            **pictures,
            "box_sizes_in_voxels": metadata.box_sizes(reference_volumes.box_sizes),
            "settings": dg.MetadataValue.json(recorded(config)),
            **made,
        },
        data_version=provenance.data_version(context, config, files=calibration),
    )


@dg.asset(partitions_def=pairs, kinds={"file"}, backfill_policy=SEVERAL_A_RUN, code_version="1")
@each_partition
def picked_coordinates(
    context: dg.AssetExecutionContext,
    config: CoordinatesConfig,
    located_picks: pd.DataFrame,
    data_folder: DataFolder,
) -> dg.MaterializeResult[None]:
    """Coordinates of each kind of particle for other programs: `.coords`, `.cbox`, STAR for RELION and Warp.

    One file a reference and format in `products/picked_coordinates/<model>/<tomogram>/`.
    """
    started = time.perf_counter()
    model, tomogram = split_key(context.partition_key)
    picks = keep_picks(located_picks, minimum_metric=config.minimum_metric, minimum_size=config.minimum_size)
    folder = data_folder.product("picked_coordinates", model, tomogram)
    written = write_coordinates(folder, picks, data_folder.tomogram_file(tomogram), config)
    data_folder.keep(folder)
    return dg.MaterializeResult(
        metadata={
            "summary": f"{len(picks):,} of {len(located_picks):,} picks in {len(written)} files",
            "dagster/row_count": len(picks),
            "coordinates_by_reference": metadata.counts(
                picks_by_reference(picks), "reference", "coordinates"
            ),
            "path": dg.MetadataValue.path(folder),
            "files": dg.MetadataValue.json([path.name for path in written]),
            "size_in_mb": sum(path.stat().st_size for path in written) / 1e6,
            "settings": dg.MetadataValue.json(recorded(config)),
            **provenance.about(context, started),
        },
        data_version=provenance.data_version(context, config),
    )


def _score(
    context: dg.AssetExecutionContext,
    embedding: UnstoredEmbedding,
    references: ReferenceEmbedding,
    config: SimilarityConfig,
    device: str,
) -> SimilarityMap:
    """The map of a tomogram whose vectors are made on the way and forgotten."""
    if config.refine:
        raise InputError(
            "[similarity] refine",
            "references cannot be refined without all vectors of the tomogram, which are not stored",
            "Set store = true in [embedding], or refine = false",
        )
    volume = read_volume(embedding.tomogram)
    loaded = load_network(embedding.model, device)

    def tell(estimate: Estimate) -> None:
        context.log.info(str(estimate))
        context.add_output_metadata(metadata.estimated(estimate))

    return score_tomogram(
        loaded,
        volume,
        references,
        **embedding.options,
        device=device,
        progress=show_bars(),
        on_estimate=tell,
    )


def _finite_mean(values: npt.NDArray[np.float64]) -> float:
    """Over the references that have values; 0 without any, as the UI plots no gaps."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else 0.0
