"""``python -m benchmarks.picking_data``: a network on tomograms from elsewhere, honestly.

A data set is a folder with ``tomogram.mrc`` (protein dark), ``references/`` and ``particle_positions.txt``,
beside others and their ``boxsizes.json``. One tomogram gives no honest threshold, so tomograms of the same
proteins are simulated: thresholds are the best ones for the same references there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.comparison.methods import HALF_TURNS, LOWEST, STRIDE, load_named
from benchmarks.machine import usable_cores
from tomotwin_lib.centring import centring_distances
from tomotwin_lib.cli.output import guarded, report_paths, say
from tomotwin_lib.cli.parsing import CommandParser, add_device, add_progress
from tomotwin_lib.embedding.subvolumes import embed_subvolumes
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, ensure_writable_folder
from tomotwin_lib.formats.frames import read_picks, write_picks
from tomotwin_lib.formats.ground_truth import (
    label_from_name,
    read_box_sizes,
    read_particle_positions,
    write_particle_positions,
)
from tomotwin_lib.formats.volumes import find_volumes, read_volume, write_volume
from tomotwin_lib.honest_evaluation import Tomograms, evaluate_honestly
from tomotwin_lib.locating import locate
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.references import ready_references
from tomotwin_lib.similarity import similarity_map
from tomotwin_lib.simulation.distractors import Distractors
from tomotwin_lib.simulation.imaging import image_specimen
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.molecules import Molecule, read_molecule
from tomotwin_lib.simulation.specimen import build_specimen
from tomotwin_lib.thresholds import keep_above
from tomotwin_lib.training.simulated_pool import labelled_structures

PARTICLES = 10
SHAPE = (80, 200, 200)
GIVEN = "given"
"""Name of the tomogram of the data set among the simulated ones."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Pick and score; returns the exit status."""
    return guarded(lambda: _run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    loaded = load_named(options.network, options.device)
    sizes = read_box_sizes(options.data / "boxsizes.json")
    sets = sorted(one.parent for one in options.data.glob("*/tomogram.mrc"))
    if not sets:
        raise InputError(options.data, "no folder in it holds a tomogram.mrc", "Give the folder of data sets")
    output = ensure_writable_folder(options.output)
    lines = [
        "| data set | protein | F1, best case | F1, honest | F-beta, honest | centring (voxels) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for data_set in sets:
        picked = _picked(data_set, loaded, sizes, options, output / data_set.name)
        lines += rows(data_set.name, picked, sizes)
        say("\n".join(lines))
    with atomic_path(output / "picking_data.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    report_paths([output / "picking_data.md"])
    return 0


def rows(name: str, tomograms: Tomograms, sizes: int | Mapping[str, int]) -> list[str]:
    """Lines of the table for the tomogram ``GIVEN``: the mean over its proteins, then each.

    Of several references of one protein the mean counts.
    """
    columns = ["best_case_f1", "honest_f1", "honest_fbeta"]
    scores = evaluate_honestly(tomograms, sizes).scores
    own = scores[scores["tomogram"] == GIVEN].set_index("reference")
    picks, truth = tomograms[GIVEN]
    kept = keep_above(picks, dict(zip(own.index.astype(str), own["threshold"], strict=True)))
    distances = centring_distances(kept, truth, sizes)
    own["centring"] = [
        distances[reference].mean() if len(distances[reference]) else np.nan for reference in own.index
    ]
    by_class = own.groupby("class")[[*columns, "centring"]].mean()
    lines = [(f"mean of {len(by_class)}", by_class.mean().tolist())]
    lines += zip(by_class.index.astype(str), by_class.to_numpy().tolist(), strict=True)
    return [
        f"| {name} | {protein} | {' | '.join(f'{value:.3f}' for value in values)} |"
        for protein, values in lines
    ]


def _picked(
    data_set: Path,
    loaded: LoadedNetwork,
    sizes: int | Mapping[str, int],
    options: argparse.Namespace,
    output: Path,
) -> Tomograms:
    truth = read_particle_positions(data_set / "particle_positions.txt")
    classes = {str(label) for label in truth["class"]}
    files = labelled_structures(options.structures)
    molecules = [read_molecule(file) for file in files if label_from_name(file.name) in classes]
    if {molecule.code for molecule in molecules} != classes:
        raise InputError(
            options.structures, f"it does not hold all of {', '.join(sorted(classes))}", "Add them"
        )
    simulated = [
        _simulated(output / f"simulated_{number}", molecules, number, options.snr)
        for number in range(options.tomograms)
    ]
    places = {GIVEN: (data_set / "tomogram.mrc", truth)} | {
        folder.name: (folder / "tomogram.mrc", read_particle_positions(folder / "particle_positions.txt"))
        for folder in simulated
    }
    references = embed_subvolumes(loaded, find_volumes([data_set / "references"]), progress=False)
    references = ready_references(references, combine=options.combine)
    picked = {}
    for name, (tomogram, own_truth) in tqdm(places.items(), desc=data_set.name, disable=not options.progress):
        embedding = embed_tomogram(loaded, read_volume(tomogram), stride=STRIDE, progress=False)
        similarity = similarity_map(embedding, references, progress=False)
        picks = locate(
            similarity, global_min=LOWEST, box_sizes=sizes, compete=options.compete, progress=False
        )
        write_picks(output / f"{name}.tloc", picks)
        picked[name] = (read_picks(output / f"{name}.tloc"), own_truth)
    return picked


def _simulated(folder: Path, molecules: Sequence[Molecule], number: int, snr: float) -> Path:
    """A tomogram of the same proteins as it comes from a reconstruction without a filter."""
    if (folder / "particle_positions.txt").exists():
        return folder
    rng = np.random.default_rng([1, number])
    specimen = build_specimen(
        SHAPE,
        molecules,
        rng=rng,
        particles_per_class=PARTICLES,
        distractors=Distractors() if number % 2 else None,
    )
    imaging = Imaging(
        snr=snr,
        defocus_in_micrometres=float(rng.uniform(2.0, 4.0)),
        low_pass_in_angstrom=None,
        ramp_exponent=float(rng.uniform(0.5, 1.0)),
    )
    data = image_specimen(specimen.density, imaging, rng).data
    write_volume(folder / "tomogram.mrc", data, imaging.voxel_size_in_angstrom)
    write_particle_positions(folder / "particle_positions.txt", specimen.particles)  # last: it is whole
    return folder


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m benchmarks.picking_data",
        description="Score a network on given tomograms, at thresholds chosen on simulated ones.",
    )
    add = parser.add_argument
    add(
        "--network",
        default="default",
        metavar="FILE",
        help=f"checkpoint or name of a shipped network; {HALF_TURNS} behind it averages over half turns",
    )
    add("--data", type=Path, required=True, metavar="FOLDER", help="holds data sets and their boxsizes.json")
    add("--structures", type=Path, required=True, metavar="FOLDER", help="density maps of their proteins")
    add("--tomograms", type=int, default=4, metavar="N", help="simulated for thresholds (%(default)s)")
    add("--snr", type=float, default=0.1, help="of the simulated ones (%(default)s)")
    add("--combine", action="store_true", help="make one reference of those of a protein")
    add("--compete", action="store_true", help="of picks of several proteins at one place keep the best")
    add("--threads", type=int, default=usable_cores(), metavar="N")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER")  # fmt: skip
    add_device(parser)
    add_progress(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
