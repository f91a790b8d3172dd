"""``python -m benchmarks.compare_methods``: networks and template matching on the same simulated tomograms.

Everything is kept in the output folder as it is made, the tomograms and each method's picks in each of them:
a run that was cut off goes on where it was, and more tomograms, levels or methods can be added later.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from benchmarks.comparison.methods import (
    HALF_TURNS,
    TEMPLATES,
    Method,
    NetworkMethod,
    matching_methods,
    network_methods,
)
from benchmarks.comparison.picking import Picked, pick_once
from benchmarks.comparison.promises import promises
from benchmarks.comparison.report import comparison_table, worst_figure, write_report
from benchmarks.comparison.samples import Plan, Sample, simulate_samples
from benchmarks.comparison.scores import COLUMNS, Scored, score_method
from benchmarks.comparison.worst_picks import fault_counts, faults, worst
from benchmarks.machine import usable_cores
from tomotwin_lib.errors import InputError
from tomotwin_lib.figures.style import save_figure
from tomotwin_lib.files import ensure_writable_folder
from tomotwin_lib.simulation.molecules import Molecule, read_molecule

_ENDINGS = (".mrc", ".map", ".pdb", ".cif", ".pdb.gz", ".cif.gz")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare what the arguments name; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        _compare(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _compare(options: argparse.Namespace) -> None:
    _check(options)
    torch.set_num_threads(options.threads)
    output = ensure_writable_folder(options.output)
    molecules = read_molecules(options.structures, options.unseen)
    box_sizes = {molecule.code: molecule.box_size for molecule in molecules}
    methods = network_methods(
        options.network, options.window_stride, options.device, options.references, compete=options.compete
    )
    if options.template_matching:
        methods += matching_methods(
            molecules, options.template_matching, options.angular_step, options.device
        )
    plan = Plan(
        options.tomograms,
        tuple(options.shape),
        options.particles,
        options.seed,
        max(options.references),
        filtered=not options.unfiltered,
    )
    rows: list[dict[str, object]] = []
    kept: list[pd.DataFrame] = []
    wrong: list[dict[str, object]] = []
    told_worst: tuple[float, list[Sample], pd.DataFrame] | None = None
    for snr in options.snr:
        samples = simulate_samples(output / "tomograms", molecules, snr, plan)
        truths = {sample.name: sample.truth() for sample in samples}
        for method in methods:
            picked = _picked(method, samples, box_sizes, output / "picks" / method.name / f"snr_{snr:g}")
            if len(samples) < 2:
                continue
            scored = score_method(snr, method.name, picked, truths, box_sizes, options.unseen)
            rows += scored.rows
            print(comparison_table(pd.DataFrame(scored.rows)), flush=True)
            if isinstance(method, NetworkMethod):
                kept.append(promises(snr, picked, truths, box_sizes).assign(method=method.name))
            failed = _faults(samples, scored, picked, box_sizes)
            wrong.append({"snr": snr, "method": method.name, **fault_counts(failed, box_sizes)})
            nearer = told_worst is None or abs(snr - options.worst_at) < abs(told_worst[0] - options.worst_at)
            if method is methods[0] and nearer:
                told_worst = snr, samples, worst(failed)
    if told_worst is None:
        print("one tomogram gives no threshold for another: give two or more for scores")
        return
    snr, samples, failed = told_worst
    by_name = {sample.name: sample for sample in samples}
    figure = worst_figure(failed, lambda name: by_name[name].data(), box_sizes)
    about = [
        f"{plan.tomograms} tomograms a noise level, {' × '.join(map(str, plan.shape))} voxels, "
        f"{plan.particles} particles of each of {len(molecules)} proteins in each, every second one with "
        f"membranes, gold and other distractors; seed {plan.seed}. Each reference of a protein is cut from "
        "another tomogram of the same level. Not in any network's training: "
        f"{', '.join(options.unseen) or 'none'}. "
        f"{'' if plan.filtered else 'Tomograms are not filtered. '}"
        f"{options.threads} threads. What failed is shown at {snr:g}."
    ]
    notes = {method.name: method.note for method in methods}
    promised = pd.concat(kept, ignore_index=True) if kept else None
    paths = write_report(
        output, pd.DataFrame(rows, columns=COLUMNS), notes, about, failed, pd.DataFrame(wrong), promised
    )
    paths.append(save_figure(output / "worst_picks.png", figure))
    print("\n".join(map(str, paths)))


def _check(options: argparse.Namespace) -> None:
    if not options.network and not options.template_matching:
        raise InputError("--network", "there is nothing to compare", "Name networks, or --template_matching")
    for name, values in (("--tomograms", [options.tomograms]), ("--particles", [options.particles]),
                         ("--references", options.references), ("--threads", [options.threads]),
                         ("--snr", options.snr)):  # fmt: skip
        if min(values) <= 0:
            raise InputError(name, f"{min(values)} cannot be used", "Give numbers above 0")


def read_molecules(structures: Path, unseen: Sequence[str]) -> list[Molecule]:
    """The density maps and atomic models of a folder; InputError where one of ``unseen`` is missing."""
    files = sorted(path for path in structures.glob("*") if path.name.lower().endswith(_ENDINGS))
    if not files:
        raise InputError(structures, "there is no density map or atomic model", "Check the folder")
    molecules = [read_molecule(path) for path in files]
    missing = sorted(set(unseen) - {molecule.code for molecule in molecules})
    if missing:
        raise InputError("--unseen", f"{structures} does not hold {', '.join(missing)}", "Check the names")
    return molecules


def _picked(
    method: Method, samples: Sequence[Sample], box_sizes: dict[str, int], folder: Path
) -> dict[str, Picked]:
    picked = {}
    for sample in samples:
        picked[sample.name] = found = pick_once(method, sample, box_sizes, folder)
        print(f"{folder.name} {sample.name} {method.name}: {found.seconds:.1f} s", flush=True)
    return picked


def _faults(
    samples: Sequence[Sample], scored: Scored, picked: dict[str, Picked], box_sizes: dict[str, int]
) -> pd.DataFrame:
    tables = []
    for sample in samples:
        own = scored.evaluation.scores[scored.evaluation.scores["tomogram"] == sample.name]
        thresholds = dict(zip(own["reference"], own["threshold"], strict=True))
        picks = picked[sample.name].picks
        tables.append(faults(sample.name, picks, sample.truth(), thresholds, box_sizes, *sample.mask()))
    return pd.concat(tables, ignore_index=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare_methods",
        description="Score networks and template matching on simulated tomograms; can be cut off and go on.",
    )
    add = parser.add_argument
    add(
        "--network",
        nargs="*",
        default=[],
        metavar="FILE",
        help=f"checkpoints or names of shipped networks; {HALF_TURNS} behind one averages over half turns",
    )
    add("--structures", type=Path, required=True, metavar="FOLDER", help="density maps or atomic models")
    add("--unseen", nargs="*", default=[], metavar="CODE", help="those that no network was trained on")
    add("--tomograms", type=int, default=10, metavar="N", help="at each noise level (%(default)s)")
    add("--snr", type=float, nargs="+", default=[0.3, 0.1, 0.05], help="noise levels (%(default)s)")
    add(
        "--shape",
        type=int,
        nargs=3,
        default=[64, 192, 192],
        metavar=("Z", "Y", "X"),
        help="voxels of a tomogram (%(default)s)",
    )
    add(
        "--particles", type=int, default=6, metavar="N", help="of each protein in each tomogram (%(default)s)"
    )
    add("--seed", type=int, default=1)
    add(
        "--unfiltered",
        action="store_true",
        help="tomograms are not filtered at 20 Å, behind which their noise would be measured",
    )
    add(
        "--references",
        type=int,
        nargs="+",
        default=[1],
        metavar="N",
        help="of each protein, whose mean networks compare with; template matching has one (%(default)s)",
    )
    add(
        "--compete",
        action="store_true",
        help="also with references that compete: a place that resembles another's more is no pick",
    )
    add(
        "--template_matching",
        nargs="+",
        choices=TEMPLATES,
        default=[],
        help="compare with template matching too: with the references that networks get, or with the "
        "densities without noise",
    )
    add(
        "--angular_step",
        type=float,
        default=30.0,
        metavar="DEGREES",
        help="between orientations of a template (%(default)s)",
    )
    add(
        "--window_stride",
        type=int,
        default=6,
        metavar="VOXELS",
        help="for networks that are evaluated window by window; others have 2 (%(default)s)",
    )
    add(
        "--worst_at",
        type=float,
        default=0.1,
        metavar="SNR",
        help="noise level, or the nearest, at which the first network's worst picks are shown (%(default)s)",
    )
    add("--device", default="auto")
    add("--threads", type=int, default=usable_cores(), metavar="N")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
