"""Environment variables, settings files, and the defaults of the steps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tomotwin_assets.configs import (
    CONFIGS,
    SECTION_CONFIGS,
    EvaluationConfig,
    TrainingConfig,
    recorded,
    resolve,
    resolve_section,
    settings_in,
    settings_of,
)
from tomotwin_assets.settings import DATA_VARIABLE, DEVICE_VARIABLE, SECTIONS, Settings, read_settings
from tomotwin_lib.errors import InputError


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)


def test_nothing_set_says_what_to_set() -> None:
    with pytest.raises(InputError, match=r"TOMOTWIN_DATA.*tomotwin\.toml"):
        read_settings().data_folder()


def test_the_demo_is_the_default_only_where_it_exists(tmp_path: Path) -> None:
    (tmp_path / "data" / "demo").mkdir(parents=True)
    assert read_settings().data_folder() == (tmp_path / "data" / "demo").resolve()


def test_a_folder_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "/nowhere/at/all")
    with pytest.raises(InputError, match="/nowhere/at/all: the data folder does not exist"):
        read_settings().data_folder()


def test_the_file_is_found_upwards_and_the_variable_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lab", "other", "deep/down"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tomotwin.toml").write_text('data = "lab"\ndevice = "cpu"\n')
    monkeypatch.chdir(tmp_path / "deep" / "down")
    assert read_settings().data_folder() == (tmp_path / "lab").resolve()
    assert read_settings().device == "cpu"
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "other"))
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda:1")
    assert read_settings().data_folder() == (tmp_path / "other").resolve()
    assert read_settings().device == "cuda:1"


def test_settings_beside_the_data_give_way_to_those_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "tomotwin.toml").write_text("[training]\nepochs = 3\nseed = 5\n")
    (tmp_path / "tomotwin.toml").write_text('data = "lab"\n[training]\nepochs = 7\n')
    given = resolve("trained_model", read_settings())
    assert isinstance(given, TrainingConfig)
    assert (given.epochs, given.seed) == (7, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data = ", "cannot be read"),
        ('date = "x"', "unknown settings: date"),
        ("training = 3", "'training' is no section"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "tomotwin.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_settings()


def test_unknown_and_impossible_values_name_section_and_key() -> None:
    with pytest.raises(InputError, match=r"\[training\] has unknown settings: epoch\b"):
        resolve("trained_model", Settings(None, "auto", {"training": {"epoch": 3}}))
    with pytest.raises(InputError, match=r"\[embedding\] stride is 0"):
        resolve("tomogram_embeddings", Settings(None, "auto", {"embedding": {"stride": 0}}))


def test_the_readme_shows_every_setting(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", readme, flags=re.DOTALL)
    (tmp_path / "tomotwin.toml").write_text(block)
    shown = dict(re.findall(r"^\[(\w+)\] *# (.*)$", block, flags=re.MULTILINE))
    assert sorted(shown) == sorted(SECTIONS)
    for asset, (section, config) in CONFIGS.items():
        assert shown[section].split(", ") == settings_in(section)
        assert set(config.model_fields) <= set(settings_in(section))
        resolve(asset, read_settings())
    for section, config in SECTION_CONFIGS.items():
        assert shown[section].split(", ") == list(config.model_fields)
        resolve_section(section, config, read_settings())


def test_every_section_belongs_to_somebody() -> None:
    assert {*(section for section, _ in CONFIGS.values()), *SECTION_CONFIGS} == set(SECTIONS)


def test_a_section_that_two_assets_share(tmp_path: Path) -> None:
    settings = Settings(None, "auto", {"coordinates": {"formats": ["cbox"], "minimum_metric": 0.7}})
    assert recorded(resolve("picked_coordinates", settings))["minimum_metric"] == 0.7
    assert recorded(resolve("production_picks", settings))["formats"] == ["cbox"]
    assert "minimum_metric" not in recorded(resolve("production_picks", settings))


def test_a_time_that_is_none() -> None:
    with pytest.raises(InputError, match=r"\[reevaluation\] cron is 'weekly'.*five fields"):
        resolve("reevaluate_models", Settings(None, "auto", {"reevaluation": {"cron": "weekly"}}))


def test_the_launchpad_starts_from_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tomotwin.toml").write_text("[evaluation]\nfbeta = 2.0\n")
    monkeypatch.setitem(CONFIGS, "evaluation_report", CONFIGS["evaluation_report"])

    class Config(EvaluationConfig):
        pass

    changed = settings_of("evaluation_report", "evaluation")(Config)
    assert changed().fbeta == 2.0
    assert changed.to_fields_dict()["fbeta"].default_value == 2.0
    assert EvaluationConfig().fbeta == 1.0
