"""A file still being copied is left until it is complete."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tomotwin_assets.completeness import Arrivals
from tomotwin_lib.formats.mrc_header import missing_bytes
from tomotwin_lib.formats.volumes import write_volume

NOW = 1_500_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.mrc"
    write_volume(path, np.zeros((4, 5, 6), np.float32), 10.0)
    changed(path, seconds_ago=100)
    return path


def changed(path: Path, seconds_ago: float) -> None:
    os.utime(path, (NOW - seconds_ago,) * 2)


def cut(path: Path, by: int) -> None:
    path.write_bytes(path.read_bytes()[:-by])


def look(path: Path, now: float = NOW, before: Arrivals | None = None) -> tuple[bool, Arrivals]:
    arrivals = Arrivals(now, 20.0, before.remembered if before else {})
    return arrivals.complete([(path, path.stat())]), arrivals


def test_a_whole_file_is_complete_once_it_has_been_left_alone(file: Path) -> None:
    changed(file, seconds_ago=19)
    complete, arrivals = look(file)
    assert not complete and arrivals.waiting == {file: "it has just changed"}
    assert look(file, NOW + 1)[0]


def test_missing_bytes_are_those_that_the_header_promises(file: Path) -> None:
    assert missing_bytes(file) == 0
    cut(file, by=7)
    assert missing_bytes(file) == 7
    file.write_bytes(file.read_bytes()[:1000])
    assert missing_bytes(file) == 24
    file.write_bytes(b"")
    assert missing_bytes(file) == 1024
    file.write_bytes(b"no volume at all" * 100)
    assert missing_bytes(file) == 0


def test_a_short_file_is_waited_for_ten_minutes(file: Path) -> None:
    cut(file, by=7)
    changed(file, seconds_ago=599)
    complete, arrivals = look(file)
    assert not complete and arrivals.waiting == {file: "it is 7 bytes shorter than its header says"}
    assert look(file, NOW + 1)[0]


def test_a_time_of_change_in_the_future_is_no_hindrance(file: Path) -> None:
    changed(file, seconds_ago=-3600)
    complete, first = look(file)
    assert not complete
    assert not look(file, NOW + 19, first)[0]
    assert look(file, NOW + 20, first)[0]


def test_what_is_remembered_holds_for_the_file_as_it_was(file: Path) -> None:
    changed(file, seconds_ago=-3600)
    _, first = look(file)
    changed(file, seconds_ago=-3700)
    complete, second = look(file, NOW + 60, first)
    assert not complete
    assert second.remembered[str(file)][1] == NOW + 60
    # An old file that is whole need not be remembered.
    changed(file, seconds_ago=100)
    assert look(file)[1].remembered == {}


def test_a_folder_is_complete_when_all_its_files_are(file: Path) -> None:
    other = file.with_name("two.mrc")
    other.write_bytes(file.read_bytes())
    changed(other, seconds_ago=3)
    files = [(path, path.stat()) for path in (file, other)]
    assert not Arrivals(NOW, 20.0).complete(files)
    assert Arrivals(NOW + 17, 20.0).complete(files)
