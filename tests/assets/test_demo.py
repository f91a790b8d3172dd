"""The demo from end to end, on less data than it has in earnest."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tomotwin_assets import command, demo
from tomotwin_assets.instance import HOME_VARIABLE
from tomotwin_assets.settings import DATA_VARIABLE, SHIPPED_VARIABLE
from tomotwin_assets.values import read_report
from tomotwin_lib.cli import main as shell
from tomotwin_lib.networks.shipped_networks import DEFAULT

SMALL = {
    "seed": 0,
    "tomogram_shape": (60, 110, 110),
    "particles_per_class": 1,
    "subvolumes_per_class": 4,
    "cut_shape": (60, 110, 110),
}


@pytest.fixture
def small_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's data folder, on little data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    for variable in (DATA_VARIABLE, SHIPPED_VARIABLE):
        monkeypatch.setenv(variable, "")  # restored afterwards: the demo sets them
    monkeypatch.setattr(demo, "DATASET", SMALL)
    monkeypatch.setattr(demo, "SETTINGS", "[training]\nepochs = 1\n[embedding]\nstride = 4\n")
    monkeypatch.setitem(demo.CONFIGURATION, "network_config", {"width": 2})
    return tmp_path / "data" / "demo"


@pytest.mark.slow
def test_the_demo_ends_with_scores_that_a_second_command_recomputes(
    small_demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["demo"]) == 0
    out = capsys.readouterr().out
    assert (small_demo / ".dagster_home").is_dir()
    assert not (small_demo / "models").exists() and not (small_demo / "products" / "training_data").exists()
    (path,) = (small_demo / "products" / "evaluation_report").glob("*/*.json")
    assert path.parent.name == DEFAULT
    report = read_report(path)
    assert len(report.best_case) == 5
    for row in report.best_case:
        assert str(row["reference"]) in out
    (again,) = re.findall(r"^ *\S*/tomotwin (evaluate .*)$", out, flags=re.MULTILINE)
    assert shell.main(shlex.split(again)) == 0
    assert f"{report.mean('F1', best_case=True):.3f}" in capsys.readouterr().out

    assert command.main(["demo"]) == 0
    second = capsys.readouterr().out
    assert "(there already)" in second
    assert "0 products made" in second

    # What is trained when it is asked for stands beside the network that ships.
    assert command.main(["demo", "--train"]) == 0
    third = capsys.readouterr().out
    assert f"{demo.MODEL} on simulated_01" in third and f"{DEFAULT} on simulated_01" in third
    assert (small_demo / "products" / "trained_model" / f"{demo.MODEL}.pth").is_file()
