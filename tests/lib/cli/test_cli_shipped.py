"""``--model default`` and ``info default``: a network by its name wherever one is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tomotwin_lib.formats.frames import read_reference_embedding
from tomotwin_lib.networks.checkpoint import load_checkpoint, load_network, save_checkpoint
from tomotwin_lib.networks.shipped_networks import DEFAULT, model_card, shipped_network

# Fixtures of conftest.py, which tests cannot import by name.
Lab = Any
Run = Callable[..., Any]


def test_info_shows_the_card(run: Run) -> None:
    outcome = run("main", "info", DEFAULT)
    assert outcome.code == 0, outcome.err
    card = model_card(shipped_network(DEFAULT) or "")
    assert card is not None
    assert card.strip() in outcome.out
    assert load_network(DEFAULT, "cpu").md5 in outcome.out


def test_info_of_an_unknown_name_lists_those_that_ship(run: Run) -> None:
    outcome = run("main", "info", "defualt")
    assert outcome.code == 2
    assert "ships: default" in outcome.err and ".pth" in outcome.err


@pytest.mark.parametrize("flag", ["-m", "--model", "--modelpth"])
def test_embed_takes_the_name(flag: str, lab: Lab, tmp_path: Path, run: Run) -> None:
    outcome = run("embed_main", "subvolumes", flag, DEFAULT, "-v", lab.references, "-o", tmp_path)
    assert outcome.code == 0, outcome.err
    embedding = read_reference_embedding(tmp_path / "embeddings.temb")
    assert embedding.attributes["modelmd5"] == load_network(DEFAULT, "cpu").md5


def test_networks_are_combined_by_name(tmp_path: Path, run: Run) -> None:
    both = tmp_path / "both.pth"
    outcome = run("main", "tools", "combine_networks", "-m", DEFAULT, DEFAULT, "-o", both)
    assert outcome.code == 0, outcome.err
    window = torch.randn(1, 1, 37, 37, 37, generator=torch.Generator().manual_seed(0))
    one, two = load_network(DEFAULT, "cpu").network(window), load_network(both, "cpu").network(window)
    torch.testing.assert_close(two, torch.cat([one, one], dim=1) / 2**0.5)


def test_an_unknown_name_is_refused_before_anything_is_read(lab: Lab, tmp_path: Path, run: Run) -> None:
    outcome = run("embed_main", "subvolumes", "-m", "defualt", "-v", lab.references, "-o", tmp_path)
    assert outcome.code == 2
    assert "ships: default" in outcome.err


def test_a_training_begins_with_the_weights_that_it_is_given(lab: Lab, tmp_path: Path, run: Run) -> None:
    configuration = load_checkpoint(lab.model)["tomotwin_config"]
    # Steps too small to be seen: what comes out is what it began with.
    configuration["train_config"] = {"learning_rate": 1e-12, "batchsize": 2, "samples_per_class": 2}
    (tmp_path / "net.json").write_text(json.dumps(configuration))
    options = ("-v", lab.references, "--validvolumes", lab.references, "-nc", tmp_path / "net.json")
    outcome = run(
        "train_main", *options, "-o", tmp_path / "out", "--epochs", "1", "--seed", "9", "--start", lab.model,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    trained, start = (
        load_checkpoint(path)["model_state_dict"] for path in (tmp_path / "out" / "final.pth", lab.model)
    )
    torch.testing.assert_close(trained["features.0.weight"], start["features.0.weight"])

    again = ("--checkpoint", tmp_path / "out" / "latest.pth", "--start", lab.model)
    outcome = run("train_main", *options, "-o", tmp_path / "out", *again)
    assert outcome.code == 2 and "--start" in outcome.err


def test_a_training_refuses_weights_of_another_network(lab: Lab, tmp_path: Path, run: Run) -> None:
    outcome = run(
        "train_main", "-v", lab.references, "--validvolumes", lab.references, "-o", tmp_path,
        "-nc", "fully_convolutional", "--start", lab.model,
    )  # fmt: skip
    assert outcome.code == 2
    assert "do not fit" in outcome.err and str(lab.model) in outcome.err


def test_a_card_beside_a_checkpoint_of_ones_own_is_shown_too(lab: Lab, tmp_path: Path, run: Run) -> None:
    loaded = load_network(lab.model, "cpu")
    path = tmp_path / "mine.pth"
    save_checkpoint(path, loaded.network, loaded.configuration, epoch=0, loss=1.0, best_loss=1.0, best_f1=0.0)
    assert "what I know" not in run("main", "info", path).out
    path.with_suffix(".md").write_text("# mine\n\nwhat I know of it\n", encoding="utf-8")
    assert "what I know of it" in run("main", "info", path).out
