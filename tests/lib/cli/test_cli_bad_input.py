"""Bad input through the commands: one line, exit code 2, no traceback, nothing lost or half written."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.formats.frames import write_frame
from tomotwin_lib.formats.volumes import read_volume, write_volume

Lab = Any
Run = Callable[..., Any]


class Malicious:
    """Unpickling this runs a command of the system."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


@pytest.fixture
def refused(tmp_path: Path, run: Run) -> Callable[..., str]:
    """Run a command that writes to ``tmp_path / "out"`` and must be refused; returns its one line."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("tomo_embeddings.temb", "embeddings.temb", "map.tmap", "located.tloc", "final.pth"):
        (out / name).write_text("result of an earlier run")
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def call(name: str, *arguments: object) -> str:
        outcome = run(name, *arguments)
        assert outcome.code == 2
        assert outcome.out == ""
        lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1 and outcome.err.endswith(f"{lines[0]}\n")
        assert "Traceback" not in outcome.err
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        return lines[0]

    return call


def broken_volume(kind: str, folder: Path, good: Path) -> Path:
    """A file that cannot be embedded."""
    path = folder / f"{kind}.mrc"
    data = np.array(read_volume(good).data)
    if kind == "truncated":
        path.write_bytes(good.read_bytes()[:5000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "flat":
        with mrcfile.new(path) as mrc:
            mrc.set_data(data[0])
    elif kind == "text":
        path.write_text("not a volume")
    elif kind == "nan":
        data[3, 4, 5] = np.nan
        write_volume(path, data, None)
    elif kind == "constant":
        write_volume(path, np.ones_like(data), None)
    return path


@pytest.mark.parametrize("kind", ["truncated", "empty", "flat", "text", "nan", "constant", "missing"])
def test_unusable_tomogram(kind: str, lab: Lab, tmp_path: Path, refused: Callable[..., str]) -> None:
    path = broken_volume(kind, tmp_path, lab.tomogram)
    line = refused(
        "main", "embed", "tomogram", "-m", lab.model, "-v", path, "-o", tmp_path / "out", "-s", "8"
    )
    assert str(path) in line


@pytest.mark.parametrize("kind", ["truncated", "empty", "flat", "nan", "constant"])
def test_unusable_reference(kind: str, lab: Lab, tmp_path: Path, refused: Callable[..., str]) -> None:
    path = broken_volume(kind, tmp_path, lab.references / "tomo_1abc_0.mrc")
    line = refused(
        "embed_main", "subvolumes", "-m", lab.model, "-v", lab.references, path, "-o", tmp_path / "out"
    )
    assert str(path) in line


def test_reference_of_the_wrong_size(lab: Lab, tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "small.mrc"
    write_volume(path, np.random.default_rng(0).normal(size=(36, 36, 36)), 10.0)
    line = refused("embed_main", "subvolumes", "-m", lab.model, "-v", path, "-o", tmp_path / "out")
    assert str(path) in line and "36" in line and "37" in line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("-s", "0"), ("stride", "0")),
        (("-s", "2", "2"), ("stride", "2 2")),
        (("-s", "-1"), ("stride", "-1")),
        (("-z", "10", "60"), ("zrange", "60", "42")),
        (("-z", "-4", "10"), ("zrange", "-4")),
        (("-z", "20", "10"), ("zrange", "20")),
        (("-b", "0"), ("batchsize", "0")),
        (("--device", "toaster"), ("--device", "toaster")),
    ],
)
def test_impossible_options(
    options: tuple[str, ...],
    expected: tuple[str, ...],
    lab: Lab,
    tmp_path: Path,
    refused: Callable[..., str],
) -> None:
    line = refused(
        "embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-o", tmp_path / "out", *options
    )
    assert all(word in line for word in expected)


@pytest.mark.parametrize(
    ("shape", "value", "word"), [((42, 46, 57), 1, "57"), ((42, 46, 58), 0, "none of the")]
)
def test_unusable_mask(
    shape: tuple[int, ...], value: int, word: str, lab: Lab, tmp_path: Path, refused: Callable[..., str]
) -> None:
    mask = tmp_path / "mask.mrc"
    write_volume(mask, np.full(shape, value, dtype=np.int8), 10.0)
    line = refused(
        "embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-o", tmp_path / "out", "--mask", mask
    )
    assert str(mask) in line and word in line


def test_two_tomograms_of_one_name(lab: Lab, tmp_path: Path, refused: Callable[..., str]) -> None:
    twin = tmp_path / "tomo.mrc"
    twin.write_bytes(lab.tomogram.read_bytes())
    line = refused(
        "embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, twin, "-o", tmp_path / "out"
    )
    assert "overwrite" in line


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"identifier": "SiamseNet"}, "SiamseNet"),
        ({"network_config": {"widht": 2}}, "widht"),
        ({"train_config": {"lerning_rate": 1}}, "lerning_rate"),
        ({"distence": "COSINE"}, "distence"),
        ({"distance": "MANHATTAN"}, "MANHATTAN"),
    ],
)
def test_unusable_configuration(
    change: dict[str, Any], word: str, lab: Lab, tmp_path: Path, refused: Callable[..., str]
) -> None:
    path = tmp_path / "network.json"
    path.write_text(json.dumps({"identifier": "FullyConvolutional", "network_config": {}} | change))
    common = ("-v", lab.references, "--validvolumes", lab.references, "-o", tmp_path / "out", "--overwrite")
    line = refused("train_main", *common, "-nc", path)
    assert str(path) in line and word in line


def test_training_options_that_cannot_be(lab: Lab, tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "network.json"
    path.write_text('{"identifier": "FullyConvolutional", "network_config": {"width": 2}}')
    common = (
        "train_main",
        "-v",
        lab.references,
        "--validvolumes",
        lab.references,
        "-o",
        tmp_path / "out",
        "-nc",
        path,
    )
    assert "densities: there is no such file" in refused(*common, "-p", "densities")
    alone = tmp_path / "alone"
    write_volume(alone / "1abc.mrc", np.random.default_rng(0).normal(size=(9, 9, 9)), 10.0)
    line = refused(*common, "-p", alone)
    assert str(alone) in line and "1abc" in line and "2xyz" in line and "in common" in line
    write_volume(alone / "2xyz.mrc", np.random.default_rng(0).normal(size=(38, 38, 38)), 10.0)
    line = refused(*common, "-p", alone, "--overwrite")
    assert str(alone / "2xyz.mrc") in line and "38×38×38" in line and "37" in line
    for option, value in (
        ("--epochs", "0"),
        ("--max_neg", "0"),
        ("--max-minutes", "-1"),
        ("-d", "MANHATTAN"),
    ):
        line = refused(*common, option, value)
        assert option in line and value in line
    assert "final.pth" in refused(*common)
    assert "nowhere" in refused(*common[:2], "nowhere", *common[3:], "--overwrite")
    assert "no.pth" in refused(*common, "--checkpoint", "no.pth")


@pytest.mark.parametrize(
    ("rate", "study", "options", "words"),
    [
        ({"suggest_normal": {"low": 1e-4, "high": 1e-3}}, {}, (), ("learning_rate", "suggest_normal")),
        ({"suggest_float": {"low": 1e-3, "high": 1e-4}}, {}, (), ("learning_rate", "0.001", "0.0001")),
        (0.001, {}, (), ("nothing open",)),
        (None, {"target": "SPEED"}, (), ("optuna.target", "SPEED")),
        (None, {"pruner": True}, (), ("pruner",)),
        (None, {}, ("-n", "0"), ("--ntrials", "0")),
        (None, {}, ("--epochs", "0"), ("--epochs", "0")),
        (None, {}, ("--name", "a/b"), ("--name", "a/b")),
        (None, {}, ("-v", "nowhere"), ("nowhere",)),
        (None, {}, ("-p", "nowhere"), ("nowhere",)),
        (None, {}, ("--device", "toaster"), ("--device", "toaster")),
    ],
)
def test_searches_that_cannot_be(
    rate: Any,
    study: dict[str, Any],
    options: tuple[str, ...],
    words: tuple[str, ...],
    lab: Lab,
    tmp_path: Path,
    refused: Callable[..., str],
) -> None:
    content = {
        "identifier": "FullyConvolutional",
        "network_config": {"width": 2},
        "train_config": {"learning_rate": rate or {"suggest_float": {"low": 1e-4, "high": 1e-3}}},
        "optuna": {"target": "F1", "minmax": "maximize"} | study,
    }
    path = tmp_path / "space.json"
    path.write_text(json.dumps(content))
    line = refused(
        "main", "search", "-v", lab.references, "--validvolumes", lab.references, "-o", tmp_path / "out",
        "-c", path, "--name", "study", *options,
    )  # fmt: skip
    assert all(word in line for word in words)


def test_embedding_of_another_network(
    lab: Lab, other_model: Path, tmp_path: Path, run: Run, refused: Callable[..., str]
) -> None:
    work = tmp_path / "work"
    assert run("embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-o", work, "-s", "8").code == 0
    assert run("embed_main", "subvolumes", "-m", other_model, "-v", lab.references, "-o", work).code == 0
    tomogram, references = work / "tomo_embeddings.temb", work / "embeddings.temb"
    line = refused(
        "map_main", "distance", "-r", references, "-v", tomogram, "-o", tmp_path / "out", "--refine"
    )
    assert "same network" in line and "MD5" in line
    line = refused("map_main", "distance", "-r", tomogram, "-v", references, "-o", tmp_path / "out")
    assert str(tomogram) in line


@pytest.mark.parametrize(
    "command",
    [
        ("embed_main", "tomogram", "-m", "{model}", "-v", "{tomogram}", "-o", "{blocked}"),
        ("embed_main", "subvolumes", "-m", "{model}", "-v", "{references}", "-o", "{blocked}"),
        ("map_main", "distance", "-r", "a", "-v", "b", "-o", "{blocked}"),
        ("locate_main", "findmax", "-m", "a", "-o", "{blocked}"),
        ("pick_main", "-l", "a", "-o", "{blocked}"),
        ("evaluate_main", "positions", "-p", "a", "-l", "b", "-o", "{blocked}"),
        ("train_main", "-v", "a", "--validvolumes", "b", "-nc", "c", "-o", "{blocked}"),
        ("main", "search", "-v", "a", "--validvolumes", "b", "-c", "c", "--name", "d", "-o", "{blocked}"),
        ("main", "simulate", "-o", "{blocked}"),
    ],
)
def test_output_folder_that_cannot_be_written(
    command: tuple[str, ...], lab: Lab, tmp_path: Path, refused: Callable[..., str]
) -> None:
    # Below a file no folder can be made, not even by the administrator, whom permissions do not stop.
    (tmp_path / "file").write_text("")
    blocked = tmp_path / "file" / "folder"
    values = {"model": lab.model, "tomogram": lab.tomogram, "references": lab.references, "blocked": blocked}
    line = refused(*(word.format(**values) for word in command))
    assert str(blocked) in line and "cannot be written" in line


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("evil.temb", ("map_main", "distance", "-r", "{evil}", "-v", "{evil}", "-o", "{out}")),
        ("evil.tmap", ("locate_main", "findmax", "-m", "{evil}", "-o", "{out}")),
        ("evil.tloc", ("pick_main", "-l", "{evil}", "-o", "{out}")),
        ("evil.tloc", ("evaluate_main", "positions", "-p", "{positions}", "-l", "{evil}", "-o", "{out}")),
        ("evil.pth", ("embed_main", "tomogram", "-m", "{evil}", "-v", "{tomogram}", "-o", "{out}")),
        ("evil.tloc", ("main", "info", "{evil}")),
        ("evil.pth", ("main", "info", "{evil}")),
    ],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_malicious_files_are_not_run(
    name: str, command: tuple[str, ...], lab: Lab, tmp_path: Path, refused: Callable[..., str]
) -> None:
    proof, evil = tmp_path / "proof", tmp_path / name
    evil.write_bytes(pickle.dumps(Malicious(proof)))
    values = {
        "evil": evil, "out": tmp_path / "out", "tomogram": lab.tomogram, "positions": lab.positions
    }  # fmt: skip
    line = refused(*(word.format(**values) for word in command))
    assert str(evil) in line
    assert not proof.exists()


def test_info_of_files_that_tell_nothing(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "a.xyz").write_text("")
    (tmp_path / "b.json").write_text("[1, 2]")
    (tmp_path / "c.json").write_text("{")
    for name in ("a.xyz", "b.json", "c.json", "missing.mrc", "missing.pth", "missing.json", "missing.tmap"):
        assert name in refused("main", "info", tmp_path / name)


def test_info_of_a_bad_file_does_not_hide_the_others(lab: Lab, tmp_path: Path, run: Run) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.xyz"
    first.write_text('{"summary": [], "thresholds": {}}')
    outcome = run("main", "info", first, lab.box_sizes, second, lab.positions)
    assert outcome.code == 2
    assert "box sizes" in outcome.out and "ground truth" in outcome.out
    told = outcome.err.splitlines()
    assert len(told) == 2 and str(first) in told[0] and str(second) in told[1]
    assert "no kind that is known: its entries are summary, thresholds" in told[0]


def test_files_of_another_kind_are_named(lab: Lab, tmp_path: Path, refused: Callable[..., str]) -> None:
    reference, out = lab.references / "tomo_1abc_0.mrc", tmp_path / "out"
    line = refused("map_main", "distance", "-r", reference, "-v", lab.tomogram, "-o", out)
    assert f"{reference}: it is an MRC volume" in line and "`tomotwin embed subvolumes`" in line
    line = refused("locate_main", "findmax", "-m", reference, "-o", out)
    assert str(reference) in line and "MRC volume" in line and "KeyError" not in line
    sound = tmp_path / "sound.tmap"
    sound.write_bytes(b"\x25\x26\x27" * 100)
    line = refused("locate_main", "findmax", "-m", sound, "-o", out)
    assert str(sound) in line and "no frame file" in line and "KeyError" not in line
    line = refused("locate_main", "findmax", "-m", sound, "-o", out, "--calibration", lab.box_sizes)
    assert f"{lab.box_sizes}: it is no calibration" in line and "'" not in line
    line = refused("locate_main", "findmax", "-m", sound, "-o", out, "-b", "-37")
    assert "-b/--boxsize: the size is -37" in line


def test_embeddings_in_the_place_of_the_other(tmp_path: Path, refused: Callable[..., str]) -> None:
    tomogram, references = tmp_path / "t_embeddings.temb", tmp_path / "r.temb"
    write_frame(tomogram, pd.DataFrame({"Z": [0.0], "Y": [0.0], "X": [0.0], "0": [1.0]}))
    write_frame(references, pd.DataFrame({"filepath": ["a.mrc"], "0": [1.0]}))
    similarities = tmp_path / "map.tmap"
    write_frame(similarities, pd.DataFrame({"X": [0.0], "Y": [0.0], "Z": [0.0], "d_class_0": [1.0]}))

    def line(r: Path, v: Path) -> str:
        return refused("map_main", "distance", "-r", r, "-v", v, "-o", tmp_path / "out")

    told = line(tomogram, references)
    assert f"{tomogram}: it is the embedding of a tomogram, and -r takes one of subvolumes" in told
    assert f"-r and -v look swapped: give it with -v, and {references} with -r" in told
    told = line(tomogram, tomogram)
    assert f"{tomogram}: it is the embedding of a tomogram" in told and "swapped" not in told
    assert "with -r the embeddings.temb that `tomotwin embed subvolumes` writes" in told
    told = line(references, references)
    assert f"{references}: it is the embedding of subvolumes, and -v takes one of a tomogram" in told
    assert "with -v the <tomogram>_embeddings.temb that `tomotwin embed tomogram` writes" in told
    # What is of another kind altogether was not swapped, and neither is what cannot be read.
    assert "it holds a similarity map, not" in line(similarities, references)
    assert f"{tomogram}: it is the embedding of a tomogram" in line(tomogram, tmp_path / "missing.temb")


def test_folders_in_place_of_embeddings(lab: Lab, tmp_path: Path, refused: Callable[..., str]) -> None:
    out = tmp_path / "out"
    for flags, embedding, command in (
        (("-r", lab.references, "-v", "v.temb"), "embeddings.temb", "`tomotwin embed subvolumes`"),
        (("-r", "r.temb", "-v", lab.references), "<tomogram>_embeddings.temb", "`tomotwin embed tomogram`"),
    ):
        line = refused("map_main", "distance", *flags, "-o", out)
        assert (
            f"{lab.references}: it is a folder" in line and f"the {embedding} that {command} writes" in line
        )
    # The fixture left both kinds in this one.
    assert f"Give {out / 'embeddings.temb'}" in refused(
        "map_main", "distance", "-r", out, "-v", "v", "-o", out
    )
    line = refused("map_main", "distance", "-r", "r.temb", "-v", out, "-o", out)
    assert f"Give {out / 'tomo_embeddings.temb'}" in line
    two = tmp_path / "two"
    two.mkdir()
    for name in "ab":
        (two / f"{name}_embeddings.temb").touch()
    line = refused("map_main", "distance", "-r", "r.temb", "-v", two, "-o", out)
    assert f"Give one in it, such as {two / 'a_embeddings.temb'}" in line


def test_picks_that_do_not_fit(lab: Lab, tmp_path: Path, run: Run, refused: Callable[..., str]) -> None:
    work = tmp_path / "work"
    run("embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-o", work, "-s", "4")
    run("embed_main", "subvolumes", "-m", lab.model, "-v", lab.references, "-o", work)
    run(
        "map_main",
        "distance",
        "-r",
        work / "embeddings.temb",
        "-v",
        work / "tomo_embeddings.temb",
        "-o",
        work,
    )
    locate = ("locate_main", "findmax", "-m", work / "map.tmap", "-o")
    sizes = tmp_path / "sizes.json"
    sizes.write_text('{"1abc": 17}')
    for option, value in (("-b", sizes), ("-b", "0"), ("-b", "no.json"), ("-t", "-1"), ("--processes", "0")):
        refused(*locate, tmp_path / "out", option, value)
    assert run(*locate, work).code == 0

    pick = ("pick_main", "-l", work / "located.tloc", "-o", tmp_path / "out")
    assert "9zzz" in refused(*pick, "--target", "9zzz")
    assert "--minmetric" in refused(*pick, "--minmetric", "0.8", "--maxmetric", "0.7")
    small = tmp_path / "small.mrc"
    write_volume(small, np.zeros((3, 3, 3)), None)
    for picture in ((), ("--png",)):
        line = refused(*pick, "--tomogram", small, *picture)
        assert str(small) in line and "3×3×3" in line and "×".join(map(str, lab.shape)) in line
    for form in ("relion4", "relion5"):
        line = refused(*pick, "--formats", "coords", form)
        assert form in line and "--output-voxel-size" in line and "10" in line
    assert "tomogram name" in refused(*pick, "--tomogram-name", "")

    evaluate = ("evaluate_main", "positions", "-l", work / "located.tloc", "-o", tmp_path / "out", "-p")
    truth = tmp_path / "truth.txt"
    truth.write_text("9zzz 1 2 3\n")
    assert "9zzz" in refused(*evaluate, truth)
    truth.write_text("1abc 1 two 3\n")
    assert "two" in refused(*evaluate, truth)
    assert "fbeta" in refused(*evaluate, lab.positions, "--fbeta", "0")
    assert "step" in refused(*evaluate, lab.positions, "--optim", "--stepsize_optim_similarity", "0")


def test_unknown_options_name_the_innermost_command(refused: Callable[..., str]) -> None:
    line = refused("main", "embed", "tomogram", "-m", "a", "-v", "b", "-o", "c", "--strides", "2")
    assert "--strides" in line and "`tomotwin embed tomogram --help`" in line


def test_structures_that_cannot_be_used_are_named_by_their_whole_path(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "structures"
    folder.mkdir()
    for name, told in (("nothing.mrc", "its name tells no class"), ("1abc.mrc", "")):
        path = folder / name
        path.write_text("no volume")
        outcome = run("main", "simulate", "-o", tmp_path / "out" / "data", "--structures", folder)
        assert outcome.code == 2 and outcome.err.startswith(f"error: {path}: {told}"), outcome.err
        assert not (tmp_path / "out").exists()
        path.unlink()


@pytest.mark.parametrize(
    "options",
    [
        "--snr 0",
        "--snr 0 0.1",
        "--particles 0",
        "--particles 0 --distractors",
        "--subvolumes -1",
        "--tomograms -1 --distractors",
        "--size 10 50 50",
        "--size 10 50 50 --distractors",
        "--seed -1",
        "--made_up 5000",
        "--crowding 0.9",
        "--defocus 30000",
        "--voxel_size 0",
        "--voxel_size 0.1",
        "--voxel_size 10 1000",
        "--thickness 5",
        "--thickness 100000",
        "--snr 0.5 0.1",
        "--crowding 0.1 --particles 3",
        "--device cuda",
    ],
)
def test_simulation_that_cannot_be_made_is_told_by_its_flag(
    options: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    line = refused("main", "simulate", "-o", tmp_path / "out", *options.split())
    flag, value, *_ = options.split()
    assert line.startswith(f"error: {flag}: ") and value in line
