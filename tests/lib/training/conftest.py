"""Subvolumes to train on, and densities of what they show. Nobody writes into these folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tomotwin_lib.formats.volumes import write_volume


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two kinds that differ plainly: a bar along z and a slab across it, in little noise; and without any."""
    root = tmp_path_factory.mktemp("subvolumes")
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("valid", 3)):
        for kind, where in (("1bar", np.s_[8:29, 16:21, 16:21]), ("1slb", np.s_[16:21, 8:29, 8:29])):
            for number in range(count):
                volume = generator.normal(0, 0.5, (37, 37, 37)).astype(np.float32)
                volume[where] += 2
                write_volume(root / part / f"sim_{kind}_{number}.mrc", volume, 10.0)
            if part == "train":
                density = np.zeros((29, 29, 29), dtype=np.float32)
                density[tuple(slice(axis.start - 4, axis.stop - 4) for axis in where)] = 1
                write_volume(root / "densities" / f"{kind}.mrc", density, 10.0)
    return {"volumes": root / "train", "validation": root / "valid"}


@pytest.fixture
def densities(folders: dict[str, Path]) -> Path:
    """The folder of the densities."""
    return folders["volumes"].parent / "densities"
