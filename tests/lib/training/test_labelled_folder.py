"""Labelled tomograms are read as they were written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.training.labelled_folder import read_labelled_tomograms

SHAPE = (8, 10, 12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tomograms; the first with a mask, of a particle, a membrane and gold."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        data = rng.standard_normal(SHAPE).astype(np.float32)
        data[2, 3, 4] = -7  # dark
        write_volume(tmp_path / "tomograms" / f"{name}.mrc", data, 10.0)
    (tmp_path / "ground_truth").mkdir()
    (tmp_path / "ground_truth" / "a.txt").write_text("1ABC 4.0 3.0 2.0 0 0 0\nfiducial 9 8 7\n")
    (tmp_path / "ground_truth" / "b.txt").write_text("2xyz 11 9 7\n")
    mask = np.zeros(SHAPE, np.int16)
    mask[2, 3, 4], mask[0, 1, 2], mask[5, 6, 7] = 1, 2, 3
    write_volume(tmp_path / "ground_truth" / "a_mask.mrc", mask, 10.0)
    (tmp_path / "ground_truth" / "class_masks.json").write_text(
        json.dumps({"0": "background", "1": "1abc", "2": "membrane", "3": "gold"})
    )
    return tmp_path


def test_centres_labels_voxels_and_distractors(folder: Path) -> None:
    first, second = read_labelled_tomograms(folder, ["Fiducial"], progress=False)
    assert (first.name, second.name) == ("a", "b")
    assert first.labels == ["1abc"] and second.labels == ["2xyz"]
    assert first.centres.tolist() == [[2, 3, 4]] and second.centres.tolist() == [[7, 9, 11]]
    z, y, x = first.centres[0].astype(int)
    assert first.voxels.argmax() == np.ravel_multi_index((z, y, x), SHAPE)  # bright at the particle
    assert sorted(first.distractors.tolist()) == [[0, 1, 2], [5, 6, 7], [7, 8, 9]]
    assert second.distractors.shape == (0, 3)


def test_without_being_named_a_fiducial_is_a_class(folder: Path) -> None:
    first, _ = read_labelled_tomograms(folder, progress=False)
    assert first.labels == ["1abc", "fiducial"]
    assert sorted(first.distractors.tolist()) == [[0, 1, 2], [5, 6, 7]]


def test_a_negative_that_is_nowhere_is_refused_with_those_that_there_are(folder: Path) -> None:
    with pytest.raises(InputError, match="has the class vesicle; there are 1abc, 2xyz, fiducial"):
        read_labelled_tomograms(folder, ["fiducial", "vesicle"], progress=False)


def test_what_is_wrong_is_named(folder: Path) -> None:
    (folder / "ground_truth" / "b.txt").write_text("2xyz 12 9 7\n")
    with pytest.raises(InputError, match="X 12, Y 9, Z 7 lies outside"):
        read_labelled_tomograms(folder, progress=False)
    (folder / "ground_truth" / "b.txt").unlink()
    with pytest.raises(InputError, match="the ground truth of b"):
        read_labelled_tomograms(folder, progress=False)
    (folder / "tomograms" / "b.mrc").unlink()
    for content in ("[1]", "{", '{"x": "gold"}', '{"1": 2}'):
        (folder / "ground_truth" / "class_masks.json").write_text(content)
        with pytest.raises(InputError, match="names of whole numbers"):
            read_labelled_tomograms(folder, progress=False)
    (folder / "ground_truth" / "class_masks.json").unlink()
    with pytest.raises(InputError, match=r"class_masks\.json: it cannot be read"):
        read_labelled_tomograms(folder, progress=False)
    write_volume(folder / "ground_truth" / "a_mask.mrc", np.zeros((8, 10, 11), np.int16), 10.0)
    with pytest.raises(InputError, match="its shape is"):
        read_labelled_tomograms(folder, progress=False)
    with pytest.raises(InputError, match="no folder tomograms"):
        read_labelled_tomograms(folder / "ground_truth", progress=False)
