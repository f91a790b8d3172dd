"""Which devices share a tomogram."""

from __future__ import annotations

import pytest
import torch

from tomotwin_lib.devices import resolve_devices
from tomotwin_lib.errors import InputError

CPU, FIRST, SECOND = (torch.device(name) for name in ("cpu", "cuda:0", "cuda:1"))


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("names", "home", "expected"),
    [
        ("auto", CPU, (CPU,)),
        ("auto", FIRST, (FIRST, SECOND)),
        ("cuda", CPU, (FIRST, SECOND)),
        ("cuda:1", FIRST, (SECOND,)),
        ("cpu", FIRST, (CPU,)),
        (["cuda:1", CPU, "cpu"], FIRST, (SECOND, CPU, CPU)),
        (["cuda:0"], FIRST, (FIRST,)),
    ],
)
def test_all_gpus_share_unless_one_is_named(
    names: object, home: torch.device, expected: tuple[torch.device, ...], two_gpus: None
) -> None:
    assert resolve_devices(names, home) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("names", ["cuda:2", ["cpu", "abacus"], []])
def test_what_is_not_there_is_refused(names: str | list[str], two_gpus: None) -> None:
    with pytest.raises(InputError, match="--device"):
        resolve_devices(names, CPU)
