"""What failed is told rightly; the whole comparison runs on a tiny case and goes on where it was cut off."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from benchmarks import __file__ as benchmarks_file
from benchmarks.compare_methods import main
from benchmarks.comparison.methods import NetworkMethod, network_methods
from benchmarks.comparison.picking import Picked
from benchmarks.comparison.promises import promises, promises_table
from benchmarks.comparison.report import counts_table, worst_figure, worst_table
from benchmarks.comparison.samples import Plan, simulate_samples
from benchmarks.comparison.worst_picks import (
    ANOTHER,
    FALSE,
    MISS,
    NOTHING,
    OWN,
    THING,
    fault_counts,
    faults,
    worst,
)
from tomotwin_lib.errors import InputError
from tomotwin_lib.figures.style import png_bytes
from tomotwin_lib.formats.volumes import read_subvolume, write_volume
from tomotwin_lib.networks.checkpoint import LoadedNetwork, save_checkpoint
from tomotwin_lib.networks.configuration import read_configuration
from tomotwin_lib.networks.fully_convolutional import FullyConvolutional
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.products import Grid, SimilarityMap
from tomotwin_lib.simulation.molecules import molecule_of_kind
from tomotwin_lib.simulation.particles import KINDS
from tomotwin_lib.training.recipe import Recipe
from tomotwin_lib.training.tomogram_training import network_to_train

SIZES = {"1abc": 10, "2xyz": 20}


@pytest.fixture
def failed() -> pd.DataFrame:
    """Two proteins: one pick right, four false, one below the threshold, and two particles missed."""
    truth = pd.DataFrame(
        {"class": ["1abc", "1abc", "2xyz"], "X": [10.0, 40, 40], "Y": [10.0, 10, 40], "Z": [10.0, 10, 10]}
    )
    # reference, X, Y, Z, similarity
    rows = [
        (0, 10, 10, 10, 0.9),  # right
        (0, 14, 10, 10, 0.8),  # again
        (0, 42, 40, 10, 0.95),  # the other protein
        (0, 10, 50, 10, 0.7),  # gold
        (0, 25, 50, 10, 0.6),  # nothing
        (0, 40, 11, 10, 0.4),  # right, but below the threshold
    ]
    picks = pd.DataFrame(rows, columns=["predicted_class", "X", "Y", "Z", "metric_best"])
    picks["size"] = 2
    picks.attrs["references"] = ["1abc.mrc", "2xyz.mrc"]
    mask = np.zeros((20, 60, 60), dtype=np.uint16)
    mask[9:12, 49:52, 9:12] = 3
    mask[9:12, 39:42, 39:42] = 2
    names = {1: "1abc", 2: "2xyz", 3: "gold"}
    return faults("t0", picks, truth, {"1abc.mrc": 0.5, "2xyz.mrc": 0.5}, SIZES, mask, names)


def test_each_fault_is_told_with_its_reason(failed: pd.DataFrame) -> None:
    wrong = failed[failed["kind"] == FALSE].set_index("similarity")
    assert wrong["what"].to_dict() == {
        0.8: "1abc, again or off centre", 0.95: "2xyz", 0.7: "gold", 0.6: NOTHING
    }  # fmt: skip
    assert wrong.loc[0.95, "nearest"] == "2xyz" and wrong.loc[0.95, "distance"] == pytest.approx(2)
    assert wrong.loc[0.6, "distance"] == pytest.approx(np.hypot(15, 10))
    missed = failed[failed["kind"] == MISS].set_index("class")
    assert missed.loc["1abc", "similarity"] == pytest.approx(0.4)
    assert missed.loc["1abc", "what"] == NOTHING
    # The false pick of the other reference lies in it.
    assert missed.loc["2xyz", "what"] == "1abc" and missed.loc["2xyz", "distance"] == pytest.approx(2)
    assert np.isnan(missed.loc["2xyz", "similarity"])


def test_faults_are_counted_by_what_lies_there(failed: pd.DataFrame) -> None:
    counts = fault_counts(failed, SIZES)
    assert counts == {ANOTHER: 1, OWN: 1, THING: 1, NOTHING: 1, MISS: 2}
    text = counts_table(pd.DataFrame([{"snr": 0.1, "method": "net", **counts}]))
    assert text.splitlines()[-1] == "| 0.1 | net | 1 | 1 | 1 | 1 | 2 |"


def test_the_worst_come_first_and_are_shown(failed: pd.DataFrame) -> None:
    table = worst(failed, 3)
    assert list(table["kind"]) == [FALSE] * 3 + [MISS] * 2
    assert list(table["similarity"][:3]) == [0.95, 0.8, 0.7]
    assert list(table["class"][3:]) == ["2xyz", "1abc"]
    text = worst_table(table)
    assert "| false pick 1 | t0 | 1abc | 42 40 10 | 0.950 (0.500) | 2xyz | 2xyz | 2.00 |" in text
    assert "| miss 1 | t0 | 2xyz | 40 40 10 | none near (0.500) |" in text
    volume = np.random.default_rng(0).standard_normal((20, 60, 60)).astype(np.float32)
    assert png_bytes(worst_figure(table, lambda name: volume, SIZES)).startswith(b"\x89PNG")


def test_what_is_promised_is_counted() -> None:
    # In each of three tomograms 40 particles are found at 0.9 and more and one pick at 0.5 is false: in two
    # others of the same size two were false at 0.5 or above, none at 0.9. (0 + 1) / 2 false ones are expected
    # among the 40 best, 1.2 %, and (2 + 1) / 2 among all 41, 3.7 %.
    places = [(x, y, 20.0) for x in range(20, 300, 40) for y in range(20, 260, 40)][:40]
    truth = pd.DataFrame(places, columns=["X", "Y", "Z"]).assign(**{"class": "1abc"})
    picks = pd.DataFrame([*places, (290.0, 290.0, 80.0)], columns=["X", "Y", "Z"])
    picks = picks.assign(metric_best=[0.9] * 40 + [0.5], predicted_class=0, size=1)
    picks.attrs = {"references": ["1abc.mrc"], "tomogram_input_shape": (100, 300, 300)}
    names = ("a", "b", "c")
    found = promises(0.1, dict.fromkeys(names, Picked(picks, 1.0)), dict.fromkeys(names, truth), {"1abc": 20})
    assert list(found["limit"]) == [0.01, 0.05, 0.2]
    assert list(found["picks"]) == [0, 123, 123] and list(found["recall"]) == [0, 1, 1]
    np.testing.assert_allclose(found["false"], [0, 1 / 41, 1 / 41])
    text = promises_table(found.assign(method="net"))
    assert "| 0.1 | net | at most 5% | 2.4% (2.4%–2.4%) | 123 | 100% |" in text


def test_comparison_runs_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    structures = tmp_path / "structures"
    molecules = sorted(map(molecule_of_kind, KINDS.values()), key=lambda molecule: molecule.radius)[:2]
    for molecule in molecules:
        write_volume(structures / f"{molecule.code}.mrc", molecule.density, 10.0)
    arguments = [
        "--structures", str(structures), "--unseen", molecule.code, "--tomograms", "2", "--snr", "1",
        "--shape", "48", "96", "96", "--particles", "2", "--template_matching", "clean", "reference",
        "--angular_step", "120", "--threads", "1", "--device", "cpu", "-o", str(tmp_path / "out"),
    ]  # fmt: skip
    assert main(arguments) == 0
    table = (tmp_path / "out" / "compare_methods.md").read_text()
    scores = pd.read_csv(tmp_path / "out" / "compare_methods.csv")
    assert set(scores["proteins"]) == {"seen", "unseen"} and len(scores) == 4
    assert scores["honest_f1"].between(0, 1).all()
    assert "template_matching_clean" in table and "What failed" in table
    assert "| 1 | template_matching_reference | " in table.split("## What lies where false picks are")[1]
    assert (tmp_path / "out" / "worst_picks.png").stat().st_size > 0
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("t0*/*")}
    stored |= {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.tloc")}
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in stored} == stored
    capsys.readouterr()
    assert main([*arguments, "--seed", "2"]) == 2
    assert "another shape, seed" in capsys.readouterr().err


def test_networks_compare_with_the_mean_of_several_references(tmp_path: Path) -> None:
    molecules = sorted(map(molecule_of_kind, KINDS.values()), key=lambda molecule: molecule.radius)[:2]
    plan = Plan(1, (48, 96, 96), particles=1, references=3)
    (sample,) = simulate_samples(tmp_path, molecules, 1.0, plan)
    (one,) = simulate_samples(tmp_path, molecules, 1.0, replace(plan, references=1))
    assert one.references == sample.references[:1]
    windows = [read_subvolume(some[molecules[0].code]) for some in sample.references]
    assert not np.array_equal(windows[0], windows[1]) and not np.array_equal(windows[1], windows[2])
    torch.manual_seed(0)
    network = FullyConvolutional(width=4, output_channels=8).eval()
    loaded = LoadedNetwork(network, {"distance": "COSINE"}, Path("net.pth"), "0" * 32)
    vectors = NetworkMethod("net", loaded, 6, 3).references(sample).vectors
    assert len(vectors) == len(molecules)
    inputs = torch.from_numpy(np.stack([(window - window.mean()) / window.std() for window in windows]))
    with torch.inference_mode():
        expected = functional.normalize(network(inputs[:, None]).mean(dim=0), dim=0)
    np.testing.assert_allclose(vectors[0], expected, atol=1e-4)


def test_references_compete_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    molecules = sorted(map(molecule_of_kind, KINDS.values()), key=lambda molecule: molecule.radius)[:2]
    (sample,) = simulate_samples(tmp_path / "tomograms", molecules, 1.0, Plan(1, (48, 96, 96), particles=1))
    configuration = {"identifier": "FullyConvolutional", "network_config": {"width": 4, "output_channels": 8}}
    save_checkpoint(
        tmp_path / "net.pth", build_network(configuration), {**configuration, "distance": "COSINE"},
        epoch=1, loss=1, best_loss=1, best_f1=0,
    )  # fmt: skip
    made = network_methods([str(tmp_path / "net.pth")], 6, "cpu", [1], compete=True)
    assert [method.name for method in made] == ["net", "net_competing"]
    assert made[0].settings != made[1].settings
    # Two places: one resembles both, the second more; the other only the first.
    steps = np.indices((16, 16, 16)).reshape(3, -1).T
    bumps = [np.exp(-((steps - middle) ** 2).sum(axis=1) / 8) for middle in (4, 11)]
    values = np.stack([0.8 * bumps[0] + 0.9 * bumps[1], 0.85 * bumps[0]], axis=1).astype(np.float32)
    names = [path.name for path in sample.references[0].values()]
    similarity = SimilarityMap(values, names, Grid((0, 0, 0), (2, 2, 2), (16, 16, 16)))
    monkeypatch.setattr("benchmarks.comparison.methods.similarity_map", lambda *_, **__: similarity)
    sizes = {molecule.code: molecule.box_size for molecule in molecules}
    classes = [sorted(method.pick(sample, sizes)["predicted_class"]) for method in made]
    assert classes == [[0, 0, 1], [0, 1]]


def test_tomograms_that_are_not_filtered_are_a_plan_of_their_own(tmp_path: Path) -> None:
    molecules = sorted(map(molecule_of_kind, KINDS.values()), key=lambda molecule: molecule.radius)[:2]
    plan = Plan(1, (48, 96, 96), particles=1)
    shares = []
    for name, own in (("filtered", plan), ("unfiltered", replace(plan, filtered=False))):
        (sample,) = simulate_samples(tmp_path / name, molecules, 0.1, own)
        power = np.abs(np.fft.rfftn(sample.data())) ** 2
        shares.append(power[:, 40:48].mean() / power[:, 16:24].mean())
    # Half the amplitude at 20 Å, which is the highest frequency: a quarter of the power there.
    assert shares[1] > 2 * shares[0]
    with pytest.raises(InputError, match="tomograms of another"):
        simulate_samples(tmp_path / "filtered", molecules, 0.1, replace(plan, filtered=False))


def test_tomotwins_network_can_be_trained_on_the_same_windows(shared: Path) -> None:
    configuration = read_configuration(
        Path(benchmarks_file).with_name("siamese_on_tomograms.json"), Recipe.from_configuration
    )
    network = network_to_train(configuration)  # refused where it would have to look for false peaks
    theirs = json.loads((shared / "reference" / "config_siamese.json").read_text(encoding="utf-8"))
    assert network.state_dict().keys() == build_network(theirs).state_dict().keys()
    own, usual = (Recipe.from_configuration(one, "test").shares for one in (configuration, {}))
    sizes = [
        one.particles + one.off_centre + one.distractors + one.background + one.hard for one in (own, usual)
    ]
    assert sizes[0] == sizes[1]
