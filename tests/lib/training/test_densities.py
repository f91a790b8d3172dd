"""Densities as anchors: how they are read, padded and drawn, and which classes they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.training.densities import Densities, centred_in_window
from tomotwin_lib.training.roles import assign_roles
from tomotwin_lib.training.settings import TrainSettings


def put(folder: Path, *names: str, edge: int = 5) -> Path:
    """Volumes of noise, each its own."""
    for number, name in enumerate(names):
        data = np.random.default_rng(number).normal(size=(edge,) * 3).astype(np.float32)
        write_volume(folder / f"{name}.mrc", data, 10.0)
    return folder


@pytest.mark.parametrize(("edge", "centre"), [(4, 2), (5, 2), (36, 18), (37, 18)])
def test_a_density_lies_in_the_middle_of_zeros(tmp_path: Path, edge: int, centre: int) -> None:
    data = np.random.default_rng(0).uniform(1, 2, (edge,) * 3).astype(np.float32)
    data[centre, centre, centre] = 7
    write_volume(tmp_path / "1abc.mrc", data, 10.0)
    window = centred_in_window(tmp_path / "1abc.mrc", 37)
    assert window.shape == (37, 37, 37)
    assert window[18, 18, 18] == 7
    assert np.count_nonzero(window) == edge**3
    assert window.sum(dtype=np.float64) == pytest.approx(data.sum(dtype=np.float64))


@pytest.mark.parametrize("shape", [(38, 38, 38), (5, 5, 6)])
def test_a_density_that_fits_no_window_is_refused(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    write_volume(tmp_path / "1abc.mrc", np.random.default_rng(0).normal(size=shape), 10.0)
    with pytest.raises(InputError, match=rf"1abc\.mrc.*{'×'.join(map(str, shape))}.*at most 37"):
        centred_in_window(tmp_path / "1abc.mrc", 37)


def test_one_density_of_each_class_in_a_batch_is_drawn(tmp_path: Path) -> None:
    put(tmp_path, "a_1abc", "b_1abc", "c_1abc", "2xyz", "9zzz")
    densities = Densities(tmp_path, 7, ["0non", "1abc", "2xyz", "3oth"])
    assert densities.names == ["2xyz.mrc", "a_1abc.mrc", "b_1abc.mrc", "c_1abc.mrc"]
    assert densities.labels.tolist() == [2, 1, 1, 1]
    assert densities.volumes.shape == (4, 1, 7, 7, 7)
    torch.testing.assert_close(densities.volumes.mean(dim=(1, 2, 3, 4)), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(densities.volumes.std(dim=(1, 2, 3, 4), correction=0), torch.ones(4))

    generator, seen = torch.Generator().manual_seed(0), set()
    for _ in range(30):
        volumes, labels = densities.draw(torch.tensor([2, 0, 1, 2, 0, 1]), generator)
        assert labels.tolist() == [1, 2]
        assert torch.equal(volumes[1], densities.volumes[0])
        (match,) = [n for n in (1, 2, 3) if torch.equal(volumes[0], densities.volumes[n])]
        seen.add(match)
    assert seen == {1, 2, 3}
    assert len(densities.draw(torch.tensor([0, 3]), generator)[0]) == 0


def roles(root: Path, given: dict[str, list[str]], **settings: Any) -> Any:
    """Roles of the folders train, valid and (if given) densities with files of these names."""
    folders = {name: put(root / name, *names) for name, names in given.items()}
    return assign_roles(
        TrainSettings(**settings), folders["train"], folders["valid"], folders.get("densities")
    )


def test_without_densities_all_classes_are_anchors(tmp_path: Path) -> None:
    found = roles(tmp_path, {"train": ["2xyz_0", "1abc_0", "1abc_1"], "valid": ["1abc_0"]})
    assert found.classes == found.anchors == ("1abc", "2xyz")
    assert found.notes() == []


def test_classes_without_a_density_are_negatives_and_said_so(tmp_path: Path) -> None:
    found = roles(
        tmp_path,
        {
            "train": ["1abc_0", "2xyz_0", "3neg_0", "4non_0"],
            "valid": ["1abc_0"],
            "densities": ["id1ABC", "2xyz", "3neg", "9zzz"],
        },
        only_negative_labels=("3NEG",),
    )
    assert found.classes == ("1abc", "2xyz", "3neg", "4non")
    assert found.anchors == ("1abc", "2xyz")
    without_density, without_subvolumes = found.notes()
    assert "4non" in without_density and "negatives only" in without_density
    assert "9zzz" in without_subvolumes and "not used" in without_subvolumes


@pytest.mark.parametrize(
    ("given", "settings", "named"),
    [
        ({"train": ["1abc_0", "1abc_1"], "valid": ["1abc_0"]}, {}, "all subvolumes are 1abc"),
        ({"valid": ["3oth_0"]}, {}, "no training subvolumes of 3oth"),
        ({"train": ["volume"]}, {}, "volume.mrc"),
        ({}, {"only_negative_labels": ("9zzz", "1abc")}, "only_negative_labels.*no subvolumes of 9zzz in"),
        ({}, {"only_negative_labels": ("1abc", "2xyz")}, "all its classes are negatives only"),
        ({"valid": ["2xyz_0"]}, {"only_negative_labels": ("2xyz",)}, "valid: all its classes are negatives"),
        ({"densities": ["1abc", "9zzz"]}, {}, "densities show 1abc, 9zzz.*1abc, 2xyz: 1 in common"),
        ({"densities": ["9zzz"]}, {}, "none in common"),
        ({}, {"num_classes": 1}, "num_classes: it is 1, .*holds 2 classes"),
    ],
)
def test_folders_that_cannot_be_trained_on_are_refused(
    tmp_path: Path, given: dict[str, list[str]], settings: dict[str, Any], named: str
) -> None:
    good = {"train": ["1abc_0", "2xyz_0"], "valid": ["1abc_0", "2xyz_0"]}
    with pytest.raises(InputError, match=named):
        roles(tmp_path, good | given, **settings)
