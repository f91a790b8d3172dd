"""Half precision is used where it is right, and only there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tomotwin_lib.embedding import precision
from tomotwin_lib.embedding.inference import Form, Inference
from tomotwin_lib.embedding.precision import checked_precision, training_precision, wanted_precision
from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import Volume
from tomotwin_lib.networks.base import DenseNetwork
from tomotwin_lib.networks.checkpoint import LoadedNetwork
from tomotwin_lib.networks.fully_convolutional import FullyConvolutional
from tomotwin_lib.products import TomogramEmbedding

CPU = torch.device("cpu")
LOW = torch.bfloat16
TRUE = functional.normalize(torch.randn(10, 8, generator=torch.Generator().manual_seed(0)), dim=1)


def trial(of_low: Callable[[], torch.Tensor]) -> torch.dtype:
    return checked_precision(LOW, CPU, lambda dtype: TRUE if dtype == torch.float32 else of_low(), "Network")


def test_what_agrees_is_used(caplog: pytest.LogCaptureFixture) -> None:
    assert trial(lambda: TRUE.to(LOW).float()) == LOW
    assert not caplog.records


def one_wrong() -> torch.Tensor:
    vectors = TRUE.clone()
    vectors[3] = vectors[4]
    return vectors


def fails() -> torch.Tensor:
    raise RuntimeError("no algorithm\nfor this")


@pytest.mark.parametrize(
    ("of_low", "message"),
    [
        (one_wrong, "cosine"),
        (lambda: TRUE * torch.nan, "cosine"),
        (lambda: torch.zeros_like(TRUE), "cosine"),
        (fails, "no algorithm"),
    ],
)
def test_what_is_wrong_is_refused_with_a_warning(
    of_low: Callable[[], torch.Tensor], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert trial(of_low) == torch.float32
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "Network computes in float32 and not in bfloat16 on cpu" in record.getMessage()
    assert message in record.getMessage()


def test_float32_needs_no_trial() -> None:
    assert (
        checked_precision(torch.float32, CPU, lambda dtype: pytest.fail("tried"), "Network") == torch.float32
    )


def test_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted_precision("auto", torch.device("cuda:0")) == torch.float16
    assert wanted_precision("float32", torch.device("cuda:0")) == torch.float32
    for capability, expected in [("avx2", torch.float32), ("avx512_bf16", LOW), ("amx_bf16", LOW)]:
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda name=capability: {name: True}, raising=False
        )
        assert wanted_precision("auto", CPU) == expected
        with training_precision(CPU):
            assert torch.is_autocast_enabled("cpu") == (expected == LOW)
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
    with pytest.raises(InputError, match="'double'"):
        wanted_precision("double", CPU)  # type: ignore[arg-type]


def test_float16_is_trained_in_only_with_a_scaler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "low_precision", lambda device: torch.float16)
    for scaled, expected in [(True, torch.float16), (False, torch.float32)]:
        with training_precision(CPU, scaled=scaled):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
    monkeypatch.setattr(precision, "low_precision", lambda device: LOW)
    with training_precision(CPU, scaled=False):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == LOW


class WrongInHalf(DenseNetwork):
    """As cuDNN has been: right in float32, something else in half precision."""

    def __init__(self, network: FullyConvolutional) -> None:
        super().__init__()
        self.network = network

    def forward_dense(self, volume: torch.Tensor) -> torch.Tensor:
        vectors = self.network.forward_dense(volume)
        return vectors.roll(1, dims=1) if torch.is_autocast_enabled("cpu") else vectors


@pytest.mark.parametrize("method", ["dense", "windows"])
@pytest.mark.parametrize("wrong", [False, True])
def test_a_tomogram_is_embedded_in_the_precision_that_is_right(
    method: Literal["dense", "windows"],
    wrong: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    torch.manual_seed(1)
    network: DenseNetwork = FullyConvolutional(width=4, output_channels=8)
    nn.init.zeros_(network.head[-1].bias)  # type: ignore[attr-defined]
    network.requires_grad_(False).eval()
    volume = Volume(np.random.default_rng(0).normal(size=(8, 9, 10)), None, Path("t.mrc"))

    def embed(**options: Any) -> TomogramEmbedding:
        given = WrongInHalf(network) if wrong else network  # type: ignore[arg-type]
        loaded = LoadedNetwork(given, {}, Path("m.pth"), "")
        return embed_tomogram(loaded, volume, method=method, stride=4, progress=False, **options)

    expected = embed(precision="float32")
    monkeypatch.setattr(precision, "low_precision", lambda device: LOW)
    found = embed()
    assert expected.attributes["embedding_precision"] == "float32"
    assert found.attributes["embedding_precision"] == ("float32" if wrong else "bfloat16")
    assert bool(caplog.records) == wrong
    cosines = (found.vectors * expected.vectors).sum(axis=1)
    assert cosines.min() > 0.999
    assert np.array_equal(found.vectors, expected.vectors) == wrong


class Overflowing(DenseNetwork):
    """In half precision, bright voxels give what is no number; the trial, at the first sites, meets none."""

    def __init__(self, network: FullyConvolutional) -> None:
        super().__init__()
        self.network = network

    def forward_dense(self, volume: torch.Tensor) -> torch.Tensor:
        overflows = torch.is_autocast_enabled("cpu") and bool(volume.max() > 15)
        return self.network.forward_dense(volume) * (torch.nan if overflows else 1)


def test_what_overflows_later_is_computed_again_in_float32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(1)
    network = Overflowing(FullyConvolutional(width=4, output_channels=8)).requires_grad_(False).eval()
    data = np.random.default_rng(0).normal(size=(4, 4, 60))
    data[2, 2, 57] = -100  # dark, as proteins are
    volume = Volume(data, None, Path("t.mrc"))
    loaded = LoadedNetwork(network, {}, Path("m.pth"), "")
    monkeypatch.setattr(precision, "low_precision", lambda device: LOW)
    embedding = embed_tomogram(loaded, volume, progress=False)
    assert np.isfinite(embedding.vectors).all()
    assert embedding.attributes["embedding_precision"] == "float32"
    assert "overflows" in caplog.text


def test_without_a_compiler_the_plain_network_computes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def translate(module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        def run(volumes: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no compiler here\nand much more")

        return run

    monkeypatch.setattr(torch, "compile", translate)
    torch.manual_seed(0)
    network = nn.Conv3d(1, 4, 3)
    volumes = torch.randn(2, 1, 5, 5, 5)
    expected = Inference(network, CPU, Form())(volumes)
    compiled = Inference(network, CPU, Form(compiled=True))
    for _ in range(2):
        torch.testing.assert_close(compiled(volumes), expected)
    (record,) = caplog.records
    assert "no compiler here" in record.getMessage() and "much more" not in record.getMessage()


def test_the_network_itself_stays_as_it_is() -> None:
    network = nn.Sequential(nn.Conv3d(1, 16, 3), nn.Conv3d(16, 16, 3)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Inference(network, CPU, Form())(torch.randn(1, 1, 7, 7, 7))
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    assert type(network[1]) is nn.Conv3d
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.is_contiguous()
