"""Data sets, batches and validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.training import subvolumes as subvolumes_module
from tomotwin_lib.training.batches import ClassBalancedBatches
from tomotwin_lib.training.subvolumes import LabelledSubvolumes
from tomotwin_lib.training.validation import classification_f1, density_f1


def fill(folder: Path, names: list[str], edge: int = 5) -> Path:
    for number, name in enumerate(names):
        data = np.random.default_rng(number).normal(number, 1 + number, (edge,) * 3).astype(np.float32)
        write_volume(folder / name, data, 10.0)
    return folder


def test_labels_come_from_the_names_and_volumes_are_standardised(tmp_path: Path) -> None:
    data = LabelledSubvolumes(
        fill(tmp_path, ["a_1bxn_0.mrc", "a_5mrc_0.mrc", "b_1bxn_1.mrc"]), 5, progress=False
    )
    assert data.classes == ["1bxn", "5mrc"]
    assert data.counts() == {"1bxn": 2, "5mrc": 1}
    for index in range(3):
        volume, label = data[index]
        assert label == [0, 1, 0][index]
        assert volume.shape == (1, 5, 5, 5)
        assert float(volume.mean()) == pytest.approx(0, abs=1e-5)
        assert float(volume.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_a_large_set_is_read_batch_by_batch_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, ["a_1bxn_0.mrc", "a_5mrc_0.mrc"])
    kept = LabelledSubvolumes(tmp_path, 5, progress=False)
    monkeypatch.setattr(subvolumes_module, "CACHE_BYTES", 0)
    read = LabelledSubvolumes(tmp_path, 5, progress=False)
    for index in range(2):
        assert bool((kept[index][0] == read[index][0]).all())


def test_unusable_sets_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "strangers", ["a_1bxn_0.mrc"])
    with pytest.raises(InputError, match="1bxn"):
        LabelledSubvolumes(tmp_path / "strangers", 5, ["5mrc"], progress=False)
    fill(tmp_path / "nameless", ["volume.mrc"])
    with pytest.raises(InputError, match=r"volume\.mrc"):
        LabelledSubvolumes(tmp_path / "nameless", 5, progress=False)
    with pytest.raises(InputError, match="37"):
        LabelledSubvolumes(tmp_path / "strangers", 37, progress=False)


def test_batches_hold_equally_many_of_each_class_drawn() -> None:
    labels = np.array([0] * 30 + [1] * 7 + [2] * 2 + [3] * 9)
    batches = list(ClassBalancedBatches(labels, batch_size=13, per_class=4, seed=1))
    assert len(batches) == len(ClassBalancedBatches(labels, 13, 4, 1)) == 4  # 48 samples, 12 a batch
    for batch in batches:
        _, counts = np.unique(labels[batch], return_counts=True)
        assert counts.tolist() == [4, 4, 4]
        for label in (0, 1, 3):  # only a class that is too small repeats a sample
            chosen = [index for index in batch if labels[index] == label]
            assert len(set(chosen)) == len(chosen)


def test_batches_follow_their_seed() -> None:
    labels = np.arange(40) % 4
    first, second, other = (list(ClassBalancedBatches(labels, 8, 2, seed)) for seed in (1, 1, 2))
    assert first == second != other


def test_each_batch_has_a_class_that_can_be_an_anchor() -> None:
    labels = np.arange(60) % 10
    free = list(ClassBalancedBatches(labels, 8, 4, 5))
    assert list(ClassBalancedBatches(labels, 8, 4, 5, anchors=np.arange(10))) == free
    batches = list(ClassBalancedBatches(labels, 8, 4, 5, anchors=np.array([3, 7])))
    assert len(batches) == len(free)
    drawn = [set(labels[batch].tolist()) for batch in batches]
    assert all(classes & {3, 7} for classes in drawn)
    assert set.union(*drawn) - {3, 7}
    assert not all(set(labels[batch].tolist()) & {3, 7} for batch in free)


def test_subvolumes_are_told_apart_by_their_densities() -> None:
    # Class 1 has two densities, whose mean points to (1, 1); class 3 has none and is left out.
    densities = np.array([[1, 0], [0, 1], [1, 0], [0, -1]], dtype=np.float32)
    embeddings = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [1, 0.1], [0, 1]], dtype=np.float32)
    labels = np.array([0, 1, 1, 1, 3])
    # The last of class 1 is taken for class 0: F1 is 2/3 for class 0 and 4/5 for class 1.
    assert density_f1(embeddings, labels, densities, np.array([0, 1, 1, 2])) == pytest.approx(
        (2 / 3 + 4 / 5) / 2
    )


def test_classification_leaves_a_sample_out_of_its_own_mean() -> None:
    # Alone in its class, a sample has no mean to be near to: with its own it would count as found.
    embeddings = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0.8, 0.6]], dtype=np.float32)
    labels = np.array([0, 0, 1, 1, 2])
    # Classes 0 and 1: three of class 0's name (one of them wrong): F1 = 4/5, and 1; class 2: 0.
    assert classification_f1(embeddings, labels) == pytest.approx((0.8 + 1 + 0) / 3)
    assert classification_f1(embeddings[:4], labels[:4]) == 1.0
