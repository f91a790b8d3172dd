"""The README's section on a network of one's own, run as it stands."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from tomotwin_lib.embedding.tomograms import embed_tomogram
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import read_volume, write_volume
from tomotwin_lib.networks import registry
from tomotwin_lib.networks.checkpoint import load_network
from tomotwin_lib.networks.configuration import check_configuration, read_configuration
from tomotwin_lib.training.trainer import train

README = Path(__file__).parents[3] / "README.md"


@pytest.fixture
def section() -> dict[str, list[str]]:
    """The code blocks of the section by language."""
    (text,) = re.findall(
        r"### A network of your own\n(.*?)\n## ", README.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    blocks: dict[str, list[str]] = {}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", text, flags=re.DOTALL):
        blocks.setdefault(language, []).append(block)
    return blocks


@pytest.fixture
def configuration(
    section: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The section followed: its file imported, its line in the registry, its configuration read."""
    code, line = section["python"]
    assert len([row for row in code.splitlines() if row.strip()]) <= 12
    module = _import(tmp_path, code)
    entry = eval("{" + line + "}", vars(module))
    for name, network in entry.items():
        monkeypatch.setitem(registry.NETWORKS, name, network)
    (tmp_path / "two_layers.json").write_text(section["json"][0])
    return read_configuration(tmp_path / "two_layers.json")


def _import(folder: Path, code: str) -> ModuleType:
    (folder / "two_layers.py").write_text(code)
    spec = importlib.util.spec_from_file_location("two_layers", folder / "two_layers.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_trains_and_embeds_densely_as_window_by_window(
    configuration: dict[str, Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "valid"):
        for name in ("1abc_0", "1abc_1", "2xyz_0", "2xyz_1"):
            write_volume(tmp_path / part / f"{name}.mrc", rng.normal(size=(37, 37, 37)), 10.0)
    result = train(
        configuration,
        tmp_path / "train",
        tmp_path / "valid",
        tmp_path / "out",
        epochs=1,
        device="cpu",
        progress=False,
    )
    loaded = load_network(result.final, "cpu")
    write_volume(tmp_path / "t.mrc", rng.normal(size=(11, 14, 9)), 10.0)
    volume = read_volume(tmp_path / "t.mrc")
    dense, windows = (
        embed_tomogram(loaded, volume, stride=3, method=method, device="cpu", progress=False)
        for method in ("dense", "windows")
    )
    assert dense.vectors.shape == (4 * 5 * 3, 32)
    np.testing.assert_allclose(dense.vectors, windows.vectors, atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(dense.vectors).norm(dim=1), torch.ones(60))


@pytest.mark.parametrize(("network_config", "named"), [({"wdith": 8}, "wdith"), ({}, "width")])
def test_its_configuration_is_checked_against_its_arguments(
    configuration: dict[str, Any], network_config: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        check_configuration({**configuration, "network_config": network_config}, "two_layers.json")
