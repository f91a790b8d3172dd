"""Simulated tomograms to train on, made when somebody switches them on, and only then."""

import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pandas as pd

from tomotwin_assets import metadata, provenance
from tomotwin_assets.configs import SimulationConfig
from tomotwin_assets.progress import show_bars
from tomotwin_assets.resources import ComputeDevice, DataFolder
from tomotwin_assets.retries import with_second_tries
from tomotwin_lib.formats.ground_truth import label_from_name, read_particle_positions
from tomotwin_lib.formats.volumes import find_volumes
from tomotwin_lib.simulation.recipe import Recipe
from tomotwin_lib.simulation.training_part import simulate_training_part


# As with published data, no stage has it: what it writes is noticed as anything else in the folder is.
@dg.asset(kinds={"mrc"}, pool="gpu", code_version="1")
@with_second_tries
def simulated_tomograms(
    context: dg.AssetExecutionContext,
    config: SimulationConfig,
    data_folder: DataFolder,
    device: ComputeDevice,
) -> dg.MaterializeResult[None]:
    """Simulated tomograms with ground truth and class masks, and subvolumes cut from others to train on.

    Off unless `enabled` is set, in the launchpad or in `[simulation]` of `tomotwin.toml`. The tomograms
    lie in `simulated/`; the subvolumes go into `subvolumes/train` and `subvolumes/valid`, beside your own,
    and those of an earlier simulation are replaced.
    """
    started = time.perf_counter()
    if not config.enabled:
        return dg.MaterializeResult(
            metadata={
                "summary": "switched off; set enabled to simulate data to train on",
                "dagster/row_count": 0,
                **provenance.about(context, started),
            },
            data_version=provenance.data_version(context, config),
        )
    dataset = simulate_training_part(
        data_folder.path, _recipe(config, data_folder.path), device=device.name, progress=show_bars()
    )
    files = [path for path in dataset.folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    particles = Counter(
        str(name) for path in dataset.positions for name in read_particle_positions(path)["class"]
    )
    subvolumes = Counter(label_from_name(path.name) for path in find_volumes([dataset.training]))
    table = pd.DataFrame({"particles": particles, "training_subvolumes": subvolumes}).fillna(0).astype(int)
    done = "there already" if dataset.reused else "simulated"
    return dg.MaterializeResult(
        metadata={
            "summary": f"{done}: {len(dataset.tomograms)} tomograms with {sum(particles.values()):,} "
            f"particles, {sum(subvolumes.values()):,} subvolumes of {len(subvolumes)} classes to train on",
            "dagster/row_count": sum(particles.values()),
            "training_subvolumes": sum(subvolumes.values()),
            "particles_by_class": metadata.table(table.sort_index().rename_axis("class").reset_index()),
            "size_in_mb": round(size / 1e6, 3),
            **({} if dataset.picture is None else {"slices": metadata.picture_in(dataset.picture)}),
            "folder": dg.MetadataValue.path(dataset.folder),
            **provenance.about(context, started, device.name),
        },
        data_version=provenance.data_version(context, config),
    )


def _recipe(config: SimulationConfig, data_folder: Path) -> Recipe:
    x, y, z = config.tomogram_size
    thickness = config.thickness_in_nanometres
    return Recipe(
        structures=tuple(data_folder / path for path in config.structures),  # whole paths stay as they are
        made_up=config.made_up,
        seed=config.seed,
        tomograms=config.tomograms,
        tomogram_shape=(z, y, x),
        crowding=config.crowding,
        distractors=config.distractors,
        method=config.method,
        snr=_range(config.snr),
        defocus_in_micrometres=_range(config.defocus_in_micrometres),
        voxel_size_in_angstrom=_range(config.voxel_size_in_angstrom),
        thickness_in_nanometres=_range(thickness) if thickness else None,
        subvolumes_per_class=config.subvolumes_per_class,
    )


def _range(numbers: list[float]) -> tuple[float, float]:
    return numbers[0], numbers[-1]
