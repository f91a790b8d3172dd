"""Embedding of reference files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tomotwin_lib.embedding.subvolumes import embed_subvolumes
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.networks.checkpoint import LoadedNetwork


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    random = np.random.default_rng(0)
    paths = [tmp_path / f"reference_{i}.mrc" for i in (2, 0, 1)]
    for i, path in enumerate(paths):
        write_volume(path, random.normal(10 * i, 1 + i, size=(5, 5, 5)).astype(np.float32), 10.0)
    return paths


def values(path: Path) -> np.ndarray:
    return np.frombuffer(path.read_bytes()[1024:], dtype="<f4").reshape(5, 5, 5)


def test_each_file_is_standardised_by_its_own_statistics_and_not_inverted(
    loaded: LoadedNetwork, files: list[Path]
) -> None:
    embedding = embed_subvolumes(loaded, files, progress=False)
    assert embedding.paths == [str(path) for path in files]
    assert embedding.names == ["reference_2.mrc", "reference_0.mrc", "reference_1.mrc"]
    for path, vector in zip(files, embedding.vectors, strict=True):
        window = values(path)
        window = (window - window.mean()) / window.std()
        with torch.inference_mode():
            expected = loaded.network(torch.from_numpy(window)[None, None])[0]
        np.testing.assert_allclose(vector, expected, atol=1e-5)
    assert embedding.attributes["modelmd5"] == loaded.md5
    assert embedding.attributes["tomotwin_config"] == loaded.configuration


def test_batch_size_changes_nothing(loaded: LoadedNetwork, files: list[Path]) -> None:
    np.testing.assert_allclose(
        embed_subvolumes(loaded, files, batch_size=1, progress=False).vectors,
        embed_subvolumes(loaded, files, batch_size=2, progress=False).vectors,
        atol=1e-6,
    )


def test_reference_of_another_size_is_refused_with_both_sizes(
    loaded: LoadedNetwork, files: list[Path], tmp_path: Path
) -> None:
    wrong = tmp_path / "large.mrc"
    write_volume(wrong, np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32), 10.0)
    with pytest.raises(InputError, match=r"large.mrc: .*6.7.8.*5"):
        embed_subvolumes(loaded, [*files, wrong], progress=False)


def test_constant_reference_is_refused(loaded: LoadedNetwork, files: list[Path], tmp_path: Path) -> None:
    flat = tmp_path / "flat.mrc"
    write_volume(flat, np.ones((5, 5, 5), dtype=np.float32), 10.0)
    with pytest.raises(InputError, match=r"flat.mrc"):
        embed_subvolumes(loaded, [*files, flat], progress=False)


def test_no_file_and_no_batch_are_refused(loaded: LoadedNetwork, files: list[Path]) -> None:
    with pytest.raises(InputError, match="no subvolume"):
        embed_subvolumes(loaded, [], progress=False)
    with pytest.raises(InputError, match="--batchsize"):
        embed_subvolumes(loaded, files, batch_size=0, progress=False)
