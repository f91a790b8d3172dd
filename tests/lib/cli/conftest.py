"""A laboratory in miniature: one tomogram, two references cut from it, an untrained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from tomotwin_lib.cli import main as entry
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.networks.checkpoint import save_checkpoint
from tomotwin_lib.networks.registry import build_network

CONFIGURATION = {
    "identifier": "FullyConvolutional",
    "network_config": {"width": 2, "output_channels": 8},
    "train_config": {},
    "distance": "COSINE",
}
# Centres (z, y, x) of the references in the tomogram, on a grid of stride 4.
CENTRES = {"tomo_1abc_0.mrc": (20, 20, 20), "tomo_2xyz_0.mrc": (20, 24, 36)}
SHAPE = (42, 46, 58)


@dataclass(frozen=True)
class Lab:
    """Paths of the miniature."""

    folder: Path
    tomogram: Path
    references: Path
    model: Path
    positions: Path
    box_sizes: Path
    centres: dict[str, tuple[int, int, int]]
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code and both outputs."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The files that all tests of the commands read; nobody writes into them."""
    folder = tmp_path_factory.mktemp("lab")
    rng = np.random.default_rng(1)
    tomogram = rng.normal(size=SHAPE).astype(np.float32)
    (folder / "refs").mkdir()
    # Noise is as good as a particle here: what is cut from it must be found where it was.
    for name, (z, y, x) in CENTRES.items():
        window = -tomogram[z - 18 : z + 19, y - 18 : y + 19, x - 18 : x + 19]
        write_volume(folder / "refs" / name, window, 10.0)
    write_volume(folder / "tomo.mrc", tomogram, 10.0)
    make_checkpoint(folder / "model.pth", seed=0)
    lines = [f"{name[5:9].upper()} {x} {y} {z} 0 0 0" for name, (z, y, x) in CENTRES.items()]
    (folder / "particle_positions.txt").write_text("\n".join(lines) + "\n")
    (folder / "boxsizes.json").write_text('{"1ABC": 17, "2XYZ": 17, "VESICLE": null}')
    return Lab(
        folder,
        folder / "tomo.mrc",
        folder / "refs",
        folder / "model.pth",
        folder / "particle_positions.txt",
        folder / "boxsizes.json",
        CENTRES,
        SHAPE,
    )


def make_checkpoint(path: Path, seed: int) -> Path:
    """An untrained network whose normalisations have seen noise, so that its embeddings differ."""
    torch.manual_seed(seed)
    network = build_network(CONFIGURATION)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = None  # plain averages over what follows
    with torch.no_grad():
        network.train()(torch.randn(8, 1, 37, 37, 37))
    save_checkpoint(path, network, CONFIGURATION, epoch=0, loss=1.0, best_loss=1.0, best_f1=0.0)
    return path


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """Another untrained network of the same kind."""
    return make_checkpoint(tmp_path / "other.pth", seed=1)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command as its entry point does: ``run("pick_main", "-l", …)``."""

    def call(name: str, *arguments: object) -> Outcome:
        code = getattr(entry, name)([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
