"""What the UI is given to show."""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tomotwin_assets import metadata


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
