"""Coordinates for other programs: what the settings ask for, and in which voxels."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from tiny_platform import Platform

from tomotwin_assets.assets.picking import picked_coordinates
from tomotwin_assets.configs import CoordinatesConfig
from tomotwin_assets.partitions import pair_key
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.star import read_star


@pytest.fixture
def picks() -> pd.DataFrame:
    columns = {"X": [10.0], "Y": [20.0], "Z": [5.0], "size": [9], "metric_best": [0.9]}
    frame = pd.DataFrame({**columns, "predicted_class": 0, "width": 7, "height": 7, "depth": 7})
    frame.attrs["references"] = ["1abc.mrc"]
    return frame


def written(platform: Platform, picks: pd.DataFrame, **settings: object) -> list[Path]:
    """The files that the asset leaves with these settings."""
    with dg.build_asset_context(partition_key=pair_key("net", "one")) as context:
        picked_coordinates(
            context=context,
            config=CoordinatesConfig(**settings),  # type: ignore[arg-type]
            located_picks=picks,
            data_folder=platform.folder,
        )
    return sorted(platform.folder.product("picked_coordinates", "net", "one").iterdir())


@pytest.mark.parametrize("form", ["relion4", "relion5"])
def test_relion_wants_to_know_the_voxels_of_the_tilt_series(
    form: str, platform: Platform, picks: pd.DataFrame
) -> None:
    before = written(platform, picks)
    assert [path.name for path in before] == ["1abc.coords", "1abc_relion3.star"]
    with pytest.raises(InputError) as caught:
        written(platform, picks, formats=["cbox", form])
    assert form in caught.value.problem and "10 Å" in caught.value.problem
    assert "[coordinates] output_voxel_size_in_angstrom" in caught.value.remedy
    assert sorted(before[0].parent.iterdir()) == before
    # Voxels of 5 Å are half as large; those of the tomogram itself will do if they are asked for.
    for size, factor in ((5.0, 2), (10.0, 1)):
        (path,) = written(platform, picks, formats=[form], output_voxel_size_in_angstrom=size)
        np.testing.assert_allclose(read_star(path), [[10 * factor, 20 * factor, 5 * factor]], atol=1e-3)
