"""The network that ships, as a model of the platform: no file, no training, and a switch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import dagster as dg
import pytest
from tiny_platform import Platform

from tomotwin_assets.configs import PromotionConfig
from tomotwin_assets.promoting import decide
from tomotwin_assets.registration import register, scan
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.settings import FILE, SHIPPED_VARIABLE, read_settings
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import md5_of_file
from tomotwin_lib.networks.shipped_networks import DEFAULT, shipped_network


@pytest.fixture
def bare(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A lab's first tomograms and references: no network, no ground truth."""
    shutil.rmtree(platform.data / "models")
    shutil.rmtree(platform.data / "ground_truth")
    (platform.data / "tomograms" / "two.mrc").unlink()
    with (platform.data / FILE).open("a", encoding="utf-8") as settings:
        settings.write("[embedding]\nstride = 8\n")
    monkeypatch.setenv(SHIPPED_VARIABLE, "")
    return platform


def trained(folder: DataFolder, *names: str) -> None:
    """As if these models had been trained or imported."""
    for name in names:
        path = folder.product("trained_model", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")


def test_first_tomograms_are_picked_without_a_network_of_ones_own(bare: Platform) -> None:
    assert bare.call("run") == 0
    assert bare.folder.product("production_picks", "one").is_dir()
    told = bare.metadata("trained_model", DEFAULT)
    assert told["source"] == "shipped" and "## Limits" in str(told["model_card"])
    shipped = shipped_network(DEFAULT)
    assert shipped is not None and told["md5"] == md5_of_file(shipped)
    assert bare.call("run") == 0
    assert bare.metadata("trained_model", DEFAULT) == told, "made again"


def test_installing_again_is_no_new_version_and_another_network_is(
    bare: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / "shipped"
    copies.mkdir()
    network = copies / f"{DEFAULT}.pth"
    network.write_bytes(b"weights")
    monkeypatch.setattr("tomotwin_lib.networks.shipped_networks.SHIPPED", copies)
    instance = dg.DagsterInstance.ephemeral()
    assert register(bare.folder, instance).new_models == [DEFAULT]
    os.utime(network, (1, 1))
    assert register(bare.folder, instance).events == []
    network.write_bytes(b"better ones")
    (event,) = register(bare.folder, instance).events
    assert event.partition == DEFAULT


def test_it_is_switched_off_by_the_file_or_the_variable(
    bare: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = dg.DagsterInstance.ephemeral()
    register(bare.folder, instance)
    settings = bare.data / FILE
    settings.write_text(f"shipped_models = false\n{settings.read_text()}", encoding="utf-8")
    off = scan(bare.folder, instance)
    assert off.models == [] and off.gone_models == [DEFAULT]
    with pytest.raises(InputError, match=f"there is no {DEFAULT}.json"):
        bare.folder.model_file(DEFAULT)
    monkeypatch.setenv(SHIPPED_VARIABLE, "true")
    assert scan(bare.folder, instance).models == [DEFAULT]
    monkeypatch.setenv(SHIPPED_VARIABLE, "perhaps")
    with pytest.raises(InputError, match=r"perhaps.*true or false"):
        read_settings()


def test_a_setting_that_is_neither_true_nor_false_is_refused(bare: Platform) -> None:
    (bare.data / FILE).write_text('shipped_models = "no"\n', encoding="utf-8")
    with pytest.raises(InputError, match="shipped_models is 'no'"):
        read_settings()


def test_a_file_of_ones_own_keeps_the_version(bare: Platform) -> None:
    assert bare.folder.ships(DEFAULT)
    own = bare.add_checkpoint(DEFAULT)
    assert bare.folder.model_files() == [own]
    assert bare.folder.model_file(DEFAULT) == own and not bare.folder.ships(DEFAULT)


def test_ones_own_network_goes_first_and_is_waited_for(bare: Platform) -> None:
    (bare.data / "models").mkdir()
    (bare.data / "models" / "mine.json").write_text("{}", encoding="utf-8")
    trained(bare.folder, DEFAULT)
    waits = decide(bare.folder, PromotionConfig())
    assert waits.promotion is None and "mine to be trained first" in waits.outcome
    trained(bare.folder, "mine")
    first = decide(bare.folder, PromotionConfig()).promotion
    assert first is not None and first.model == "mine"


def test_it_is_the_first_where_there_is_no_other(bare: Platform) -> None:
    trained(bare.folder, DEFAULT)
    first = decide(bare.folder, PromotionConfig()).promotion
    assert first is not None and first.model == DEFAULT
