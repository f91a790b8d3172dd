"""Picks without the vectors on disk: the same graph, the same picks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tiny_platform import SETTINGS, Platform

from tomotwin_lib.formats.frames import read_frame, read_picks, read_similarity_map


def test_the_picks_are_those_of_stored_vectors(finished: Platform, platform: Platform) -> None:
    settings = platform.data / "tomotwin.toml"
    settings.write_text(SETTINGS + "[embedding]\nstore = false\n", encoding="utf-8")
    assert platform.call("run", "--all") == 0

    for name in ("one", "two"):
        maps, picks = (
            [read(platform.folder.product(asset, "net", name)) for platform in (finished, platform)]
            for asset, read in (("similarity_map", read_similarity_map), ("located_picks", read_picks))
        )
        # Sums over blocks of other sizes may round the last of 16 bits otherwise.
        assert np.abs(maps[0].values - maps[1].values).max() < 1e-3
        assert len(picks[0]) > 0
        pd.testing.assert_frame_equal(*picks, atol=1e-3)
    record = read_frame(platform.folder.product("tomogram_embeddings", "net", "one"))
    assert len(record) == 0 and list(record.columns) == ["Z", "Y", "X"]

    # Nothing left to do, and refinement, which needs the vectors, is refused with the remedy.
    assert platform.call("run", "--all") == 0


def test_refinement_needs_stored_vectors(platform: Platform, capfd: pytest.CaptureFixture[str]) -> None:
    settings = platform.data / "tomotwin.toml"
    settings.write_text(
        SETTINGS + "[embedding]\nstore = false\n[similarity]\nrefine = true\n", encoding="utf-8"
    )
    assert platform.call("run", "--all") != 0
    told = " ".join("".join(capfd.readouterr()).split())
    assert "store = true" in told
    assert not platform.folder.product("similarity_map", "net", "one").exists()
