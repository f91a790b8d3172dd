"""What the UI is given to show."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tomotwin_assets import metadata
from tomotwin_assets.resources import DataFolder


def test_pictures_are_inline_and_capped() -> None:
    # Noise is what compresses worst: at full resolution this is well above the cap.
    figure = Figure(figsize=(5, 5))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(np.random.default_rng(0).random((750, 750, 3)), interpolation="nearest")
    text = metadata.picture(figure).value
    assert text is not None
    head, _, rest = text.partition("base64,")
    assert head == "![picture](data:image/png;"
    content = base64.b64decode(rest.rstrip(")"))
    assert content.startswith(b"\x89PNG")
    assert 10_000 < len(content) <= metadata.PICTURE_BYTES
    assert len(text) < 500_000


def noise(edge: float = 5) -> Figure:
    """What compresses worst: a picture of noise."""
    figure = Figure(figsize=(edge, edge))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(np.random.default_rng(0).random((750, 750, 3)), interpolation="nearest")
    return figure


def test_pictures_of_one_event_share_a_megabyte_and_large_ones_become_files(tmp_path: Path) -> None:
    folder = DataFolder(root=str(tmp_path))
    product = ("located_picks", "net", "one")
    small = Figure(figsize=(1, 1))
    told = metadata.pictures(folder, product, one=noise(), two=noise(), three=noise(), small=small)
    assert list(told) == ["one", "one_file", "two", "two_file", "three", "three_file", "small"]
    inline = [len(told[name].value) for name in ("one", "two", "three", "small")]
    assert sum(inline) <= metadata.INLINE_BYTES
    assert all(size < 500_000 for size in inline)
    path = tmp_path / "products" / "pictures" / "located_picks" / "net" / "one" / "one.png"
    assert told["one_file"].value == str(path)
    assert path.stat().st_size > metadata.PICTURE_BYTES
    metadata.pictures(folder, product, one=small)
    assert not path.exists()  # it would show what was there before


def test_tables_take_numpy_numbers_and_gaps() -> None:
    frame = pd.DataFrame(
        {"name": ["a", "b"], "n": np.array([1, 2]), "x": [0.12345, np.nan], "ok": [True, False]}
    )
    value = metadata.table(frame)
    assert [record.data for record in value.records] == [
        {"name": "a", "n": 1, "x": 0.123, "ok": True},
        {"name": "b", "n": 2, "x": None, "ok": False},
    ]
    assert [column.type for column in value.schema.columns] == ["string", "int", "float", "bool"]


def test_long_tables_are_cut() -> None:
    value = metadata.table(pd.DataFrame({"n": range(10 * metadata.TABLE_ROWS)}))
    assert len(value.records) == metadata.TABLE_ROWS


def test_a_shape_is_written_the_way_people_read_it() -> None:
    assert metadata.shape_text((10, 20, 30), 13.6) == "30 × 20 × 10 voxels of 13.6 Å"
    assert metadata.shape_text((1, 2, 3)) == "3 × 2 × 1 voxels"
