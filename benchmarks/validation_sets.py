"""Simulated tomograms to choose a recipe by: proteins that were trained on, and molecules that were not.

Every set holds tomograms, references cut from others of the same specimens' kind, and the truth. The made-up
molecules in it, 0900 and on, are in no training.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.references import HALF, one_of_each_class
from tomotwin_lib.centring import centring_distances, mean_distance
from tomotwin_lib.embedding.subvolumes import embed_subvolumes
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.formats.ground_truth import (
    label_from_name,
    read_box_sizes,
    read_particle_positions,
    write_box_sizes,
    write_particle_positions,
)
from tomotwin_lib.formats.volumes import find_volumes, read_volume, write_volume
from tomotwin_lib.locating import locate
from tomotwin_lib.matching import f_scores
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.products import FloatArray
from tomotwin_lib.similarity import similarity_map
from tomotwin_lib.simulation.distractors import Distractors
from tomotwin_lib.simulation.imaging import image_specimen
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.made_up_molecules import made_up_molecule
from tomotwin_lib.simulation.molecules import Molecule, read_molecule
from tomotwin_lib.simulation.specimen import build_specimen
from tomotwin_lib.thresholds import threshold_curves
from tomotwin_lib.training.simulated_pool import MADE_UP_SEED, MOST_MADE_UP, labelled_structures

OF_EACH_ORIGIN = 6
PARTICLES = 8
TOMOGRAM_SHAPE = (64, 192, 192)
REFERENCE_SHAPE = (96, 160, 160)
VOXEL_SIZE = 10.0


def make_validation_set(
    folder: Path,
    structures: Path | None,
    exclude: Collection[str] = (),
    *,
    seed: int,
    snr: float = 0.1,
    tomograms: int = 2,
) -> Path:
    """Write a validation set, or find it made already.

    Parameters
    ----------
    folder : of the set; whole or not there.
    structures, exclude : as for :func:`~tomotwin_lib.training.simulated_pool.simulated_pool`.
    seed : of poses, places and noise.
    snr : of tomograms and references.
    tomograms : how many; every second one holds membranes, gold and what else there is.
    """
    if folder.exists():
        return folder
    real = (
        []
        if structures is None
        else [read_molecule(path) for path in labelled_structures(structures, exclude)]
    )
    staging = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    sizes: dict[str, int] = {}
    for number in range(tomograms):
        rng = np.random.default_rng([seed, number])
        chosen = rng.choice(len(real), min(OF_EACH_ORIGIN, len(real)), replace=False).tolist() if real else []
        molecules = [real[index] for index in chosen]
        molecules += [held_out_molecule(number * OF_EACH_ORIGIN + index) for index in range(OF_EACH_ORIGIN)]
        sizes |= {molecule.code: molecule.box_size for molecule in molecules}
        imaging = Imaging(snr=snr, defocus_in_micrometres=float(rng.uniform(3.0, 4.0)))
        distractors = Distractors() if number % 2 else None
        specimen = build_specimen(
            TOMOGRAM_SHAPE, molecules, rng=rng, particles_per_class=PARTICLES, distractors=distractors
        )
        tomogram = image_specimen(specimen.density, imaging, rng)
        write_volume(staging / "tomograms" / f"t{number}.mrc", tomogram.data, VOXEL_SIZE)
        write_particle_positions(staging / "ground_truth" / f"t{number}.txt", specimen.particles)
        _write_references(
            staging / "references", molecules, imaging, np.random.default_rng([seed, number, 1]), number
        )
    write_box_sizes(staging / "boxsizes.json", sizes)
    staging.rename(folder)
    return folder


def best_case(loaded: LoadedNetwork, folder: Path) -> dict[str, float]:
    """How good a network's picks are at the thresholds that are best for each reference and tomogram.

    It flatters: it is for comparing recipes, not for saying how good picks will be.

    Returns
    -------
    Mean F1 of the references, for ``structures`` and ``made_up``; and ``centring``, the mean distance in
    voxels of the particles that are found from the nearest of these picks, NaN where none is found.
    """
    sizes = read_box_sizes(folder / "boxsizes.json")
    references = embed_subvolumes(loaded, find_volumes([folder / "references"]), progress=False)
    found: dict[str, list[float]] = defaultdict(list)
    distances: dict[str, FloatArray] = {}
    for path in find_volumes([folder / "tomograms"]):
        embedding = embed_tomogram(loaded, read_volume(path), progress=False)
        similarity = similarity_map(embedding, references, progress=False)
        picks = locate(similarity, global_min=0.3, tolerance=0.2, box_sizes=sizes, progress=False)
        truth = read_particle_positions(folder / "ground_truth" / f"{path.stem}.txt")
        best: dict[str, float] = {}
        for curve in threshold_curves(picks, truth, sizes):
            scores_of_curve = f_scores(curve.tp, curve.fp, curve.fn)
            best[curve.reference] = float(curve.thresholds[scores_of_curve.argmax()])
            found[curve.reference].append(float(scores_of_curve.max()))
        limits = np.array([best.get(reference, np.inf) for reference in picks.attrs["references"]])
        kept = picks[picks["metric_best"] >= limits[picks["predicted_class"]]]
        for reference, own in centring_distances(kept, truth, sizes).items():
            distances[f"{path.stem} {reference}"] = own
    origins: dict[str, list[float]] = defaultdict(list)
    for reference, of_reference in found.items():
        # No entry of the Protein Data Bank starts with 0.
        made_up = label_from_name(reference).startswith("0")
        origins["made_up" if made_up else "structures"].append(float(np.mean(of_reference)))
    scores = {origin: float(np.mean(of_origin)) for origin, of_origin in sorted(origins.items())}
    centring = mean_distance(distances)
    return scores | {"centring": np.nan if centring is None else centring}


def held_out_molecule(index: int) -> Molecule:
    """One of the made-up molecules that are in no training, by its number from 0."""
    number = MOST_MADE_UP + index
    return made_up_molecule(np.random.default_rng([MADE_UP_SEED, number]), f"{number:04d}")


def _write_references(
    folder: Path, molecules: list[Molecule], imaging: Imaging, rng: np.random.Generator, number: int
) -> None:
    """One of each molecule, from a tomogram of their own without distractors."""
    specimen = build_specimen(
        REFERENCE_SHAPE, molecules, rng=rng, particles_per_class=2, margin=float(HALF + 1)
    )
    data = image_specimen(specimen.density, replace(imaging, defocus_in_micrometres=3.5), rng).data
    for code, window in one_of_each_class(specimen, data, VOXEL_SIZE).items():
        write_volume(folder / f"{code}_{number}.mrc", window, VOXEL_SIZE)
