"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# The tests run in several processes at once. If each of them also computed on all cores, they would wait for
# one another at every step: trainings take four times as long. Set before anything imports PyTorch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests bring networks of their own, which are small; those about the network that ships switch it on.
os.environ.setdefault("TOMOTWIN_SHIPPED_MODELS", "false")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of fixtures and data beside the checkout; tests that read it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no fixtures at {SHARED}")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def float32_everywhere() -> Iterator[None]:
    """No processor computes in bfloat16 unless a test wants it to: expected values are the same on all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cpu.get_capabilities", dict, raising=False)
        yield
