"""Picks in a copick project; the store itself is tested where the optional extra is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.copick import CopickProject


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A project on this file system that knows one particle."""
    path = tmp_path / "project.json"
    particle = {"name": "1abc", "is_particle": True, "label": 1, "color": [0, 117, 220, 255], "radius": 50}
    content = {
        "config_type": "filesystem",
        "name": "test",
        "description": "test",
        "version": "1.0",
        "pickable_objects": [particle],
        "overlay_root": f"local://{tmp_path}/overlay",
        "overlay_fs_args": {"auto_mkdir": True},
    }
    path.write_text(json.dumps(content))
    return path


def test_without_the_extra_it_says_what_to_install(
    configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "copick", None)
    with pytest.raises(InputError, match=r"pip install '\.\[copick\]'"):
        CopickProject(configuration)


def test_picks_are_stored_in_angstrom_and_replaced(configuration: Path) -> None:
    copick = pytest.importorskip("copick", reason="the optional extra [copick] is not installed")
    project = CopickProject(configuration)
    picks = pd.DataFrame({"X": [1.0, 2.0], "Y": [3.0, 4.0], "Z": [5.0, 6.0], "metric_best": [0.9, 0.5]})
    for part in (picks, picks[:1]):
        project.store(part, 10.0, run="TS_01", object_name="1abc", user="tomotwin", session="0")
    (stored,) = copick.from_file(str(configuration)).get_run("TS_01").get_picks("1abc")
    found = [(point.location.x, point.location.y, point.location.z, point.score) for point in stored.points]
    assert found == [(10.0, 30.0, 50.0, 0.9)]


def test_refuses_unknown_particles_and_projects(configuration: Path) -> None:
    pytest.importorskip("copick", reason="the optional extra [copick] is not installed")
    with pytest.raises(InputError, match="'2xyz' is none of its pickable objects: 1abc"):
        CopickProject(configuration).check_objects(["1abc", "2xyz"])
    with pytest.raises(InputError, match="no such file"):
        CopickProject(configuration.with_name("gone.json"))
    configuration.write_text("{}")
    with pytest.raises(InputError, match="copick cannot open it"):
        CopickProject(configuration)
