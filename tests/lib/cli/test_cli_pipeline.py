"""The command lines of TomoTwin's developer documentation, end to end on a miniature."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.formats.coordinates import read_coords
from tomotwin_lib.formats.frames import read_similarity_map
from tomotwin_lib.formats.star import read_star
from tomotwin_lib.formats.volumes import read_volume
from tomotwin_lib.simulation import dataset

# Fixtures of conftest.py, which tests cannot import by name.
Lab = Any
Run = Callable[..., Any]


@pytest.fixture
def located(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """The folder in which the documented commands were run, up to ``locate``."""
    monkeypatch.chdir(tmp_path)
    for command in (
        ("embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-o", "./", "-b", "256", "-s", "4"),
        ("embed_main", "subvolumes", "-m", lab.model, "-v", f"{lab.references}/", "-b", "8", "-o", "./"),
        ("map_main", "distance", "-r", "embeddings.temb", "-v", "tomo_embeddings.temb", "-o", "./"),
        (
            "locate_main",
            "findmax",
            "-m",
            "map.tmap",
            "-o",
            "./",
            "--write_heatmaps",
            "-b",
            lab.box_sizes,
            "-t",
            "0.02",
        ),
    ):
        outcome = run(*command)
        assert outcome.code == 0, outcome.err
    return tmp_path


def test_documented_commands_write_the_documented_files(located: Path, lab: Lab, run: Run) -> None:
    names = {"tomo_embeddings.temb", "embeddings.temb", "map.tmap", "located.tloc"}
    assert names | set(lab.centres) == {path.name for path in located.iterdir()}
    outcome = run(
        "evaluate_main", "positions", "-p", lab.positions, "-l", "located.tloc", "-s", lab.box_sizes,
        "--optim", "--stepsize_optim_similarity", "0.01",
    )  # fmt: skip
    assert outcome.code == 0
    assert (located / "evaluation_optim.txt").read_text().startswith(" ")
    scores = json.loads((located / "evaluation_optim_dict.json").read_text())
    assert set(lab.centres) <= set(scores)
    assert "mean" in outcome.out and "evaluation_optim.txt" in outcome.out


def test_the_map_is_highest_where_the_references_were_cut(located: Path, lab: Lab) -> None:
    frame = pd.read_pickle(located / "map.tmap")
    for index, name in enumerate(frame.attrs["references"]):
        highest = frame.loc[frame[f"d_class_{index}"].astype(float).idxmax()]
        assert tuple(highest[["Z", "Y", "X"]]) == lab.centres[name]
        # Not 1: a file is standardised by its own mean and deviation, the tomogram by those of the whole.
        assert highest[f"d_class_{index}"] > 0.99


def test_refinement_and_pictures(located: Path, run: Run) -> None:
    outcome = run(
        "main",
        "map",
        "distance",
        "-r",
        "embeddings.temb",
        "-v",
        "tomo_embeddings.temb",
        "--refine",
        "-o",
        "r",
    )
    assert outcome.code == 0
    assert read_similarity_map(located / "r" / "map.tmap").attributes["skip_refinement"] is False
    assert run("main", "locate", "findmax", "-m", "r/map.tmap", "-o", "r", "--png", "--no-progress").code == 0
    for name in ("similarity_histogram.png", "similarity_slices.png"):
        assert (located / "r" / name).read_bytes().startswith(b"\x89PNG")


def test_heatmaps_have_the_shape_and_voxel_size_of_the_tomogram(located: Path, lab: Lab) -> None:
    for name in lab.centres:
        heatmap = read_volume(located / name)
        assert heatmap.data.shape == lab.shape
        assert heatmap.voxel_size_in_angstrom == pytest.approx(10.0)


def test_pick_writes_coordinates_for_all_or_the_named_references(located: Path, lab: Lab, run: Run) -> None:
    assert run("pick_main", "-l", "located.tloc", "-o", "all").code == 0
    stems = sorted(Path(name).stem for name in lab.centres)
    expected = [f"{stem}{ending}" for stem in stems for ending in (".coords", "_relion3.star")]
    assert sorted(path.name for path in (located / "all").iterdir()) == expected

    outcome = run(
        "pick_main", "-l", "located.tloc", "-o", "one", "--target", stems[1], "--minmetric", "0.5",
        "--maxsize", "5000", "--png", "--tomogram", lab.tomogram,
    )  # fmt: skip
    assert outcome.code == 0
    assert sorted(path.name for path in (located / "one").iterdir()) == ["picks.png", *expected[2:]]
    coords = read_coords(located / "one" / expected[2])
    assert len(coords) > 0
    np.testing.assert_allclose(read_star(located / "one" / expected[3]), coords, atol=1e-3)


def test_evaluate_without_optimisation_writes_beside_the_picks(located: Path, lab: Lab, run: Run) -> None:
    outcome = run(
        "main", "evaluate", "positions", "-p", lab.positions, "-l", "located.tloc", "-s", "17", "--png"
    )
    assert outcome.code == 0
    assert {"evaluation.txt", "evaluation_dict.json", "evaluation.png"} <= {
        path.name for path in located.iterdir()
    }


def test_several_tomograms_and_their_options(lab: Lab, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "tomograms"
    folder.mkdir()
    for name in ("a.mrc", "b.rec"):
        (folder / name).write_bytes(lab.tomogram.read_bytes())
    outcome = run(
        "main", "embed", "tomogram", "-m", lab.model, "-v", folder, lab.tomogram, "-o", tmp_path,
        "--stride", "8", "6", "4", "-z", "8", "21", "--method", "windows", "-d", "0",
        "--no-progress", "--device", "cpu",
    )  # fmt: skip
    assert outcome.code == 0 and outcome.err == ""
    for name in ("a", "b", "tomo"):
        frame = pd.read_pickle(tmp_path / f"{name}_embeddings.temb")
        assert sorted(set(frame["Z"])) == [8, 12, 16, 20]
        assert sorted(set(frame["Y"]))[:2] == [0, 6]
        assert sorted(set(frame["X"]))[:2] == [0, 8]
        assert list(frame.attrs["stride"]) == [8, 6, 4]


def test_unpadded_and_masked(lab: Lab, tmp_path: Path, run: Run) -> None:
    common = ("embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-s", "4", "--no-progress")
    assert run(*common, "-o", tmp_path / "u", "--no-padding").code == 0
    assert pd.read_pickle(tmp_path / "u" / "tomo_embeddings.temb")["Z"].min() == 18
    assert run(*common, "-o", tmp_path / "m", "--mask", lab.tomogram).code == 0


def test_info_describes_every_kind_of_file(located: Path, lab: Lab, run: Run) -> None:
    run("pick_main", "-l", "located.tloc", "-o", ".")
    star = next(located.glob("*.star"))
    coords = next(located.glob("*.coords"))
    files = (
        lab.tomogram, lab.model, lab.positions, lab.box_sizes, star, coords, "tomo_embeddings.temb",
        "embeddings.temb", "map.tmap", "located.tloc",
    )  # fmt: skip
    outcome = run("main", "info", *files)
    assert outcome.code == 0, outcome.err
    for expected in (
        "42 × 46 × 58 voxels", "10 Å", "FullyConvolutional", "md5", "box sizes", "ground truth",
        "similarity map", "embedding of subvolumes", "embedding of a tomogram", "located picks",
        "picks of tomo_1abc_0.mrc", "modelmd5",
    ):  # fmt: skip
        assert expected in outcome.out


def test_simulate_then_train_then_resume(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tomograms that training subvolumes are cut from are large by default.
    small = functools.partial(dataset.simulate_dataset, cut_shape=(60, 100, 100))
    monkeypatch.setattr(dataset, "simulate_dataset", small)
    configuration = tmp_path / "tiny.json"
    network = {"identifier": "FullyConvolutional", "network_config": {"width": 2}}
    configuration.write_text(json.dumps({**network, "train_config": {"batchsize": 10}}))
    data = tmp_path / "data"
    simulate = (
        "main", "simulate", "-o", data, "--size", "100", "90", "60", "--particles", "1", "--subvolumes", "2",
        "-nc", configuration, "--no-progress", "--png",
    )  # fmt: skip
    outcome = run(*simulate)
    assert outcome.code == 0, outcome.err
    assert read_volume(data / "tomograms" / "simulated_01.mrc").data.shape == (60, 90, 100)
    assert (data / "models" / "tiny.json").is_file() and (data / "subvolumes.png").is_file()
    assert "already" in run(*simulate).out

    train = (
        "train_main", "-v", f"{data}/subvolumes/train/", "--validvolumes", f"{data}/subvolumes/valid/",
        "-o", tmp_path / "out", "-nc", configuration, "--no-progress", "--save_after_improvement",
        "-d", "cosine",
    )  # fmt: skip
    assert run(*train, "--epochs", "1").code == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    files = "latest.pth final.pth best_loss.pth best_f1.pth history.csv training_curve.png"
    assert set(files.split()) <= written
    assert any(name.startswith("best_model_") for name in written)
    outcome = run(*train, "--epochs", "2", "--checkpoint", tmp_path / "out" / "latest.pth")
    assert outcome.code == 0, outcome.err
    assert len(pd.read_csv(tmp_path / "out" / "history.csv")) == 2


def test_help_needs_no_slow_library() -> None:
    code = (
        "import sys; from tomotwin_lib.cli.main import build_parser; build_parser().format_help(); "
        "slow = {'torch', 'pandas', 'numpy', 'matplotlib', 'scipy'} & set(sys.modules); assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
