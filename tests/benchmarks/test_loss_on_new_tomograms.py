"""The loss of networks on new windows, where it is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmarks.loss_on_new_tomograms import losses, table
from tomotwin_lib.networks.base import EmbeddingNetwork
from tomotwin_lib.training.labelled_tomograms import LabelledTomogram

SHAPE = (50, 90, 90)
CENTRES = np.array([(25, y, x) for y in (20, 40, 60) for x in (20, 40, 60)], np.float32)
LABELS = ["bright"] * 5 + ["brighter"] * 4


class Constant(EmbeddingNetwork):
    """Sees no difference."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0]]).expand(len(windows), 2)


class ByBrightness(EmbeddingNetwork):
    """Knows the particles by their central voxel, where windows are not standardised by themselves."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        angle = windows[:, 0, 18, 18, 18] * (2 * math.pi / 3)
        return torch.stack([angle.cos(), angle.sin()], dim=1)


@pytest.fixture
def tomogram() -> LabelledTomogram:
    voxels = np.zeros(SHAPE, np.int8)
    for (z, y, x), label in zip(CENTRES.astype(int), LABELS, strict=True):
        voxels[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] = 100 if label == "brighter" else 50
    voxels += np.random.default_rng(0).integers(-2, 3, SHAPE).astype(np.int8)
    return LabelledTomogram("t", torch.from_numpy(voxels), CENTRES, LABELS, np.zeros((0, 3), np.int32))


def test_who_sees_no_difference_has_the_loss_of_guessing(tomogram: LabelledTomogram) -> None:
    networks = {"constant": Constant().eval(), "seeing": ByBrightness().eval(), "again": Constant().eval()}
    found = losses(networks, [tomogram], batches=4, temperature=0.2)
    # Two classes of two windows, and 8 off centre, 4 on distractors, 12 of background: three and 24 others.
    assert found["constant"].to_numpy() == pytest.approx(math.log(3 + 24), rel=1e-5)
    assert (found["seeing"] < found["constant"]).all()
    assert found["again"].equals(found["constant"])
    lines = table(found).splitlines()
    assert lines[2] == "| constant | 3.296 ± 0.000 | +0.000 ± 0.000 |" and "| -" in lines[3]
