"""``python -m benchmarks.recipe_ablations``: what each part of the recipe brings, at an equal budget.

Every variant is the recipe with one thing changed, trained with each seed and scored on validation sets
(:mod:`benchmarks.validation_sets`). Runs that are there already are not repeated, so a list that was cut off
goes on, and variants can be added.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.invariant_network import GainInvariant
from benchmarks.pools import add_pool, make_pool
from benchmarks.validation_sets import best_case, make_validation_set
from tomotwin_lib.cli.output import guarded, report_paths, say
from tomotwin_lib.cli.parsing import CommandParser, add_device, add_progress
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, ensure_writable_folder, write_json
from tomotwin_lib.networks.checkpoint import load_network
from tomotwin_lib.networks.configuration import read_configuration
from tomotwin_lib.training.recipe import Recipe
from tomotwin_lib.training.tomogram_training import require_budget, train_on_tomograms

VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "no hard negatives": {"train_config": {"looks": 0, "shares": {"hard": 0, "background": 20}}},
    "no off-centre negatives": {"train_config": {"shares": {"off_centre": 0, "background": 12}}},
    "no distractors": {"train_config": {"shares": {"distractors": 0, "background": 8}}},
    "no invariance to half turns": {"network_config": {"half_turns": False}},
    "exact invariance to gain and offset": {"identifier": GainInvariant.__name__},
    "width 8": {"network_config": {"width": 8}},
    "width 24": {"network_config": {"width": 24}},
    "width 32": {"network_config": {"width": 32}},
    "classes by the root of their particles": {"train_config": {"shares": {"abundance": 0.5}}},
    "field of view 29": {"network_config": {"field_of_view": 29}},
    "AdamW throughout": {"train_config": {"muon": 0.0}},
    "one stride": {"network_config": {"second_stride": False}},
    "temperature 0.1 throughout": {"train_config": {"temperature": 0.1, "last_temperature": 0.1}},
    "temperature falling to 0.1": {"train_config": {"last_temperature": 0.1}},
    "pairs only": {"train_config": {"proxies": 0.0}},
    "proxies only": {"train_config": {"proxies": 1.0, "pairs": 0.0}},
    "tomogram statistics only": {"train_config": {"own_statistics": 0.0}},
    "no noise added": {"train_config": {"noise": 0.0}},
}
"""What differs from the configuration; what is left out of a batch is background then: it stays as large."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and score all variants, write the table; returns the exit status."""
    return guarded(lambda: _run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    base = read_configuration(options.netconfiguration, Recipe.from_configuration)
    minutes = 15.0 if options.minutes is None and options.steps is None else options.minutes
    budget = {"minutes": minutes, "steps": options.steps}
    for seed in options.seeds:
        require_budget(minutes, options.steps, seed)
    folder = ensure_writable_folder(options.output)
    pool = make_pool(folder / "pool", options, seed=0)
    sets = [
        make_validation_set(folder / f"validation_{seed}", options.structures, options.exclude, seed=seed)
        for seed in options.validation
    ]
    scores: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:  # all variants with one seed before the next: a first table comes early
        for name in options.variants:
            place = folder / f"{name.replace(' ', '_')}_{seed}"
            score = _earlier(place / "scores.json", budget)
            if score is None:
                train_on_tomograms(
                    merged(base, VARIANTS[name]), pool, place, **budget, seed=seed, device=options.device,
                    overwrite=True, progress=options.progress,
                )  # fmt: skip
                loaded = load_network(place / "final.pth", options.device)
                score = averaged([best_case(loaded, one) for one in sets])
                write_json(place / "scores.json", {"budget": budget, "scores": score})
            scores.setdefault(name, []).append(score)
            say(f"{name}, seed {seed}: " + ", ".join(f"{key} {value:.3f}" for key, value in score.items()))
            with atomic_path(folder / "ablations.md") as temporary:
                temporary.write_text(table(scores, options.seeds), encoding="utf-8")
    report_paths([folder / "ablations.md"])
    return 0


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with some of its values changed, however deep they lie."""
    both = dict(base)
    for key, value in change.items():
        both[key] = merged(both.get(key) or {}, value) if isinstance(value, Mapping) else value
    return both


def averaged(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each score over the validation sets."""
    return {key: mean(one[key] for one in scores) for key in scores[0]}


def table(scores: Mapping[str, Sequence[Mapping[str, float]]], seeds: Sequence[int]) -> str:
    """Markdown: a row a variant, for each score the mean and that of each seed."""
    names = list(next(iter(scores.values()))[0])
    head = [f"{name} {what}" for name in names for what in ("mean", *(f"seed {seed}" for seed in seeds))]
    lines = [f"| variant | {' | '.join(head)} |", "| --- |" + " --- |" * len(head)]
    for variant, found in scores.items():
        cells = []
        for name in names:
            values = [one[name] for one in found]
            missing = ["–"] * (len(seeds) - len(values))
            cells += [f"{mean(values):.3f}", *(f"{value:.3f}" for value in values), *missing]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _earlier(path: Path, budget: Mapping[str, Any]) -> dict[str, float] | None:
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["budget"] != budget:
        raise InputError(
            path, f"its budget was {content['budget']}, not {dict(budget)}", "Choose another folder"
        )
    return dict(content["scores"])


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m benchmarks.recipe_ablations",
        description="Train variants of the recipe at an equal budget, and write a table of their best-case "
        "F1 on simulated tomograms, of structures and of made-up molecules that are in no training.",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], metavar="N")
    parser.add_argument(
        "--validation", nargs="+", type=int, default=[1, 2], metavar="N", help="seeds of validation sets"
    )
    parser.add_argument("--minutes", type=float, help="of each training (default: 15)")
    parser.add_argument("--steps", type=int, metavar="N", help="of each training, instead")
    add_pool(parser)
    parser.add_argument("-c", "--netconfiguration", default="on_tomograms", metavar="JSON")
    add_device(parser)
    add_progress(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
