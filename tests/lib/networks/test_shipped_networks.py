"""Networks that ship: found by name, small, whole, and described by a card that is theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import md5_of_file
from tomotwin_lib.networks import shipped_networks
from tomotwin_lib.networks.checkpoint import load_checkpoint, load_network
from tomotwin_lib.networks.shipped_networks import (
    CARD_HEADINGS,
    DEFAULT,
    MOST_BYTES,
    find_network_file,
    model_card,
    shipped_names,
    shipped_network,
)


def test_there_is_a_default() -> None:
    assert DEFAULT in shipped_names()


@pytest.mark.parametrize("name", shipped_names())
def test_a_network_ships_without_what_only_training_needs_and_with_its_own_card(name: str) -> None:
    path = find_network_file(name)
    assert path.stat().st_size <= MOST_BYTES
    assert not {"optimizer_state_dict", "training_state"} & set(load_checkpoint(path))
    loaded = load_network(name, "cpu")
    assert loaded.path == path and loaded.md5 == md5_of_file(path)
    card = model_card(path)
    assert card is not None
    assert loaded.md5 in card, "the card describes other weights"
    headings = [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")]
    assert headings == list(CARD_HEADINGS)


def test_a_file_goes_before_a_name_and_a_folder_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT).mkdir()
    assert find_network_file(DEFAULT) == shipped_network(DEFAULT)
    (tmp_path / DEFAULT).rmdir()
    (tmp_path / DEFAULT).write_bytes(b"somebody's own")
    assert find_network_file(DEFAULT) == Path(DEFAULT)


@pytest.mark.parametrize("name", ["nothing", "../default", "default.pth", ""])
def test_what_is_neither_is_refused_with_the_names_that_there_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    for there in ("default", "other"):
        (shipped / f"{there}.pth").touch()
    monkeypatch.setattr(shipped_networks, "SHIPPED", shipped)
    with pytest.raises(InputError, match=r"the path of a \.pth file, or the name .*: default, other"):
        find_network_file(name)
