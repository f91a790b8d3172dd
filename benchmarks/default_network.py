"""``python -m benchmarks.default_network``: train the network that ships, from nothing but density maps.

The shipped one: ``--exclude 1qvr 3j9i 2uv8`` from the density maps that the library was developed with.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.pools import add_pool, make_pool
from tomotwin_lib.cli.output import guarded, report_paths, say
from tomotwin_lib.cli.parsing import CommandParser, add_device, add_progress
from tomotwin_lib.files import ensure_writable_folder, md5_of_file, write_json
from tomotwin_lib.networks.configuration import read_configuration
from tomotwin_lib.networks.shipped_networks import find_network_file
from tomotwin_lib.training.centred_subvolumes import read_centred_subvolumes
from tomotwin_lib.training.recipe import Recipe
from tomotwin_lib.training.simulated_pool import labelled_structures
from tomotwin_lib.training.tomogram_training import require_budget, require_place, train_on_tomograms


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, train, write network and record; returns the exit status."""
    return guarded(lambda: _run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    configuration = read_configuration(options.netconfiguration, Recipe.from_configuration)
    minutes = 60.0 if options.minutes is None and options.steps is None else options.minutes
    require_budget(minutes, options.steps, options.seed)
    folder = ensure_writable_folder(options.output)
    require_place(folder, options.resume, options.overwrite)
    subvolumes = (
        []
        if options.subvolumes is None
        else read_centred_subvolumes(options.subvolumes, progress=options.progress)
    )
    tomograms = make_pool(folder / "pool", options, options.seed)
    result = train_on_tomograms(
        configuration,
        tomograms,
        folder,
        subvolumes=subvolumes,
        minutes=minutes,
        steps=options.steps,
        seed=options.seed,
        device=options.device,
        start=options.start,
        resume=options.resume,
        overwrite=options.overwrite,
        progress=options.progress,
    )
    structures = labelled_structures(options.structures, options.exclude) if options.structures else []
    last = result.steps.iloc[-1]
    record = {
        "md5": md5_of_file(result.network),
        "configuration": configuration,
        "start": None if options.start is None else md5_of_file(find_network_file(options.start)),
        "recipe": dataclasses.asdict(Recipe.from_configuration(configuration, options.netconfiguration)),
        "structures": [path.name for path in structures],
        "excluded": sorted(options.exclude),
        "made_up": options.made_up,
        "tomograms": len(tomograms),
        "subvolumes": len(subvolumes),
        "particles": sum(len(tomogram.labels) for tomogram in tomograms),
        "seed": options.seed,
        "steps": int(last["step"]),
        "minutes": round(float(last["seconds"]) / 60, 1),
    }
    write_json(folder / "training.json", json.loads(json.dumps(record)))
    say(f"{record['steps']:,} batches of {record['tomograms']} tomograms in {record['minutes']} minutes")
    report_paths([result.network, result.table, result.curve, folder / "training.json"])
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m benchmarks.default_network",
        description="Train the network that ships: final.pth and training.json, what its model card tells.",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    add_pool(parser)
    parser.add_argument(
        "--subvolumes", nargs="+", type=Path, metavar="PATH", help="files and folders to train on too"
    )
    parser.add_argument("--minutes", type=float, help="of training (default: 60)")
    parser.add_argument("--steps", type=int, metavar="N", help="batches, so that a run can be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-c", "--netconfiguration", default="on_tomograms", metavar="JSON")
    parser.add_argument("--start", metavar="PTH", help="network to begin with, file or name")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with what was cut off")
    again.add_argument("--overwrite", action="store_true", help="replace what was trained before")
    add_device(parser)
    add_progress(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
