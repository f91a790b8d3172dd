"""The demo: from nothing to scored picks, on simulated data, through the real assets.

It picks with the network that ships, and where that is asked for trains a small one beside it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from rich.markup import escape

from tomotwin_assets import actions
from tomotwin_assets.configs import resolve
from tomotwin_assets.progress import console, show_bars
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.settings import (
    DATA_VARIABLE,
    DEMO,
    FILE,
    SHIPPED_VARIABLE,
    project_folder,
    read_settings,
)
from tomotwin_assets.values import read_report
from tomotwin_lib.files import atomic_path
from tomotwin_lib.formats.frames import read_picks
from tomotwin_lib.networks.shipped_networks import DEFAULT
from tomotwin_lib.simulation.dataset import SimulatedDataset, simulate_dataset

MODEL = "small"
"""The network that is trained where that is asked for."""

CONFIGURATION: dict[str, Any] = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 8},
    "train_config": {
        "loss": "SupConLoss",
        "loss_kwargs": {"temperature": 0.1},
        "learning_rate": 0.004,
        "optimizer": "AdamW",
        "weight_decay": 0.01,
        "schedule": "cosine",
        "batchsize": 40,
        "samples_per_class": 8,
        "off_centre": 0.5,
        "background": 0.25,
        "aug_train_shift_distance": 1,
        "aug_rotation": "half_turns",
        "aug_noise": 0.3,
        "aug_dropout": [0.0, 0.1],
        "aug_gain": 0.15,
        "aug_offset": 0.1,
    },
    "distance": "COSINE",
}
"""Small enough to be trained on two cores in the time that a demo may take."""

SETTINGS = """\
# Settings of the demo's steps; see the README for the others.
[training]
epochs = 24
"""

DATASET: dict[str, Any] = {"seed": 0, "snr": 0.3}
"""Arguments of the simulator; see :func:`tomotwin_lib.simulation.dataset.simulate_dataset`."""


def run_demo(*, train: bool = False) -> int:
    """Simulate the data set, or take the one that is there; run the graph over it; show the scores.

    Parameters
    ----------
    train : also train a network on the data set's subvolumes. A network that was trained before stays.
    """
    folder = project_folder() / DEMO
    dataset = prepare(folder, train=train)
    os.environ[DATA_VARIABLE] = str(folder)
    os.environ[SHIPPED_VARIABLE] = "true"
    code = actions.run(None, None)
    if code == 0:
        show(DataFolder(root=str(folder)), dataset)
    return code


def prepare(folder: Path, *, train: bool) -> SimulatedDataset:
    """Simulate the data set unless it is there, with the settings of the demo, and the model to train."""
    model: dict[str, Any] = {"model_name": MODEL, "model_configuration": CONFIGURATION} if train else {}
    dataset = simulate_dataset(folder, **DATASET, **model, progress=show_bars())
    console.print(f"Simulated data: {escape(str(folder))}{' (there already)' if dataset.reused else ''}")
    if not (folder / FILE).exists():
        with atomic_path(folder / FILE) as temporary:
            temporary.write_text(SETTINGS, encoding="utf-8")
    return dataset


def show(folder: DataFolder, dataset: SimulatedDataset) -> None:
    """Print the scores of each kind of particle, where everything lies, and what to do next."""
    trained = (dataset.folder / "models" / f"{MODEL}.json").is_file()
    for file in dataset.tomograms:
        for model in (DEFAULT, MODEL) if trained else (DEFAULT,):
            _show_picks(folder, dataset, model, file.stem)
        production = folder.product("production_picks", file.stem)
        if production.is_dir():
            _lines([("production", production, "above the thresholds of the benchmark")])
    more = (
        ""
        if trained
        else (
            "\nTrain a network on these very kinds of particle, and see the two compared:\n"
            "  make demo TRAIN=1    (or: tomotwin-platform demo --train)"
        )
    )
    console.print(
        f"Look at it all, with pictures and lineage:\n  make ui    (or: tomotwin-platform ui){more}",
        soft_wrap=True,
        markup=False,
    )
    actions.show_leaderboard(folder)


def _show_picks(folder: DataFolder, dataset: SimulatedDataset, model: str, tomogram: str) -> None:
    """What one network found in one tomogram, and how to score it again."""
    path = folder.product("evaluation_report", model, tomogram)
    report = read_report(path)
    scores = pd.DataFrame(report.best_case)
    columns = [
        name for name in ("reference", "F1", "Recall", "Precision", "TP", "FP", "FN") if name in scores
    ]
    actions.show_table(f"{model} on {tomogram}, thresholds at their best (IoU above 0.6)", scores[columns])
    console.print(
        f"mean F1 [bold]{report.mean('F1', best_case=True):.3f}[/] at the best thresholds, "
        f"{report.mean('F1', best_case=False):.3f} of all picks as located\n"
    )
    picks = folder.product("located_picks", model, tomogram)
    _lines(
        [
            ("picks", picks, f"{len(read_picks(picks)):,} picks as located"),
            (
                "coordinates",
                folder.product("picked_coordinates", model, tomogram),
                "of all picks as located; choose limits with `tomotwin pick`",
            ),
            ("report", path, "scores of both"),
        ]
    )
    step = resolve("evaluation_report", read_settings()).optimise_step  # type: ignore[attr-defined]
    truth = dataset.folder / "ground_truth" / f"{tomogram}.txt"
    shell = Path(sys.executable).with_name("tomotwin")
    console.print(
        "The same scores again, from the files:\n"
        f"  {_short(shell)} evaluate positions -p {_short(truth)} -l {_short(picks)} "
        f"-s {_short(dataset.box_sizes)} --optim --stepsize_optim_similarity {step:g} "
        f"-o {_short(dataset.folder / 'scores' / model / tomogram)}",
        soft_wrap=True,
        markup=False,
    )


def _lines(entries: list[tuple[str, Path, str]]) -> None:
    for name, path, remark in entries:
        console.print(f"{name:<12} {escape(_short(path))}  [dim]{remark}[/]", soft_wrap=True)


def _short(path: Path) -> str:
    """Relative to where the user is, if it is below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
