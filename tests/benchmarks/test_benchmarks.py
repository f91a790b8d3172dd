"""The benchmarks run, their sides agree, and their report says what it should; no test looks at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.report import markdown_table
from benchmarks.result import Growth, StageResult
from benchmarks.stages import STAGES

FIELDS = {
    "name", "input", "ours_seconds", "theirs_seconds", "ratio", "required_ratio", "peak_share",
    "required_peak_share", "peak_memory_bytes", "required_peak_memory_bytes", "growth", "difference",
    "tolerance", "requirements", "note",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of all stages with tiny inputs, half an hour's one included."""
    folder = tmp_path_factory.mktemp("results")
    status = main(["--quick", "--threads", "1", "--output", str(folder), "--stages", *STAGES])
    assert status == 0
    return folder


def test_table_json_and_picture_are_written(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"benchmarks.md", "benchmarks.json", "benchmarks.png"}
    assert (folder / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    table = (folder / "benchmarks.md").read_text()
    for stage in json.loads((folder / "benchmarks.json").read_text())["stages"]:
        assert f"| {stage['name']} |" in table


def test_json_tells_the_machine_and_all_of_each_stage(folder: Path) -> None:
    content = json.loads((folder / "benchmarks.json").read_text())
    assert content["commit"] and content["date"]
    assert content["machine"]["cores"] >= 1 and content["machine"]["peak_operations"] > 0
    for stage in content["stages"]:
        assert set(stage) >= FIELDS
        if stage["growth"] is not None:
            assert len(stage["growth"]["sizes"]) == len(stage["growth"]["seconds"]) >= 4
            assert len(stage["growth"]["peak_memory_bytes"]) == len(stage["growth"]["sizes"])
    assert sum(stage["growth"] is not None for stage in content["stages"]) >= 6


def test_both_sides_agreed_before_they_were_compared(folder: Path) -> None:
    compared = [
        stage
        for stage in json.loads((folder / "benchmarks.json").read_text())["stages"]
        if stage["ratio"] is not None
    ]
    assert len(compared) >= 7
    for stage in compared:
        assert stage["difference"] <= stage["tolerance"]
        assert stage["ratio"] == pytest.approx(stage["theirs_seconds"] / stage["ours_seconds"])


def test_table_marks_what_is_missed() -> None:
    growth = Growth("voxels", [1, 10, 100, 1000], [1.0, 10.0, 100.0, 1000.0], [1, 1, 1, 1])
    result = StageResult(
        name="stage",
        input="something",
        ours_seconds=1.0,
        theirs_seconds=2.0,
        ratio=2.0,
        ratio_range=(1.9, 2.1),
        required_ratio=3.0,
        growth=growth,
        required_exponent=1.1,
        peak_bytes=9 * 10**9,
        required_peak_bytes=8 * 10**9,
    )
    assert growth.exponent == pytest.approx(1)
    assert [one.met for one in result.requirements()] == [False, False, True]
    assert (
        "**2 ×** (1.9–2.1) | ≥ 3 ×; ≤ 8.00 GB; ≤ size^1.10 | **missed**; **missed**; met |"
        in markdown_table([result])
    )
