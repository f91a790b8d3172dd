"""A training on tomograms learns, can be repeated and resumed, and refuses what cannot work."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tomograms_to_train_on import CENTRES, LABELS, two_shapes

from tomotwin_lib.embedding import precision
from tomotwin_lib.embedding.preparation import standardise_window
from tomotwin_lib.errors import InputError
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.networks.checkpoint import load_checkpoint, load_network
from tomotwin_lib.networks.registry import NETWORKS, build_network
from tomotwin_lib.training import tomogram_training
from tomotwin_lib.training.recipe import Recipe
from tomotwin_lib.training.tomogram_run import TomogramRun, learning_rate, temperature
from tomotwin_lib.training.tomogram_training import train_on_tomograms
from tomotwin_lib.training.window_draws import WindowDraws

SHARES = {"particles": 4, "off_centre": 2, "distractors": 1, "background": 2, "hard": 2}
RECIPE: dict[str, Any] = {"looks": 3, "shares": SHARES, "averaging": 0.5}


def configuration(network: dict[str, Any] | None = None, **recipe: Any) -> dict[str, Any]:
    return {
        "identifier": "FullyConvolutional",
        "network_config": {"width": 4, "output_channels": 8},
        "train_config": RECIPE | recipe,
        "distance": "COSINE",
        **(network or {}),
    }


SIAMESE = {
    "identifier": "SiameseNet",
    "network_config": {"norm_name": "GroupNorm", "norm_kwargs": {"num_groups": 64, "num_channels": 1024}},
}


def go(output: Path, **options: Any) -> Any:
    tomograms = options.pop("tomograms", [two_shapes(0), two_shapes(1)])
    given = options.pop("configuration", configuration())
    options = {"steps": 4, "device": "cpu", "progress": False} | options
    return train_on_tomograms(given, tomograms, output, **options)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)["model_state_dict"]


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_to_tell_shapes_apart_and_from_nothing(tmp_path: Path) -> None:
    result = go(tmp_path / "out", steps=30, configuration=configuration(learning_rate=0.005, looks=10))
    loaded = load_network(result.network, "cpu")
    draws = WindowDraws([two_shapes(7)], 37, tomogram_training.Recipe().shares, 0)  # not trained on
    at = [(0, np.rint(centre).astype(np.int64)) for centre in CENTRES]
    void = [(0, np.array([20, 40, x])) for x in (20, 40, 60)]
    with torch.no_grad():
        vectors = loaded.network(standardise_window(draws.cut(at + void)[:, 0])[:, None])
    similarity = vectors @ vectors.T
    ball, rod, other_rod, other_ball = range(4)
    right = torch.stack([similarity[ball, other_ball], similarity[rod, other_rod]])
    wrong = torch.cat(
        [similarity[[ball, other_ball]][:, [rod, other_rod]].flatten(), similarity[:4, 4:].flatten()]
    )
    assert right.min() > wrong.max() + 0.1
    assert LABELS[ball] == LABELS[other_ball]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        go(tmp_path / name, seed=seed)
    assert same(tmp_path / "a" / "final.pth", tmp_path / "b" / "final.pth")
    assert not same(tmp_path / "a" / "final.pth", tmp_path / "c" / "final.pth")


def test_a_run_that_is_cut_off_and_resumed_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tomogram_training, "ROW_STEPS", 2)
    whole = go(tmp_path / "whole", steps=6)

    class Killed(Exception):
        pass

    original = tomogram_training.TomogramRun.step

    def step(run: Any, share: float) -> float:
        if run.steps == 4:
            raise Killed
        return original(run, share)

    monkeypatch.setattr(tomogram_training, "LATEST_SECONDS", -1.0)
    monkeypatch.setattr(tomogram_training.TomogramRun, "step", step)
    with pytest.raises(Killed):
        go(tmp_path / "cut", steps=6)
    monkeypatch.setattr(tomogram_training.TomogramRun, "step", original)
    latest = tmp_path / "cut" / "latest.pth"
    assert not (tmp_path / "cut" / "final.pth").exists()
    load_network(latest, "cpu")  # what there is can be used
    with pytest.raises(InputError, match="go on with --resume"):
        go(tmp_path / "cut", steps=6)
    with pytest.raises(InputError, match="with seed 0, and not on these with seed 1"):
        go(tmp_path / "cut", steps=6, resume=True, seed=1)
    with pytest.raises(InputError, match="another configuration"):
        go(tmp_path / "cut", steps=6, resume=True, configuration=configuration(noise=0.1))
    resumed = go(tmp_path / "cut", steps=6, resume=True)
    assert same(whole.network, resumed.network)
    assert not latest.exists()
    columns = ["step", "proxies", "pairs", "rate"]
    pd.testing.assert_frame_equal(whole.steps[columns], resumed.steps[columns])
    pd.testing.assert_frame_equal(pd.read_csv(resumed.table)[columns], resumed.steps[columns])


def interrupted(output: Path, monkeypatch: pytest.MonkeyPatch, *, at: int, times: int = 1) -> None:
    """Train 6 steps, with Ctrl-C in the midst of one: the weights have moved, and it is not counted yet."""
    original = tomogram_training.TomogramRun._follow

    def follow(run: Any, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        for _ in range(times if run.steps == at else 0):
            signal.raise_signal(signal.SIGINT)
        original(run, embeddings, labels)

    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(tomogram_training.TomogramRun, "_follow", follow)
            go(output, steps=6)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, earlier)


@pytest.mark.parametrize("at", [0, 3, 5])
def test_an_interrupted_run_is_resumed_and_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    whole = go(tmp_path / "whole", steps=6)
    interrupted(tmp_path / "cut", monkeypatch, at=at)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["latest.pth"]
    assert load_checkpoint(tmp_path / "cut" / "latest.pth")["epoch"] == at + 1  # the step was finished
    resumed = go(tmp_path / "cut", steps=6, resume=True)
    assert same(whole.network, resumed.network)
    columns = ["step", "proxies", "pairs", "rate"]
    pd.testing.assert_frame_equal(whole.steps[columns], resumed.steps[columns])


def test_a_second_interruption_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tmp_path, monkeypatch, at=1, times=2)
    assert not list(tmp_path.iterdir())


def test_whoever_takes_interruptions_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    original = tomogram_training.TomogramRun.step

    def step(run: Any, share: float) -> float:
        signal.raise_signal(signal.SIGINT)
        return original(run, share)

    monkeypatch.setattr(tomogram_training.TomogramRun, "step", step)
    earlier = signal.signal(signal.SIGINT, lambda number, _: taken.append(number))
    try:
        go(tmp_path, steps=2)
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert len(taken) == 2


def test_it_begins_with_given_weights_and_scores_on_the_way(tmp_path: Path) -> None:
    first = go(tmp_path / "first", steps=2)
    seen: list[float] = []

    def check(network: torch.nn.Module, seconds: float) -> dict[str, float]:
        assert not network.training
        seen.append(seconds)
        return {"score": 0.5}

    second = go(
        tmp_path / "second", steps=2, start=first.network, on_check=check, minutes_between=0.0,
        configuration=configuration(learning_rate=1e-12, averaging=0.0),
    )  # fmt: skip
    begun, ended = weights(first.network), weights(second.network)
    for name in begun:
        if name.endswith("weight"):
            torch.testing.assert_close(ended[name], begun[name], atol=1e-6, rtol=0)
    assert len(seen) == 3 and second.steps["score"].tolist() == [0.5] * 3
    told = load_checkpoint(second.network)["tomotwin_config"]
    assert told["train_config"]["shares"]["hard"] == 2 and tuple(told["window_size"]) == (37,) * 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": None}, "nothing says when to stop"),
        ({"steps": 0}, "0 is no number of steps"),
        ({"minutes": 0.0}, "0.0 is no time"),
        ({"minutes": float("nan")}, "nan is no time"),
        ({"seed": -1}, "-1 is no seed"),
        ({"configuration": configuration(nosie=1)}, "unknown keys: nosie"),
        ({"configuration": configuration(SIAMESE)}, "SiameseNet cannot be evaluated densely"),
        ({"tomograms": []}, "0 of their 0 classes"),
        ({"resume": True}, "latest.pth"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_what_cannot_work_is_refused_before_work(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        go(tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*.pth"))


def test_an_earlier_network_is_replaced_only_when_asked(tmp_path: Path) -> None:
    go(tmp_path, steps=1)
    with pytest.raises(InputError, match="--overwrite"):
        go(tmp_path, steps=1)
    go(tmp_path, steps=1, seed=1, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"final.pth", "steps.csv", "training_curve.png"}


def test_the_rate_rises_and_falls() -> None:
    rates = [learning_rate(1.0, share) for share in (0.0, 0.015, 0.03, 0.5, 1.0, 2.0)]
    assert rates[0] == rates[-1] == rates[-2] == 1e-6
    assert rates[1] == pytest.approx(0.5) and rates[3] == pytest.approx(0.5)
    assert rates[2] == pytest.approx(0.998, abs=1e-3)


def test_a_network_of_windows_is_trained_without_looks_and_sees_each_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Blob(EmbeddingNetwork):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(8, 4)

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            seen.append(windows.detach())
            pooled = torch.nn.functional.adaptive_avg_pool3d(windows, 2).flatten(1)
            return torch.nn.functional.normalize(self.linear(pooled), dim=1)

    monkeypatch.setitem(NETWORKS, "Blob", Blob)
    plain = {"looks": 0, "shares": SHARES | {"hard": 0}, "noise": 0.0, "gain": 0.0, "offset": 0.0}
    own = {"identifier": "Blob", "network_config": {}}
    result = go(tmp_path / "out", configuration=configuration(own, own_statistics=0.0, **plain))
    windows = torch.cat(seen[1:])  # the first asks for the length of the embedding
    assert windows.mean(dim=(1, 2, 3, 4)).abs().max() < 1e-4
    assert torch.allclose(windows.std(dim=(1, 2, 3, 4)), torch.ones(len(windows)), atol=1e-2)
    assert isinstance(load_network(result.network, "cpu").network, Blob)
    fresh = build_network(own).state_dict()
    assert not torch.equal(weights(result.network)["linear.weight"], fresh["linear.weight"])


def test_the_loss_grows_colder_by_equal_factors() -> None:
    recipe = Recipe(temperature=0.4, last_temperature=0.1)
    temperatures = [temperature(recipe, share) for share in (0.0, 0.5, 1.0, 2.0)]
    assert temperatures == pytest.approx([0.4, 0.2, 0.1, 0.1])


def test_a_run_follows_the_temperature() -> None:
    recipe = Recipe.from_configuration(configuration(temperature=0.4, last_temperature=0.1), "test")
    run = TomogramRun(
        build_network(configuration()),
        [two_shapes(0), two_shapes(1)],
        recipe,
        device=torch.device("cpu"),
        seed=0,
    )
    run.step(0.5)
    assert run.pairs.loss.temperature == pytest.approx(0.2)


def test_gradients_in_bfloat16_are_those_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.from_configuration(configuration(), "test")
    gradients = []
    for dtype in (None, torch.bfloat16):
        monkeypatch.setattr(precision, "low_precision", lambda device, dtype=dtype: dtype)
        torch.manual_seed(0)
        network = build_network(configuration({"network_config": {"width": 4, "half_turns": True}}))
        run = TomogramRun(network, [two_shapes(0)], recipe, device=torch.device("cpu"), seed=0)
        run.step(0.0)
        gradients.append(network.features[3].weight.grad)
    exact, low = gradients
    assert exact.dtype == low.dtype == torch.float32 and not torch.equal(exact, low)
    assert torch.cosine_similarity(exact.flatten(), low.flatten(), dim=0) > 0.95
