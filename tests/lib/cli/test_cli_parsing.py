"""What the command lines mean: TomoTwin's flags, both names of each command, one-line complaints."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from tomotwin_lib.cli import embed, evaluate, locate, output, pick, simulate, train
from tomotwin_lib.cli import map as map_command
from tomotwin_lib.cli.main import COMMANDS, build_parser, build_single_parser
from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation import labelled_dataset
from tomotwin_lib.simulation.dataset import SimulatedDataset, simulate_dataset
from tomotwin_lib.simulation.recipe import Recipe
from tomotwin_lib.training import trainer

Lab = Any
Run = Callable[..., Any]
OLD_NAMES: dict[str, tuple[ModuleType, str]] = {
    "tomotwin_train.py": (train, "train"),
    "tomotwin_embed.py": (embed, "embed"),
    "tomotwin_map.py": (map_command, "map"),
    "tomotwin_locate.py": (locate, "locate"),
    "tomotwin_pick.py": (pick, "pick"),
    "tomotwin_scripts_evaluate.py": (evaluate, "evaluate"),
}
DOCUMENTED = [
    "tomotwin_train.py -v path/train/volumes/ --validvolumes path/valid/volumes/ -o out_train "
    "-nc path/to/siamese_network.json --epochs 300",
    "tomotwin_embed.py tomogram -m /path/to/model.pth -v tiltseries_rec.mrc -o ./ -b 256",
    "tomotwin_embed.py subvolumes -m /path/to/model.pth -v refs/ -b 8 -o ./",
    "tomotwin_map.py distance -r embeddings.temb -v tiltseries_rec_embeddings.temb --refine -o ./",
    "tomotwin_locate.py findmax -m map.tmap -o ./ --write_heatmaps",
    "tomotwin_scripts_evaluate.py positions -p particle_positions.txt -l located.tloc -s boxsizes.json "
    "--optim --stepsize_optim_similarity 0.01",
]


def parse(line: str) -> dict[str, Any]:
    """The arguments of a command line, which both names of the command must read alike."""
    name, *arguments = shlex.split(line)
    module, command = OLD_NAMES[name]
    old = vars(build_single_parser(name, module).parse_args(arguments))
    assert old == vars(build_parser().parse_args([command, *arguments]))
    return old


@pytest.mark.parametrize("line", DOCUMENTED)
def test_documented_command_lines_are_understood(line: str) -> None:
    assert callable(parse(line)["run"])


def test_documented_command_lines_are_those_of_the_document(shared: Path) -> None:
    text = (shared / "reference" / "tomotwin-developer-information.rst").read_text()
    found = re.findall(r"tomotwin_\w+\.py [^;\n]+", text)
    assert [line.strip() for line in found] == DOCUMENTED


def test_documented_values_arrive() -> None:
    trained, tomogram, subvolumes, mapped, located, evaluated = map(parse, DOCUMENTED)
    assert (trained["volpath"], trained["validvolumes"]) == ("path/train/volumes/", "path/valid/volumes/")
    assert (trained["outpath"], trained["epochs"]) == ("out_train", 300)
    assert trained["netconfiguration"] == "path/to/siamese_network.json"
    assert (tomogram["volumes"], tomogram["batchsize"]) == (["tiltseries_rec.mrc"], 256)
    assert (subvolumes["volumes"], subvolumes["batchsize"]) == (["refs/"], 8)
    assert (mapped["references"], mapped["refine"]) == ("embeddings.temb", True)
    assert (located["map"], located["write_heatmaps"]) == ("map.tmap", True)
    assert (evaluated["optim"], evaluated["stepsize_optim_similarity"]) == (True, 0.01)
    assert (evaluated["positions"], evaluated["size"]) == ("particle_positions.txt", "boxsizes.json")


def test_defaults_are_those_of_tomotwin() -> None:
    trained = parse("tomotwin_train.py -v a --validvolumes b -o c -nc d")
    assert (trained["epochs"], trained["max_neg"], trained["distance"]) == (10, None, None)
    assert trained["save_after_improvement"] is False
    tomogram = parse("tomotwin_embed.py tomogram -m a -v b -o c")
    assert (tomogram["batchsize"], tomogram["stride"], tomogram["padding"]) == (64, [2], True)
    assert (tomogram["zrange"], tomogram["mask"], tomogram["distribution_mode"]) == (None, None, 1)
    assert parse("tomotwin_embed.py subvolumes -m a -v b -o c")["batchsize"] == 128
    located = parse("tomotwin_locate.py findmax -m a -o b")
    assert [located[name] for name in ("tolerance", "boxsize", "global_min", "processes")] == [
        0.2,
        "37",
        0.5,
        4,
    ]
    picked = parse("tomotwin_pick.py -l a -o b")
    assert {picked[name] for name in ("target", "minmetric", "maxmetric", "minsize", "maxsize")} == {None}
    evaluated = parse("tomotwin_scripts_evaluate.py positions -p a -l b")
    assert (evaluated["size"], evaluated["fbeta"]) == ("37", 1)
    assert (evaluated["stepsize_optim_similarity"], evaluated["optim"]) == (0.05, False)


@pytest.mark.parametrize(
    "line",
    [
        "tomotwin_train.py --volpath a --validvolumes b --pdbpath p --outpath c --netconfiguration d "
        "--max_neg 2 --checkpoint e --distance EUCLIDEAN --save_after_improvement --max-minutes 3 "
        "--seed 4 --device cpu",
        "tomotwin_embed.py tomogram --modelpth a --volumes b c --outpath d --batchsize 3 --stride 2 3 4 "
        "--zrange 5 60 --mask m.mrc --distribution_mode 0 --no-padding --method windows",
        "tomotwin_embed.py subvolumes --modelpth a --volumes b c d --batchsize 3 --outpath e",
        "tomotwin_map.py distance --references a --volumes b --output c",
        "tomotwin_locate.py findmax --map a --output b --tolerance 0.1 --boxsize sizes.json --global_min 0.3 "
        "--processes 2",
        "tomotwin_pick.py --locate_results a --target b c.mrc --output d --minmetric 0.1 --maxmetric 0.9 "
        "--minsize 3 --maxsize 50.5",
        "tomotwin_scripts_evaluate.py positions --positions a --locate b --size 20 --fbeta 2 --optim",
    ],
)
def test_long_flags_are_understood(line: str) -> None:
    parse(line)


def test_stride_is_x_y_z_on_the_command_line_and_z_y_x_in_the_library() -> None:
    assert embed._stride([2, 3, 4]) == (4, 3, 2)
    assert embed._stride([5]) == 5


def test_train_passes_everything_on(
    lab: Lab, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def train_double(*arguments: Any, **options: Any) -> trainer.TrainingResult:
        bound = inspect.signature(original).bind(*arguments, **options)
        seen.update(bound.arguments)
        return trainer.TrainingResult(
            tmp_path, tmp_path / "l", tmp_path / "f", tmp_path / "e", pd.DataFrame()
        )

    original = trainer.train
    monkeypatch.setattr(trainer, "train", train_double)
    configuration = tmp_path / "c.json"
    configuration.write_text(
        '{"identifier": "FullyConvolutional", "network_config": {}, "distance": "COSINE"}'
    )
    outcome = run(
        "train_main", "-v", lab.references, "--validvolumes", lab.references, "-o", tmp_path,
        "-nc", configuration, "--epochs", "7",
        "-d", "euclidean", "--checkpoint", "k.pth", "--seed", "3", "--max-minutes", "1.5", "--max_neg", "4",
        "-p", lab.references,
        "--device", "cpu", "--no-progress", "--save_after_improvement", "--overwrite",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert seen["configuration"]["distance"] == "EUCLIDEAN"
    del seen["configuration"]
    assert callable(seen.pop("on_note"))
    assert seen == {
        "volumes": str(lab.references), "validation": str(lab.references), "output": str(tmp_path),
        "densities": str(lab.references), "max_negatives": 4, "epochs": 7, "device": "cpu", "seed": 3,
        "resume_from": "k.pth", "start_from": None, "max_minutes": 1.5,
        "save_after_improvement": True, "progress": False, "overwrite": True,
    }  # fmt: skip


def test_train_says_what_has_no_part(
    lab: Lab, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        trainer, "train", lambda *_, **__: trainer.TrainingResult(*[tmp_path] * 4, pd.DataFrame())
    )
    densities = tmp_path / "densities"
    densities.mkdir()
    for name in ("1abc", "2xyz", "3non"):
        (densities / f"{name}.mrc").write_bytes(b"")  # only the names are read before the training
    configuration = tmp_path / "c.json"
    common = ("-v", lab.references, "--validvolumes", lab.references, "-o", tmp_path, "-nc", configuration)
    for train_config, named in (
        ({"loss": "ArcFaceLoss"}, "--max_neg 2 changes nothing: ArcFaceLoss"),
        ({"loss": "TripletLoss", "miner": True}, "--max_neg 2 changes nothing: the TripletMarginMiner"),
        ({}, ""),
    ):
        network = {"identifier": "FullyConvolutional", "network_config": {}, "train_config": train_config}
        configuration.write_text(json.dumps(network))
        outcome = run("train_main", *common, "--max_neg", "2", "-p", densities)
        assert outcome.code == 0, outcome.err
        assert "note: no subvolume of 3non: their densities are not used" in outcome.err
        assert named in outcome.err and outcome.err.count("note:") == 1 + bool(named)


def test_search_passes_everything_on(
    lab: Lab, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tomotwin_lib.training import search as search_module

    seen: dict[str, Any] = {}

    def search_double(*arguments: Any, **options: Any) -> search_module.SearchResult:
        seen.update(inspect.signature(original).bind(*arguments, **options).arguments)
        table = pd.DataFrame({"trial": [0], "state": ["complete"], "value": [0.5], "epochs": [7]})
        table["network_config.width"] = [4]
        return search_module.SearchResult(tmp_path, *(tmp_path / name for name in "bth"), table, 0)

    original = search_module.search
    monkeypatch.setattr(search_module, "search", search_double)
    space = {
        "identifier": "FullyConvolutional",
        "network_config": {"width": {"suggest_int": {"low": 2, "high": 4}}},
        "optuna": {"target": "F1", "minmax": "maximize"},
    }
    (tmp_path / "space.json").write_text(json.dumps(space))
    outcome = run(
        "main", "search", "-v", lab.references, "--validvolumes", lab.references, "-o", tmp_path, "-sn", "s",
        "-c", tmp_path / "space.json", "-n", "5", "-p", lab.references, "--epochs", "7", "--device", "cpu",
        "--seed", "3", "--no-progress",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert seen.pop("space").content["network_config"] == space["network_config"]
    assert callable(seen.pop("on_trial")) and callable(seen.pop("on_note"))
    assert seen == {
        "volumes": str(lab.references), "validation": str(lab.references), "output": str(tmp_path),
        "densities": str(lab.references), "name": "s", "trials": 5, "epochs": 7, "device": "cpu", "seed": 3,
        "progress": False,
    }  # fmt: skip
    assert "best: trial 0" in outcome.out and "0.5000" in outcome.out and "wrote" in outcome.out
    args = build_parser().parse_args(shlex.split("search -v a --validvolumes b -o c -c d --name e"))
    assert (args.ntrials, args.epochs, args.pdbpath, args.seed) == (100, None, None, 0)


def test_simulate_has_the_defaults_of_the_library() -> None:
    args = build_parser().parse_args(["simulate", "-o", "x"])
    defaults = {name: p.default for name, p in inspect.signature(simulate_dataset).parameters.items()}
    assert tuple(reversed(args.size)) == defaults["tomogram_shape"]
    assert (args.seed, args.tomograms, args.snr) == (defaults["seed"], defaults["tomograms"], defaults["snr"])
    assert args.subvolumes == defaults["subvolumes_per_class"]
    assert defaults["particles_per_class"] == simulate.PARTICLES
    assert args.run is simulate.run


def test_simulate_of_crowded_specimens(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def note(output: Path, recipe: Recipe, **options: object) -> SimulatedDataset:
        asked.update(recipe=recipe, **options)
        raise InputError("stop", "here", "please")

    monkeypatch.setattr(labelled_dataset, "simulate_labelled_dataset", note)
    options = (
        "--made_up 3 --structures a b --distractors --crowding 0.1 --method tilt_series --snr 0.1 0.3 "
        "--defocus 2 5 --voxel_size 9 --thickness 100 200 --size 50 60 70 --tomograms 2 --seed 4 "
        "--subvolumes 7 --device cpu --no-progress"
    )
    assert "stop: here" in run("main", "simulate", "-o", tmp_path, *options.split()).err
    assert asked == {"recipe": Recipe(
        structures=("a", "b"), made_up=3, seed=4, tomograms=2, tomogram_shape=(70, 60, 50), crowding=0.1,
        distractors=True, method="tilt_series", snr=(0.1, 0.3), defocus_in_micrometres=(2, 5),
        voxel_size_in_angstrom=(9, 9), thickness_in_nanometres=(100, 200), subvolumes_per_class=7,
    ), "device": "cpu", "progress": False}  # fmt: skip
    run("main", "simulate", "-o", tmp_path, "--distractors")
    assert asked["recipe"] == Recipe(particles_per_class=10, distractors=True)
    assert (
        "Give one, or the least and the most"
        in run("main", "simulate", "-o", tmp_path, "--snr", "1", "2", "3").err
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("embed",),
        ("embed", "tomogram"),
        ("embed", "tomogram", "-m", "a", "-v", "b", "-o", "c", "-s", "two"),
        ("embed", "tomogram", "-m", "a", "-v", "b", "-o", "c", "-d", "7"),
        ("pick", "-l", "a", "-o", "b", "--unknown"),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments: tuple[str, ...], run: Run) -> None:
    outcome = run("main", *arguments)
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith("error: tomotwin") and outcome.err.count("\n") == 1


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    outcome = run("main")
    assert outcome.code == 2
    assert all(name in outcome.out for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(OLD_NAMES))
def test_help_says_the_defaults(name: str) -> None:
    module, _ = OLD_NAMES[name]
    parser = build_single_parser(name, module)
    parsers = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers += action.choices.values()
    text = "\n".join(parser.format_help() for parser in parsers)
    assert "(default: True)" not in text and "(default: None)" not in text and "%(default)s" not in text
    assert name == "tomotwin_map.py" or "(default: " in text


def test_errors_of_the_system_and_of_the_user_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def raising(error: BaseException) -> Callable[[], int]:
        def run() -> int:
            raise error

        return run

    full = OSError(28, "No space left on device", "/data/[run]/map.tmap")
    for error, code, text in (
        (
            InputError("a.mrc", "it\nis [bold]bad[/bold]", "Fix it"),
            2,
            "a.mrc: it is [bold]bad[/bold]. Fix it.",
        ),
        (full, 2, "/data/[run]/map.tmap: No space left on device"),
        (MemoryError("1 TB"), 2, "not enough memory (1 TB)"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ):
        assert output.guarded(raising(error)) == code
        captured = capsys.readouterr().err
        assert text in captured and captured.count("\n") == 1
    with pytest.raises(ZeroDivisionError):  # a mistake of ours keeps its traceback
        output.guarded(raising(ZeroDivisionError()))


def test_file_names_of_references_never_clash() -> None:
    assert output.file_stems(["a.mrc", "b.rec", "a.rec", "a_2.mrc"]) == ["a", "b", "a_2", "a_2_2"]


def test_help_capitalises_nothing_but_the_first_letter_of_a_heading(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command, told in (("train_on_tomograms", "With --simulate:"), ("simulate", "Crowded specimens:")):
        with pytest.raises(SystemExit):
            build_parser().parse_args([command, "--help"])
        out = capsys.readouterr().out
        assert told in out.splitlines() and "Options:" in out.splitlines()
