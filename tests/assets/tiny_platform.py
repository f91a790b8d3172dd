"""A tiny data folder, and the platform on it, for the tests in this folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
import torch

from tomotwin_assets import command
from tomotwin_assets.instance import HOME_VARIABLE, open_instance
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.settings import DATA_VARIABLE, DEVICE_VARIABLE
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.networks.checkpoint import save_checkpoint
from tomotwin_lib.networks.registry import build_network

CONFIGURATION = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 2},
    "train_config": {"batchsize": 4, "samples_per_class": 2},
    "distance": "COSINE",
    "window_size": 37,
}
# An untrained network finds nothing with the usual ones.
SETTINGS = "[picking]\nlowest_similarity = -1.0\ntolerance = 0.01\n"
TRUTH = "1abc 10 12 11 0 0 0\n1abc 31 25 12 0 0 0\n2xyz 30 30 12 0 0 0\n"


def write_tomogram(
    folder: Path, name: str, seed: int = 0, shape: tuple[int, int, int] = (24, 40, 44)
) -> Path:
    """A small tomogram of noise; shape zyx."""
    path = folder / "tomograms" / f"{name}.mrc"
    data = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    write_volume(path, data, 10.0)
    return path


def write_checkpoint(folder: Path, name: str, seed: int = 0) -> Path:
    """A network with random weights, whose normalisation knows what noise looks like.

    Without that, everything has nearly the same embedding, and there is nothing to pick.
    """
    torch.manual_seed(seed)
    network = build_network(CONFIGURATION).train()
    with torch.no_grad():
        for _ in range(15):
            network(torch.randn(8, 1, 37, 37, 37))
    path = folder / "models" / f"{name}.pth"
    save_checkpoint(path, network, CONFIGURATION, epoch=0, loss=1.0, best_loss=1.0, best_f1=0.0)
    return path


def write_data_folder(folder: Path) -> Path:
    """Two tomograms, one of them with ground truth, one imported network, two references."""
    write_tomogram(folder, "one", seed=1)
    write_tomogram(folder, "two", seed=2)
    write_checkpoint(folder, "net")
    rng = np.random.default_rng(3)
    for name in ("1abc", "2xyz"):
        write_volume(folder / "references" / f"{name}.mrc", rng.normal(size=(37, 37, 37)), 10.0)
    truth = folder / "ground_truth"
    truth.mkdir()
    (truth / "one.txt").write_text(TRUTH, encoding="utf-8")
    (truth / "boxsizes.json").write_text('{"1abc": 30, "2xyz": 37}', encoding="utf-8")
    (folder / "tomotwin.toml").write_text(SETTINGS, encoding="utf-8")
    return folder


@dataclass
class Platform:
    """A data folder, used by the shell command from a folder of its own."""

    data: Path

    @property
    def folder(self) -> DataFolder:
        return DataFolder(root=str(self.data))

    def add_tomogram(self, name: str, seed: int = 0) -> Path:
        return write_tomogram(self.data, name, seed)

    def add_checkpoint(self, name: str, seed: int = 0) -> Path:
        return write_checkpoint(self.data, name, seed)

    def call(self, *arguments: str) -> int:
        """Call ``tomotwin-platform`` with the arguments; its exit code."""
        return command.main(list(arguments))

    def event(self, asset: str, partition: str | None = None) -> dg.AssetMaterialization | None:
        """The latest materialisation of an asset."""
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset), asset_partitions=None if partition is None else [partition]
        )
        with open_instance(self.data) as instance:
            records = instance.fetch_materializations(wanted, limit=1).records
        return records[0].asset_materialization if records else None

    def metadata(self, asset: str, partition: str | None = None) -> dict[str, object]:
        """What the latest materialisation of an asset tells, as plain values."""
        event = self.event(asset, partition)
        assert event is not None, f"{asset} of {partition} has not been made"
        return {name: value.value for name, value in event.metadata.items()}


def make_platform(root: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A fresh data folder, and an environment that points at it and nothing else."""
    data = root / "data"
    data.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    monkeypatch.setenv(DATA_VARIABLE, str(write_data_folder(data)))
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    return Platform(data)
