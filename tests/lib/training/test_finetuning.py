"""Fine-tuning from a few picks of a small simulated tomogram to a network with honest scores."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.evaluation import evaluate_positions
from tomotwin_lib.files import md5_of_file
from tomotwin_lib.formats.frames import read_reference_embedding
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.locating import locate
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.networks.checkpoint import LoadedNetwork, load_checkpoint, load_network, save_checkpoint
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.simulation.particles import KINDS
from tomotwin_lib.simulation.tomograms import simulate_tomogram
from tomotwin_lib.training import finetuning, finetuning_steps
from tomotwin_lib.training.before_and_after import LOWEST_SIMILARITY, map_parts, mean_references, scores_of
from tomotwin_lib.training.finetuned import CARD, NETWORK, REFERENCES, TABLE, Finetuned, card_of
from tomotwin_lib.training.finetuning import finetune
from tomotwin_lib.training.finetuning_steps import Budget
from tomotwin_lib.training.held_out import HeldOut, hold_out

BOX = 25
CONFIGURATION = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 4, "output_channels": 8},
    "train_config": {},
    "distance": "COSINE",
}


@dataclass(frozen=True)
class Bench:
    """A network that was not trained, a tomogram and its picks."""

    model: Path
    volume: Volume
    picks: pd.DataFrame

    def finetune(self, output: Path, **options: Any) -> Finetuned:
        """With few steps, and no bar."""
        given = {"box_sizes": BOX, "max_steps": 2, "minutes": 5.0, "device": "cpu", "progress": False}
        model, picks = options.pop("model", self.model), options.pop("picks", self.picks)
        volume = options.pop("volume", self.volume)
        return finetune(model, volume, picks, output, **{**given, **options})


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    simulated = simulate_tomogram(
        (48, 100, 120), 6, rng=np.random.default_rng(3), snr=1.0, kinds=[KINDS["1bar"], KINDS["1shl"]]
    )
    torch.manual_seed(0)
    network = untrained(simulated.data)
    save_checkpoint(folder / "m.pth", network, CONFIGURATION, epoch=0, loss=1.0, best_loss=1.0, best_f1=0.0)
    return Bench(folder / "m.pth", Volume(simulated.data, 10.0, folder / "tomo.mrc"), simulated.particles)


def untrained(data: np.ndarray) -> EmbeddingNetwork:
    """Random filters whose embeddings scatter about zero, so that some are more alike than others."""
    network: Any = build_network(CONFIGURATION, "test")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = None  # Its statistics are then those of what it has seen.
    whole = torch.from_numpy(-(data - data.mean()) / data.std())[None, None].float()
    with torch.no_grad():
        network.train()(whole[..., :60])
        network.eval()
        network.head[-1].bias -= network.head(network.features(whole[..., :60])).mean(dim=(0, 2, 3, 4))
    return network


@pytest.fixture(scope="module")
def tuned(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Finetuned:
    """After steps that are few and long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning_steps, "LEARNING_RATE", 2e-3)
        return bench.finetune(tmp_path_factory.mktemp("tuned"), max_steps=15)


def test_it_leaves_a_network_that_loads_with_the_references_and_scores_of_its_own(
    tuned: Finetuned, bench: Bench
) -> None:
    assert sorted(path.name for path in tuned.folder.iterdir()) == sorted([NETWORK, REFERENCES, TABLE, CARD])
    network, checkpoint = tuned.folder / NETWORK, load_checkpoint(tuned.folder / NETWORK)
    assert checkpoint["finetuned_from_md5"] == md5_of_file(bench.model)
    assert checkpoint["finetuning_steps"] == tuned.steps == 15
    references = read_reference_embedding(tuned.folder / REFERENCES)
    assert references.attributes["modelmd5"] == md5_of_file(network)
    assert references.attributes["modelpth"] == str(network)
    assert references.names == ["1bar.mrc", "1shl.mrc"]
    table = pd.read_csv(tuned.folder / TABLE)
    pd.testing.assert_frame_equal(table, tuned.scores, check_dtype=False)
    assert sorted(zip(table["network"], table["class"], strict=True)) == [
        (network, name) for network in ("after", "before") for name in ("1bar", "1shl")
    ]
    card = (tuned.folder / CARD).read_text()
    assert md5_of_file(bench.model) in card and "15 steps" in card
    assert f"{tuned.gain:+.3f}" in card and "Too few picks" not in card
    assert ("was better before" in card) == bool(tuned.better_before)
    few = replace(tuned, not_scored=("rare",))
    assert "compared: rare" in card_of(
        few, load_network(bench.model, "cpu"), bench.volume, parts_of(bench), 13
    )


def test_a_card_shows_a_dash_for_what_is_no_number_and_names_the_unit(tuned: Finetuned, bench: Bench) -> None:
    none_found = replace(tuned, scores=tuned.scores.assign(offset=float("nan")))
    loaded = load_network(bench.model, "cpu")
    card = card_of(none_found, loaded, bench.volume, parts_of(bench), len(bench.picks))
    lines = [line for line in card.splitlines() if line.startswith("|")]
    assert lines[0].endswith("| offset (voxels) |")
    assert len(lines) == 6 and all(line.endswith("| – |") for line in lines[2:])
    assert "nan" not in card


def test_the_weights_move_and_the_statistics_of_normalisation_stay(tuned: Finetuned, bench: Bench) -> None:
    start = load_checkpoint(bench.model)["model_state_dict"]
    end = load_checkpoint(tuned.folder / NETWORK)["model_state_dict"]
    moved = [name for name in start if not torch.equal(start[name], end[name])]
    assert "features.0.weight" in moved
    assert not [name for name in moved if "running" in name or "num_batches" in name]


def test_a_run_brings_the_picks_nearer_to_their_references_than_the_background(
    tuned: Finetuned, bench: Bench
) -> None:
    """On what was trained on, which is what the loss asks for: by the similarity maps of both networks."""
    parts = parts_of(bench)
    margins = []
    for path in (bench.model, tuned.folder / NETWORK):
        loaded = load_network(path, "cpu")
        similarity = map_parts(
            loaded, bench.volume, parts, references_of(loaded, bench, parts), progress=False
        )[0]
        own = []
        for number, name in enumerate(("1bar", "1shl")):
            volume = similarity.volume(number)
            rows = [row for row in parts.trained if bench.picks["class"].iloc[row] == name]
            sites = local_sites(bench, parts, rows, similarity.grid.stride)
            own.append(np.mean([volume[tuple(site)] for site in sites]) - float(np.quantile(volume, 0.99)))
        margins.append(np.mean(own))
    assert margins[1] > margins[0]


def test_scores_before_are_those_of_the_evaluation_on_the_held_out_side(
    tuned: Finetuned, bench: Bench
) -> None:
    """Best-case F1 and recall of the network that was begun with, again, by the library's evaluation."""
    parts = parts_of(bench)
    loaded = load_network(bench.model, "cpu")
    maps = map_parts(loaded, bench.volume, parts, references_of(loaded, bench, parts), progress=False)
    again = scores_of("before", maps, bench.picks, parts, BOX)
    before = tuned.scores[tuned.scores["network"] == "before"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, before, check_dtype=False)
    located = locate(maps[1], global_min=LOWEST_SIMILARITY, box_sizes=BOX, progress=False)
    for axis, edge in zip("ZYX", parts.scored_box, strict=True):
        located[axis] += edge.start or 0
    inside = located["ZYX"[parts.axis]].between(*parts.bounds)
    attributes = dict(located.attrs)
    located = located[inside].reset_index(drop=True)
    located.attrs = attributes
    truth = bench.picks.iloc[parts.held_out]
    for row in again.to_dict("records"):
        reference = f"{row['class']}.mrc"
        number = located.attrs["references"].index(reference)
        own = located[located["predicted_class"] == number]
        # By brute force: F1 at every threshold of the grid.
        best = 0.0
        for limit in np.arange(20, 101) / 100:
            kept = own[own["metric_best"] > limit].reset_index(drop=True)
            kept.attrs = attributes
            report = evaluate_positions(kept, truth, BOX).set_index("reference")
            best = max(best, float(report.loc[reference, "F1"]))
        assert row["best_F1"] == pytest.approx(best)
        assert row["F1"] <= row["best_F1"]
        assert row["held_out"] == (truth["class"] == row["class"]).sum()


def parts_of(bench: Bench) -> HeldOut:
    centres = bench.picks[["Z", "Y", "X"]].to_numpy(np.float64)
    labels = (bench.picks["class"] == "1shl").to_numpy(np.int64)
    return hold_out(centres, labels, bench.volume.data.shape)


def local_sites(bench: Bench, parts: HeldOut, rows: list[int], stride: tuple[int, ...]) -> np.ndarray:
    centres = bench.picks[["Z", "Y", "X"]].to_numpy(np.float64)[rows]
    local = centres - np.array([along.start or 0 for along in parts.training_box])
    return np.rint(local / np.array(stride)).astype(int)


def references_of(loaded: LoadedNetwork, bench: Bench, parts: HeldOut) -> Any:
    """Of the trained picks, cut and standardised here by plain NumPy."""
    data = -bench.volume.data.astype(np.float64)[parts.training_box]
    padded = np.pad(data, 18, mode="reflect")
    first = [along.start or 0 for along in parts.training_box]
    windows = {}
    for name in ("1bar", "1shl"):
        cut = []
        for row in parts.trained:
            if bench.picks["class"].iloc[row] == name:
                z, y, x = np.rint(bench.picks[["Z", "Y", "X"]].to_numpy()[row]).astype(int) - first
                window = padded[z : z + 37, y : y + 37, x : x + 37]
                cut.append((window - window.mean()) / window.std())
        windows[name] = torch.from_numpy(np.stack(cut)).float()[:, None]
    return mean_references(loaded, windows)


def test_the_same_seed_gives_the_same_network(bench: Bench, tmp_path: Path) -> None:
    one, two = (
        load_checkpoint(bench.finetune(tmp_path / name).folder / NETWORK)["model_state_dict"] for name in "ab"
    )
    for name, weight in one.items():
        torch.testing.assert_close(weight, two[name])


def test_weights_are_pulled_back_to_where_they_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a loss that pushes a weight one way for ever, the pull holds it where both are in balance."""
    monkeypatch.setattr(finetuning_steps, "_loss_of_batch", lambda network, *_: network.weight.sum())
    ends = {}
    for pull in (0.0, 0.5):
        monkeypatch.setattr(finetuning_steps, "PULL", pull)
        network: Any = torch.nn.Linear(1, 1, bias=False).requires_grad_(False)
        start = copy.deepcopy(network.weight)
        assert finetuning_steps.train_on_crops(network, None, {}, Budget(10, 200), progress=False) == 200  # type: ignore[arg-type]
        ends[pull] = float(start - network.weight)
        assert not network.weight.requires_grad
    # Adam's steps are as long as the rate: without a pull they add up, with one the distance is at most
    # rate / pull.
    assert ends[0.0] > 50 * finetuning_steps.LEARNING_RATE
    assert 0 < ends[0.5] <= 2 * finetuning_steps.LEARNING_RATE


def test_a_run_that_fails_leaves_what_was_there(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NETWORK).write_bytes(b"an earlier one")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no space left")

    monkeypatch.setattr(finetuning, "write_reference_embedding", broken)
    with pytest.raises(RuntimeError, match="no space"):
        bench.finetune(tmp_path, max_steps=1)
    assert [path.name for path in tmp_path.iterdir()] == [NETWORK]
    assert (tmp_path / NETWORK).read_bytes() == b"an earlier one"


def changed(picks: pd.DataFrame, **values: float) -> pd.DataFrame:
    """With other values in the first row."""
    other = picks.copy()
    for name, value in values.items():
        other.loc[0, name] = value
    return other


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"minutes": 0}, "--minutes.*more than 0"),
        ({"share": 1.0}, "--held_out.*between 0 and 1"),
        ({"seed": -1}, "--seed.*0 or more"),
        ({"max_steps": 0}, "max_steps.*1 or more"),
        ({"box_sizes": {"1bar": 25}}, "none for the reference 1shl.*Add a size"),
    ],
)
def test_bad_options_are_refused_before_anything_is_computed(
    options: dict[str, Any], told: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "map_parts", None)
    with pytest.raises(InputError, match=told):
        bench.finetune(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_bad_picks_are_refused_with_the_value(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "map_parts", None)
    first = bench.picks.iloc[[0]]
    cases = {
        "1 of 12 picks lie outside tomo.mrc, such as X 500": changed(bench.picks, X=500.0),
        "1 of 12 picks lie outside.*Z nan": changed(bench.picks, Z=float("nan")),
        "there is no column class": bench.picks.drop(columns="class"),
        "there is no pick": bench.picks.iloc[:0],
        "two picks of .* are one": pd.concat([bench.picks, first], ignore_index=True),
        "the 2 picks are too few.*no plane parts them": bench.picks.iloc[:2],
    }
    for told, picks in cases.items():
        with pytest.raises(InputError, match=told):
            bench.finetune(tmp_path, picks=picks)
    files = [f"{name}.coords" for name in bench.picks["class"]]
    picks = changed(bench.picks, X=500.0).assign(file=files)
    with pytest.raises(InputError, match=rf"{files[0]}: 1 of 6 picks lie outside"):
        bench.finetune(tmp_path, picks=picks)
    with pytest.raises(InputError, match=r"^1bar\.coords, 1shl\.coords: the 2 picks are too few"):
        bench.finetune(tmp_path, picks=picks.iloc[1:3])


def test_it_tells_how_many_picks_are_on_either_side_before_it_computes(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        pass

    def computed(*_: object, **__: object) -> None:
        raise Enough

    monkeypatch.setattr(finetuning, "map_parts", computed)
    told: list[pd.DataFrame] = []
    with pytest.raises(Enough):
        bench.finetune(tmp_path, on_parted=told.append)
    parts, names = parts_of(bench), bench.picks["class"]
    assert told[0].to_dict("records") == [
        {"class": name, "trained": sum(names.iloc[parts.trained] == name),
         "held_out": sum(names.iloc[parts.held_out] == name),
         "near": sum(names.drop([*parts.trained, *parts.held_out]) == name)}
        for name in ("1bar", "1shl")
    ]  # fmt: skip


def test_a_network_that_is_not_dense_is_refused(bench: Bench, tmp_path: Path) -> None:
    configuration = {
        **CONFIGURATION,
        "identifier": "SiameseNet",
        "network_config": {"norm_name": "BatchNorm"},
    }
    path = tmp_path / "siamese.pth"
    save_checkpoint(
        path, build_network(configuration, "test"), configuration,
        epoch=0, loss=1.0, best_loss=1.0, best_f1=0.0,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"siamese\.pth.*cannot be evaluated densely.*default"):
        bench.finetune(tmp_path / "out", model=path)


def test_a_tomogram_without_contrast_is_refused(bench: Bench, tmp_path: Path) -> None:
    flat = Volume(np.zeros_like(bench.volume.data), 10.0, bench.volume.path)
    with pytest.raises(InputError, match=r"tomo\.mrc.*all voxels"):
        bench.finetune(tmp_path, volume=flat)
