"""Notes about files and voxel sizes that do not belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tomotwin_lib.embedding import subvolumes
from tomotwin_lib.formats.frames import write_picks
from tomotwin_lib.formats.star import read_star
from tomotwin_lib.formats.volumes import read_volume, write_volume

# Fixtures of conftest.py, which tests cannot import by name.
Lab = Any
Run = Callable[..., Any]


def test_a_tomogram_as_large_as_a_reference_is_told(lab: Lab, tmp_path: Path, run: Run) -> None:
    common = ("embed_main", "tomogram", "-m", lab.model, "-s", "12", "--no-progress", "-o", tmp_path)
    for volumes, named in (
        ((lab.tomogram,), ""),
        ((lab.tomogram, lab.references / "tomo_1abc_0.mrc"), "tomo_1abc_0.mrc is of 37³ voxels"),
        ((lab.references,), "tomo_1abc_0.mrc and 1 more are of 37³ voxels"),
    ):
        outcome = run(*common, "-v", *volumes)
        assert outcome.code == 0
        notes = [line for line in outcome.err.splitlines() if line.startswith("note: ")]
        assert len(notes) == bool(named)
        assert all(named in line and "`embed subvolumes`" in line for line in notes)


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        (((37, 37, 38),), None),
        (((20, 20, 20),), "20×20×20 voxels (z×y×x) and the network's window of 37³: at least 84 %"),
        (((30, 40, 42), (40, 40, 12)), "30×40×42 voxels (z×y×x) and the network's window of 37³, and 1 more"),
    ],
)
def test_a_tomogram_smaller_than_a_window_is_told(
    shapes: tuple[tuple[int, int, int], ...], told: str | None, lab: Lab, tmp_path: Path, run: Run
) -> None:
    for number, shape in enumerate(shapes):
        values = np.random.default_rng(number).normal(size=shape).astype(np.float32)
        write_volume(tmp_path / "in" / f"t{number}.mrc", values, 10.0)
    outcome = run(
        "embed_main", "tomogram", "-m", lab.model, "-s", "18", "-v", tmp_path / "in", "-o", tmp_path / "out",
        "--no-progress",
    )  # fmt: skip
    assert outcome.code == 0
    if told is None:
        assert outcome.err == ""
    else:
        assert outcome.err.count("\n") == 1 and f"note: t0.mrc is of {told}" in outcome.err


def test_volumes_of_other_voxels_than_the_network_knows_are_told(lab: Lab, tmp_path: Path, run: Run) -> None:
    fine = tmp_path / "fine.pth"
    torch.save(torch.load(lab.model, weights_only=True) | {"voxel_size_in_angstrom": 5.0}, fine)
    told = "has voxels of 10 Å and fine.pth was trained at 5 Å"
    outcome = run("main", "embed", "subvolumes", "-m", fine, "-v", lab.references, "-o", tmp_path)
    assert outcome.code == 0 and told in outcome.err and "(and 1 more)" in outcome.err
    outcome = run(
        "main", "embed", "tomogram", "-m", fine, "-v", lab.tomogram, "-o", tmp_path, "-s", "18",
        "--no-progress",
    )  # fmt: skip
    assert outcome.code == 0 and f"note: {lab.tomogram.name} {told}" in outcome.err


@pytest.mark.parametrize(("voxel_size", "differs"), [(10.0, False), (5.0, True)])
def test_references_of_other_voxels_are_told_before_the_sweep(
    voxel_size: float, differs: bool, lab: Lab, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subvolumes, "embed_subvolumes", stop)
    data = read_volume(lab.references / "tomo_1abc_0.mrc").data
    write_volume(tmp_path / "refs" / "other_1abc.mrc", np.array(data), voxel_size)
    outcome = run(
        "embed_main", "tomogram", "-m", lab.model, "-v", lab.tomogram, "-o", tmp_path / "out", "-s", "8",
        "--references", tmp_path / "refs",
    )  # fmt: skip
    assert outcome.code == 130
    told = "note: other_1abc.mrc has voxels of 5 Å and the tomogram tomo.mrc of 10 Å"
    assert (told in outcome.err) == differs and ("note:" in outcome.err) == differs


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), ()),
        (("--tomogram", "there/t.mrc"), ()),
        (("--tomogram", "other.mrc"), ("these picks are of t.mrc and are written as of other.mrc",)),
        (("--tomogram", "other.mrc", "--tomogram-name", "TS_01"), ()),
        (("--voxel-size", "10.05"), ()),
        (("--voxel-size", "13.5"), ("the header of t.mrc says 10 Å a voxel; --voxel-size 13.5",)),
        (
            ("--tomogram", "other.mrc", "--voxel-size", "9.8"),
            ("written as of other.mrc", "the header of other.mrc says 10 Å a voxel; --voxel-size 9.8"),
        ),
        (("--tomogram", "silent.mrc", "--voxel-size", "13.5", "--tomogram-name", "TS_01"), ()),
    ],
)
def test_pick_tells_another_name_and_another_voxel_size(
    options: tuple[str, ...],
    told: tuple[str, ...],
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, voxel_size in (("t", 10.0), ("there/t", 10.0), ("other", 10.0), ("silent", None)):
        write_volume(tmp_path / f"{name}.mrc", np.zeros((8, 9, 10), dtype=np.int8), voxel_size)
    picks = pd.DataFrame({"X": [1.0], "Y": [2.0], "Z": [3.0], "size": [9], "metric_best": [0.9]})
    picks = picks.assign(predicted_class=0, width=4, height=4, depth=4)
    picks.attrs.update(references=["a.mrc"], filepath=str(tmp_path / "t.mrc"))
    write_picks(tmp_path / "located.tloc", picks)
    outcome = run("pick_main", "-l", "located.tloc", "-o", "p", "--formats", "relion3", "relion5",
                  "--output-voxel-size", "5", "--tomogram-size", "20", "18", "16", *options)  # fmt: skip
    assert outcome.code == 0, outcome.err
    notes = outcome.err.splitlines()
    assert len(notes) == len(told)
    assert all(note.startswith("note: ") and words in note for note, words in zip(notes, told, strict=True))
    scale = float(options[options.index("--voxel-size") + 1]) / 5 if "--voxel-size" in options else 2
    np.testing.assert_allclose(read_star(tmp_path / "p" / "a_relion3.star"), [[scale, 2 * scale, 3 * scale]])
