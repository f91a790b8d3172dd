"""The network that ships, exchanged in a folder of its own: whole, stripped, and described by its card."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.install_default_network import install, weights_line
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import md5_of_file
from tomotwin_lib.networks.checkpoint import load_checkpoint, load_network, save_checkpoint
from tomotwin_lib.networks.registry import build_network
from tomotwin_lib.networks.shipped_networks import DEFAULT, MOST_BYTES, model_card, shipped_network


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    configuration = {
        "identifier": "FullyConvolutional",
        "network_config": {"width": 2, "output_channels": 8},
        "train_config": {},
        "distance": "COSINE",
    }
    path = tmp_path / "best_f1.pth"
    save_checkpoint(
        path, build_network(configuration), configuration, epoch=3, loss=1.0, best_loss=0.5, best_f1=0.25,
        training_state={"optimizer_state_dict": {"state": torch.zeros(MOST_BYTES // 4)}},
    )  # fmt: skip
    return path


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """The present card as a draft for the next one."""
    text = model_card(shipped_network(DEFAULT) or "")
    assert text is not None
    path = tmp_path / "draft.md"
    path.write_text(text.replace("## Data\n", "## Data\n\nOther data.\n"), encoding="utf-8")
    return path


def test_a_checkpoint_and_its_card_take_the_place(trained: Path, card: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shipped"
    folder.mkdir()
    path = install(trained, card, folder)
    assert path.stat().st_size < 1_000_000
    told = load_checkpoint(path)
    assert "optimizer_state_dict" not in told
    assert (told["epoch"], told["best_f1"]) == (3, 0.25)
    for name, weight in load_checkpoint(trained)["model_state_dict"].items():
        assert torch.equal(weight, told["model_state_dict"][name])
    written = model_card(path)
    assert written is not None and "Other data." in written
    assert md5_of_file(path) in written and "width 2, output_channels 8, COSINE" in written
    assert written.count("MD5") == 1
    assert sorted(one.name for one in folder.iterdir()) == [f"{DEFAULT}.md", f"{DEFAULT}.pth"]


def test_the_voxel_size_is_kept_and_can_be_told(trained: Path, card: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shipped"
    folder.mkdir()
    first = install(trained, card, folder)
    assert load_network(first, "cpu").voxel_size_in_angstrom is None
    told = install(trained, card, folder, voxel_size_in_angstrom=10.0)
    assert load_network(told, "cpu").voxel_size_in_angstrom == 10
    assert load_network(install(told, card, folder), "cpu").voxel_size_in_angstrom == 10


def test_the_card_that_ships_is_what_this_would_write() -> None:
    path = shipped_network(DEFAULT)
    assert path is not None
    assert weights_line(load_network(path, "cpu")) in (model_card(path) or "")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [("## Limits", "## Remarks", "its headings are .*Write Data"), ("Weights: ", "", "0 lines begin")],
)
def test_a_card_that_lacks_something_is_refused(
    old: str, new: str, told: str, trained: Path, card: Path, tmp_path: Path
) -> None:
    card.write_text(card.read_text().replace(old, new))
    folder = tmp_path / "shipped"
    folder.mkdir()
    with pytest.raises(InputError, match=told):
        install(trained, card, folder)
    assert not list(folder.iterdir())


def test_a_network_that_is_too_large_is_refused(
    trained: Path, card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.install_default_network.MOST_BYTES", 1000)
    folder = tmp_path / "shipped"
    folder.mkdir()
    with pytest.raises(InputError, match=r"bytes, more than 1,000"):
        install(trained, card, folder)
    assert not list(folder.iterdir())
