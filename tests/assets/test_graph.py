"""The whole graph, through the shell command, on a tiny data folder with an imported network."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_platform import Platform

from tomotwin_assets.values import read_report
from tomotwin_lib.evaluation import evaluate_positions
from tomotwin_lib.files import md5_of_file
from tomotwin_lib.formats.coordinates import read_coords
from tomotwin_lib.formats.frames import read_picks, read_similarity_map, read_tomogram_embedding
from tomotwin_lib.formats.ground_truth import read_box_sizes, read_particle_positions
from tomotwin_lib.formats.star import read_star
from tomotwin_lib.formats.volumes import write_volume

PRODUCTS = [
    "evaluation_report/net/one.json",
    "evaluation_report/net/two.json",
    "leaderboard.csv",
    "leaderboard_by_class.csv",
    "located_picks/net/one.tloc",
    "located_picks/net/two.tloc",
    *(
        f"picked_coordinates/net/{tomogram}/{reference}{suffix}"
        for tomogram in ("one", "two")
        for reference in ("1abc", "2xyz")
        for suffix in (".coords", "_relion3.star")
    ),
    "production_model.json",
    *(
        f"production_picks/{tomogram}/{reference}{suffix}"
        for tomogram in ("one", "two")
        for reference in ("1abc", "2xyz")
        for suffix in (".coords", "_relion3.star")
    ),
    "reference_embeddings/net.temb",
    "reference_volumes.json",
    "similarity_map/net/one.tmap",
    "similarity_map/net/two.tmap",
    "tomogram/one.json",
    "tomogram/two.json",
    "tomogram_embeddings/net/one.temb",
    "tomogram_embeddings/net/two.temb",
    "trained_model/net.pth",
]


def products(platform: Platform) -> list[str]:
    folder = platform.data / "products"
    files = [path.relative_to(folder) for path in folder.rglob("[!.]*") if path.is_file()]
    # Pictures in full resolution, where they are too large for the UI, are no products.
    return sorted(path.as_posix() for path in files if path.parts[0] != "pictures")


def test_every_product_lies_where_a_person_finds_it(finished: Platform) -> None:
    assert products(finished) == sorted(PRODUCTS)


@pytest.mark.parametrize(
    "name",
    [
        "reference_embeddings/net.temb",
        "tomogram_embeddings/net/one.temb",
        "similarity_map/net/one.tmap",
        "located_picks/net/one.tloc",
    ],
)
def test_pandas_opens_the_frames(finished: Platform, name: str) -> None:
    frame = pd.read_pickle(finished.data / "products" / name)
    assert len(frame) > 0
    assert frame.attrs["modelmd5"] == md5_of_file(finished.data / "models" / "net.pth")


def test_an_imported_network_is_the_same_file(finished: Platform) -> None:
    imported = finished.folder.product("trained_model", "net")
    assert imported.read_bytes() == (finished.data / "models" / "net.pth").read_bytes()
    event = finished.event("trained_model", "net")
    assert event is not None and event.tags is not None
    assert event.tags["dagster/data_version"] == md5_of_file(imported)


def test_metadata_agree_with_the_files(finished: Platform) -> None:
    embedding = read_tomogram_embedding(finished.folder.product("tomogram_embeddings", "net", "one"))
    told = finished.metadata("tomogram_embeddings", "net|one")
    assert told["dagster/row_count"] == len(embedding.vectors) == 12 * 20 * 22
    assert told["channels"] == embedding.vectors.shape[1]
    assert told["grid_zyx"] == "(12, 20, 22)"
    assert told["device"] == "cpu"
    assert told["path"] == str(finished.folder.product("tomogram_embeddings", "net", "one"))
    picks = read_picks(finished.folder.product("located_picks", "net", "one"))
    assert finished.metadata("located_picks", "net|one")["dagster/row_count"] == len(picks) > 0
    similarity = read_similarity_map(finished.folder.product("similarity_map", "net", "one"))
    assert finished.metadata("similarity_map", "net|one")["dagster/row_count"] == len(similarity.values)


def test_the_tomogram_tells_its_shape_and_its_file(finished: Platform) -> None:
    told = finished.metadata("tomogram", "one")
    assert told["shape_zyx"] == "(24, 40, 44)"
    assert told["voxel_size_in_angstrom"] == 10.0
    assert told["tomogram_path"] == str(finished.data / "tomograms" / "one.mrc")
    assert json.loads(finished.folder.product("tomogram", "one").read_text())["path"] == "tomograms/one.mrc"


@pytest.mark.parametrize(
    ("asset", "partition", "inputs"),
    [
        ("tomogram", "one", {"tomograms"}),
        ("reference_volumes", None, {"references"}),
        ("trained_model", "net", {"models"}),
        ("reference_embeddings", "net", {"reference_volumes", "trained_model"}),
        ("tomogram_embeddings", "net|one", {"tomogram", "trained_model"}),
        ("similarity_map", "net|one", {"reference_embeddings", "tomogram_embeddings"}),
        ("located_picks", "net|one", {"reference_volumes", "similarity_map"}),
        ("picked_coordinates", "net|one", {"located_picks"}),
    ],
)
def test_products_tell_what_they_were_made_from_and_with(
    finished: Platform, asset: str, partition: str | None, inputs: set[str]
) -> None:
    told = finished.metadata(asset, partition)
    assert set(told["inputs"]) == inputs  # type: ignore[call-overload]
    assert set(told["versions"]) == {"tomotwin-assets", "torch", "dagster", "python"}  # type: ignore[call-overload]
    assert float(told["seconds"]) >= 0 and float(told["size_in_mb"]) >= 0  # type: ignore[arg-type]
    event = finished.event("tomogram", "one")
    assert event is not None and event.tags is not None
    if "tomogram" in inputs:
        assert event.tags["dagster/data_version"].startswith(told["inputs"]["tomogram"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("asset", "partition", "name"),
    [
        ("tomogram", "one", "slices"),
        ("reference_volumes", None, "gallery"),
        ("similarity_map", "net|one", "histogram"),
        ("located_picks", "net|one", "picks_on_slices"),
        ("located_picks", "net|one", "picks_and_similarity"),
        ("located_picks", "net|one", "scores_against_background"),
        ("evaluation_report", "net|one", "best_case_bars"),
        ("evaluation_report", "net|one", "precision_recall"),
        ("leaderboard", None, "chart"),
        ("production_model", None, "chart"),
        ("production_picks", "one", "picks_on_slices"),
    ],
)
def test_pictures_are_there_and_small(
    finished: Platform, asset: str, partition: str | None, name: str
) -> None:
    text = finished.metadata(asset, partition)[name]
    assert isinstance(text, str)
    assert text.startswith("![picture](data:image/png;base64,")
    assert len(text) < 500_000


def test_scores_are_those_of_the_files_on_disk(finished: Platform) -> None:
    truth = read_particle_positions(finished.data / "ground_truth" / "one.txt")
    sizes = read_box_sizes(str(finished.data / "ground_truth" / "boxsizes.json"))
    picks = read_picks(finished.folder.product("located_picks", "net", "one"))
    report = read_report(finished.folder.product("evaluation_report", "net", "one"))
    told = finished.metadata("evaluation_report", "net|one")
    assert told["scored"] is True
    for rows, optimise, name in (
        (report.as_picked, False, "mean_f1"),
        (report.best_case, True, "mean_best_case_f1"),
    ):
        again = evaluate_positions(picks, truth, sizes, optimise=optimise)
        pd.testing.assert_frame_equal(pd.DataFrame(rows), again, check_dtype=False)
        assert told[name] == pytest.approx(again["F1"].mean(), abs=1e-6)
    again = evaluate_positions(picks, truth, sizes, fbeta=4, optimise=True, step=0.01, within=0.5)
    assert told["mean_best_case_f4_by_distance"] == pytest.approx(again["F1"].mean(), abs=1e-6)
    assert {"centring_at_best_case", "confusion_at_best_case"} <= set(told)
    board = pd.read_csv(finished.folder.product("leaderboard"))
    assert board[["model", "production", "tomograms"]].values.tolist() == [["net", True, 1]]
    assert board["mean_best_case_f1"][0] == pytest.approx(report.mean("F1", best_case=True))
    embedded = finished.metadata("tomogram_embeddings", "net|one")
    assert (report.positions, report.seconds) == (embedded["dagster/row_count"], embedded["seconds"])
    assert report.model_md5 == md5_of_file(finished.data / "models" / "net.pth")
    classes = pd.read_csv(finished.folder.product("leaderboard").with_name("leaderboard_by_class.csv"))
    assert classes["class"].tolist() == ["1abc", "2xyz"]


def test_a_tomogram_without_ground_truth_says_so(finished: Platform) -> None:
    report = read_report(finished.folder.product("evaluation_report", "net", "two"))
    assert not report.scored
    told = finished.metadata("evaluation_report", "net|two")
    assert told["scored"] is False
    assert "no ground_truth/two.txt" in str(told["summary"])


def test_coordinates_are_those_of_the_picks(finished: Platform) -> None:
    picks = read_picks(finished.folder.product("located_picks", "net", "one"))
    folder = finished.folder.product("picked_coordinates", "net", "one")
    for index, name in enumerate(("1abc", "2xyz")):
        expected = picks.loc[picks["predicted_class"] == index, ["X", "Y", "Z"]].to_numpy()
        np.testing.assert_allclose(read_coords(folder / f"{name}.coords"), expected, atol=6e-4)
        if len(expected):
            np.testing.assert_allclose(read_star(folder / f"{name}_relion3.star"), expected, atol=1e-3)


def test_a_second_run_makes_nothing(finished: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished.data / "products").rglob("*")}
    assert finished.call("run") == 0
    assert {path: path.stat().st_mtime_ns for path in (finished.data / "products").rglob("*")} == before
    assert "0 products made" in capsys.readouterr().out


def test_status_shows_all_current(finished: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    assert finished.call("status") == 0
    lines: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        cells = [cell.strip() for cell in line.split("│") if cell.strip()]
        if len(cells) == 3:
            lines[cells[0]] = cells[1:]
    assert lines["similarity_map"] == ["2", "2"]
    assert lines["leaderboard"] == lines["production_model"] == ["1", "1"]
    assert lines["production_picks"] == ["2", "2"]
    assert "training_data" not in lines  # nothing here is trained


def test_a_bad_tomogram_fails_alone(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    whole = platform.add_tomogram("cut")
    whole.write_bytes(whole.read_bytes()[:3000])
    assert platform.call("run", "--tomogram", "cut", "--tomogram", "one") == 1
    out = capsys.readouterr().out
    (failure,) = [line for line in out.splitlines() if "✗" in line]
    assert "tomogram " in failure and f"{whole}: " in failure and "truncated" in failure
    assert "Traceback" not in out
    made = products(platform)
    assert not [name for name in made if "cut" in name]
    assert "evaluation_report/net/one.json" in made
    assert "leaderboard.csv" in made


def test_what_has_changed_is_made_again_and_nothing_else(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    def made() -> set[str]:
        capsys.readouterr()
        assert platform.call("run") == 0
        marked = [line.split() for line in capsys.readouterr().out.splitlines() if "✓" in line]
        return {words[1] for words in marked}

    (platform.data / "tomograms" / "two.mrc").unlink()
    assert "tomogram_embeddings" in made()
    assert made() == set()
    settings = platform.data / "tomotwin.toml"
    settings.write_text(settings.read_text() + "[coordinates]\nminimum_metric = 0.8\n")
    assert made() == {"picked_coordinates"}
    settings.write_text(settings.read_text() + 'formats = ["coords"]\n')
    assert made() == {"picked_coordinates", "production_picks"}
    truth = platform.data / "ground_truth" / "one.txt"
    truth.write_text(truth.read_text() + "2xyz 12 12 12 0 0 0\n")
    # The best thresholds are still the same ones, and so are the picks above them.
    assert made() == {"evaluation_report", "leaderboard", "production_model"}
    platform.folder.product("similarity_map", "net", "one").unlink()
    assert made() == {
        "similarity_map",
        "located_picks",
        "picked_coordinates",
        "evaluation_report",
        "leaderboard",
        "production_model",
        "production_picks",
    }
    platform.add_checkpoint("other", seed=9)
    assert made() == {
        "trained_model",
        "reference_embeddings",
        "tomogram_embeddings",
        "similarity_map",
        "located_picks",
        "picked_coordinates",
        "evaluation_report",
        "leaderboard",
        "production_model",  # stays the same, so its picks do
    }
    board = pd.read_csv(platform.folder.product("leaderboard"))
    assert set(board["model"]) == {"net", "other"}
    (platform.data / "references" / "2xyz.mrc").unlink()
    assert {"reference_volumes", "located_picks"} <= made()
    coordinates = platform.folder.product("picked_coordinates", "net", "one")
    assert sorted(path.name for path in coordinates.iterdir()) == ["1abc.coords"]


def test_a_network_is_trained_where_its_file_is_a_configuration(platform: Platform) -> None:
    add_training_data(platform.data)
    assert platform.call("run", "--model", "new", "--tomogram", "two") == 0
    folder = platform.folder.product("trained_model", "new")
    assert folder.is_file()
    assert (folder.with_suffix("") / "history.csv").is_file()
    told = platform.metadata("trained_model", "new")
    assert told["source"] == "trained"
    assert told["epochs"] == 1
    assert isinstance(told["last_training_loss"], float)
    assert str(told["training_curve"]).startswith("![picture]")
    data = platform.metadata("training_data")
    assert data["dagster/row_count"] == 8
    assert data["classes"] == 2


def test_an_interrupted_training_leaves_the_finished_one(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_training_data(platform.data)
    assert platform.call("run", "--model", "new", "--tomogram", "two") == 0
    folder = platform.folder.product("trained_model", "new").with_suffix("")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupted(*arguments: object, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("tomotwin_lib.training.training_run.validate", interrupted)
    assert platform.call("run", "--model", "new", "--tomogram", "two", "--force") == 130
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_is_made_from_something_stale_counts_as_stale(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    assert platform.call("run", "--tomogram", "two") == 0
    reference = platform.data / "references" / "1abc.mrc"
    write_volume(reference, np.random.default_rng(8).normal(size=(37, 37, 37)), 10.0)
    capsys.readouterr()
    assert platform.call("status") == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("│") if cell.strip()] for line in lines]
    current = {row[0]: row[1] for row in cells if len(row) == 3}
    assert current["tomogram_embeddings"] == "1"
    for asset in (
        "reference_volumes",
        "reference_embeddings",
        "similarity_map",
        "located_picks",
        "leaderboard",
    ):
        assert current[asset] == "0", asset


def add_training_data(data: Path) -> None:
    """Eight subvolumes of two classes, two to validate with, and a model to train on them."""
    from tiny_platform import CONFIGURATION

    rng = np.random.default_rng(0)
    for place, count in (("train", 4), ("valid", 2)):
        for label in ("1abc", "2xyz"):
            for index in range(count):
                path = data / "subvolumes" / place / f"{label}_{index}.mrc"
                write_volume(path, rng.normal(size=(37, 37, 37)), 10.0)
    configuration: dict[str, Any] = CONFIGURATION
    (data / "models" / "new.json").write_text(json.dumps(configuration))
    with (data / "tomotwin.toml").open("a") as settings:
        settings.write("[training]\nepochs = 1\n")


def test_a_configuration_without_subvolumes_fails_with_the_remedy(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    add_training_data(platform.data)
    (platform.data / "subvolumes").rename(platform.data / "elsewhere")
    assert platform.call("run", "--model", "new", "--tomogram", "one") == 1
    out = capsys.readouterr().out
    assert "import a trained network as models/new.pth" in out
    assert "left out: trained_model could not be made" in out
