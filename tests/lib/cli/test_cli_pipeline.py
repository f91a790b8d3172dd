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
import starfile

from tomotwin_lib.formats import copick
from tomotwin_lib.formats.coordinates import read_coords
from tomotwin_lib.formats.frames import (
    read_picks,
    read_similarity_map,
    write_picks,
    write_similarity_map,
)
from tomotwin_lib.formats.star import read_star
from tomotwin_lib.formats.volumes import read_volume, write_volume
from tomotwin_lib.products import Grid, SimilarityMap
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


def test_heatmaps_replace_heatmaps_and_no_references(located: Path, lab: Lab, run: Run) -> None:
    folder = located / "refs"
    folder.mkdir()
    before = {}
    for name in lab.centres:
        before[name] = (lab.references / name).read_bytes()
        (folder / name).write_bytes(before[name])
    common = ("locate_main", "findmax", "-m", "map.tmap", "-b", lab.box_sizes, "--write_heatmaps", "-o")
    outcome = run(*common, folder)
    assert outcome.code == 2 and outcome.out == ""
    assert str(folder / "tomo_1abc_0.mrc") in outcome.err and "-o" in outcome.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before  # no located.tloc either
    assert run(*common[:-2], "-o", folder).code == 0  # without heatmaps it is as good a folder as any
    # Those that the same command wrote before are replaced.
    for name in lab.centres:
        (located / name).touch()
    first = {name: read_volume(located / name).data.copy() for name in lab.centres}
    assert run(*common, located).code == 0
    for name, values in first.items():
        np.testing.assert_array_equal(read_volume(located / name).data, values)


def test_locate_says_how_far_the_best_is_from_a_pick(located: Path, run: Run) -> None:
    values = pd.read_pickle(located / "map.tmap")[["d_class_0", "d_class_1"]].astype(float)
    locate = ("main", "locate", "findmax", "-m", "map.tmap", "-o", "none", "--no-progress")
    outcome = run(*locate, "-g", "1")
    picks = pd.read_pickle(located / "none" / "located.tloc")
    assert outcome.code == 0 and len(picks) == 0
    name = picks.attrs["references"][int(values.max().argmax())]
    assert f"the highest similarity is {values.max().max():.3f}, to {name}" in outcome.err
    assert "-g/--global_min is 1" in outcome.err
    assert "no pick" not in run(*locate, "-g", "0.5", "-t", "0.02").err


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("60", "Did you mean 0.60? The map has"),
        ("1.5", "between -1 and 1. The map has"),
        ("-1.5", "-1.5 is no"),
        ("nan", "nan is no"),
    ],
)
def test_a_lowest_similarity_in_per_cent_is_refused_where_they_are_cosines(
    value: str, said: str, tmp_path: Path, run: Run
) -> None:
    def locate_in(highest: float) -> Any:
        values = np.full((5, 5, 5), 0.2, dtype=np.float32)
        values[2, 2, 2:4] = highest, highest - 0.1
        grid = Grid((0, 0, 0), (2, 2, 2), (5, 5, 5))
        similarity = SimilarityMap(values.reshape(-1, 1), ["a.mrc"], grid)
        write_similarity_map(tmp_path / "map.tmap", similarity)
        return run("locate_main", "findmax", "-m", tmp_path / "map.tmap", "-o", tmp_path / "o", "-g", value)

    outcome = locate_in(0.9)
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and "-g/--global_min" in outcome.err
    assert said in outcome.err and "0.200 to 0.900" in outcome.err
    assert not (tmp_path / "o").exists()
    if value == "60":
        assert locate_in(90).code == 0  # by a distance without bounds
        assert len(read_picks(tmp_path / "o" / "located.tloc")) == 1


def test_a_lowest_similarity_in_per_cent_is_refused_before_the_sweep(
    lab: Lab, tmp_path: Path, run: Run
) -> None:
    outcome = run(
        "embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-o", tmp_path / "out", "-s", "8",
        "--references", lab.references, "-g", "60",
    )  # fmt: skip
    assert outcome.code == 2 and "Did you mean 0.60?" in outcome.err and outcome.out == ""
    assert not list((tmp_path / "out").glob("*"))


def test_locate_says_where_only_a_slope_is_left(tmp_path: Path, run: Run) -> None:
    values = np.zeros((5, 5, 5), dtype=np.float32)
    values[0, 2, 2] = 0.8  # on a face
    grid = Grid((0, 0, 0), (2, 2, 2), (5, 5, 5))
    write_similarity_map(tmp_path / "map.tmap", SimilarityMap(values.reshape(-1, 1), ["a.mrc"], grid))
    outcome = run("main", "locate", "findmax", "-m", tmp_path / "map.tmap", "-o", tmp_path, "--no-progress")
    assert outcome.code == 0
    assert "no pick, although the highest similarity is 0.800, to a.mrc" in outcome.err
    assert "border" in outcome.err
    outcome = run("pick_main", "-l", tmp_path / "located.tloc", "-o", tmp_path / "coords")
    assert outcome.code == 0 and "nothing was located for a.mrc" in outcome.err

    flat = SimilarityMap(np.ones((125, 1), dtype=np.float32), ["a.mrc"], grid)
    write_similarity_map(tmp_path / "map.tmap", flat)
    outcome = run("main", "locate", "findmax", "-m", tmp_path / "map.tmap", "-o", tmp_path, "--no-progress")
    assert outcome.code == 0 and "the same everywhere" in outcome.err


def test_options_about_processes_change_nothing(located: Path, lab: Lab, run: Run) -> None:
    def frame(path: Path) -> pd.DataFrame:
        return pd.read_pickle(path)

    common = ("locate_main", "findmax", "-m", "map.tmap", "-b", lab.box_sizes, "-t", "0.02", "-o")
    for number in ("1", "3"):
        assert run(*common, located / number, "--processes", number).code == 0
        again = frame(located / number / "located.tloc")
        pd.testing.assert_frame_equal(again, frame(located / "located.tloc"))
        assert len(again) > 0
    embed = ("embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-s", "4", "-b", "256", "-o")
    for flag, number in (("-d", "0"), ("--distribution_mode", "1")):
        assert run(*embed, located / number, flag, number).code == 0
        again = frame(located / number / "tomo_embeddings.temb")
        pd.testing.assert_frame_equal(again, frame(located / "tomo_embeddings.temb"))


def test_pick_for_a_project_that_has_its_own_names_and_voxels(located: Path, lab: Lab, run: Run) -> None:
    pick = ("main", "pick", "-l", "located.tloc", "--formats", "coords", "relion4", "relion5", "warp")
    outcome = run(*pick, "-o", "p", "--output-voxel-size", "5", "--tomogram-name", "TS_01.2")
    assert outcome.code == 0, outcome.err
    for name in ("tomo_1abc_0", "tomo_2xyz_0"):
        wanted = 2 * _voxels(located, name)  # 10 Å are two voxels of 5 Å
        assert len(wanted)
        for form, column, expected in (
            ("relion4", "rlnTomoName", "TS_01.2"),
            ("relion5", "rlnTomoName", "TS_01.2"),
            ("warp", "rlnMicrographName", "TS_01.2.tomostar"),
        ):
            path = located / "p" / f"{name}_{form}.star"
            np.testing.assert_allclose(read_star(path), wanted, atol=1e-3)
            (table,) = starfile.read(path, always_dict=True).values()
            table = pd.DataFrame([table]) if isinstance(table, dict) else table
            assert set(table[column]) == {expected}
    # A tomogram that is not binned: its own voxels are those of the tilt series.
    outcome = run(*pick, "-o", "q", "--output-voxel-size", "10")
    assert outcome.code == 0, outcome.err
    np.testing.assert_allclose(
        read_star(located / "q" / "tomo_1abc_0_relion4.star"), _voxels(located, "tomo_1abc_0"), atol=1e-3
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "tomo"),
        (("--tomogram-name", "TS_01.2"), "TS_01.2"),
        (("--tomogram-name", "TS_01.2", "--copick-run", "run7"), "run7"),
    ],
)
def test_copick_calls_the_tomogram_by_the_same_name(
    options: tuple[str, ...], expected: str, located: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[str] = []

    class Double:
        """Stands in for the project where the optional extra is not installed."""

        def __init__(self, configuration: str) -> None: ...
        def check_objects(self, names: list[str]) -> None: ...
        def store(self, picks: Any, voxel_size: float, *, run: str, **others: str) -> None:
            stored.append(run)

    monkeypatch.setattr(copick, "CopickProject", Double)
    outcome = run("pick_main", "-l", "located.tloc", "-o", "c", "--copick-config", "p.json", *options)
    assert outcome.code == 0, outcome.err
    assert stored == [expected] * 2


def _voxels(folder: Path, reference: str) -> Any:
    picks = pd.read_pickle(folder / "located.tloc")
    number = picks.attrs["references"].index(f"{reference}.mrc")
    return picks.loc[picks["predicted_class"] == number, ["X", "Y", "Z"]].to_numpy(dtype=float)


def test_pick_refuses_another_tomogram_under_the_name_of_the_first(
    located: Path, lab: Lab, tmp_path: Path, run: Run
) -> None:
    picks = read_picks(located / "located.tloc")
    other = tmp_path / "other.mrc"
    write_volume(other, np.zeros(tuple(2 * edge for edge in lab.shape), dtype=np.int8), 5.0)
    picks.attrs["filepath"] = str(other)  # as where a file was replaced, or a relative name means another
    write_picks(tmp_path / "moved.tloc", picks)
    outcome = run("pick_main", "-l", tmp_path / "moved.tloc", "-o", "m")
    assert outcome.code == 2
    for words in (str(other), "84×92×116", "42×46×58", "--tomogram"):
        assert words in outcome.err
    assert not (located / "m").exists()
    outcome = run("pick_main", "-l", tmp_path / "moved.tloc", "-o", "m", "--tomogram", lab.tomogram)
    assert outcome.code == 0, outcome.err


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


def test_the_scale_bar_is_of_the_voxel_size_that_was_given(located: Path, run: Run) -> None:
    pictures = []
    for size in ("10", "20"):
        assert run("pick_main", "-l", "located.tloc", "-o", size, "--png", "--voxel-size", size).code == 0
        pictures.append((located / size / "picks.png").read_bytes())
    assert pictures[0] != pictures[1]


def test_evaluate_without_optimisation_writes_beside_the_picks(located: Path, lab: Lab, run: Run) -> None:
    outcome = run(
        "main", "evaluate", "positions", "-p", lab.positions, "-l", "located.tloc", "-s", "17", "--png"
    )
    assert (outcome.code, outcome.err) == (0, "")
    assert {"evaluation.txt", "evaluation_dict.json", "evaluation.png"} <= {
        path.name for path in located.iterdir()
    }


def test_what_does_not_belong_to_the_picks_is_told(located: Path, lab: Lab, run: Run) -> None:
    command = ("main", "evaluate", "positions", "-l", "located.tloc")
    outcome = run(*command, "-p", lab.positions)
    assert outcome.code == 0
    assert "boxes differ" in outcome.err and "scored with 37 voxels" in outcome.err
    picks = pd.read_pickle("located.tloc")
    picks.attrs["filepath"] = "/elsewhere/tomo_02.mrc"
    picks.to_pickle("located.tloc")
    for name, is_told in (("tomo_01.txt", True), ("tomo_2.txt", False), ("truth_01.txt", False)):
        Path(name).write_bytes(lab.positions.read_bytes())
        outcome = run(*command, "-p", name, "-s", "17")
        assert outcome.code == 0
        assert (f"{name} is by its name the ground truth of another tomogram" in outcome.err) == is_told


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


def test_picks_without_an_embedding_are_those_by_way_of_the_files(located: Path, lab: Lab, run: Run) -> None:
    outcome = run(
        "embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-o", "direct", "-s", "4",
        "--references", lab.references, "--boxsize", lab.box_sizes, "-t", "0.02",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert [path.name for path in (located / "direct").iterdir()] == ["tomo_located.tloc"]
    expected, found = (
        pd.read_pickle(located / name) for name in ("located.tloc", "direct/tomo_located.tloc")
    )
    assert len(expected)
    pd.testing.assert_frame_equal(found, expected)
    assert found.attrs["references"] == expected.attrs["references"]


def test_references_without_a_box_size_are_refused_before_the_sweep(
    lab: Lab, tmp_path: Path, run: Run
) -> None:
    sizes = tmp_path / "sizes.json"
    sizes.write_text('{"1ABC": 17}')
    outcome = run(
        "embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-o", tmp_path / "out", "-s", "4",
        "--references", lab.references, "--boxsize", sizes,
    )  # fmt: skip
    assert outcome.code == 2 and "tomo_2xyz_0.mrc" in outcome.err
    assert not list((tmp_path / "out").glob("*"))
