"""What the UI shows of a product: pictures, tables, files."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from tomotwin_assets.resources import DataFolder
from tomotwin_lib.embedding.estimate import Estimate
from tomotwin_lib.figures import drawn, encoded, png_bytes, shrunk
from tomotwin_lib.files import atomic_path

PICTURE_BYTES = 350_000
"""Largest PNG: base64 makes a third more of it, and every page that shows the event carries it."""

INLINE_BYTES = 1_000_000
"""Most characters of all pictures of one event together, which they share."""

TABLE_ROWS = 200
"""Longer tables are cut: they are for looking at, the file has them all."""


def picture(figure: Figure) -> dg.MarkdownMetadataValue:
    """A figure as an inline picture of at most ``PICTURE_BYTES``."""
    return _inline(png_bytes(figure, max_bytes=PICTURE_BYTES))


def picture_in(path: Path) -> dg.MarkdownMetadataValue:
    """A picture of a file as an inline one of at most ``PICTURE_BYTES``."""
    with Image.open(path) as image:
        return _inline(shrunk(image.convert("RGB"), PICTURE_BYTES))


def pictures(data_folder: DataFolder, product: tuple[str, ...], **figures: Figure) -> dict[str, Any]:
    """Figures as inline pictures that together keep to ``INLINE_BYTES``.

    Parameters
    ----------
    product : asset and partition, such as ``("located_picks", model, tomogram)``: pictures that do not fit
        inline go in full resolution to ``products/pictures/`` and on with these names.
    figures : by the names under which the UI shows them. A file's path gets the name with ``_file`` added.
    """
    folder = data_folder.path.joinpath("products", "pictures", *product)
    most = min(PICTURE_BYTES, int(0.74 * INLINE_BYTES / max(len(figures), 1)))
    told: dict[str, Any] = {}
    for name, figure in figures.items():
        image, file = drawn(figure), folder / f"{name}.png"
        full = encoded(image)
        if len(full) <= most:
            file.unlink(missing_ok=True)
            told[name] = _inline(full)
            continue
        with atomic_path(file) as temporary:
            temporary.write_bytes(full)
        data_folder.keep(file)
        told[name] = _inline(shrunk(image, most))
        told[f"{name}_file"] = dg.MetadataValue.path(file)
    return told


def table(frame: pd.DataFrame, digits: int = 3) -> dg.TableMetadataValue:
    """The first ``TABLE_ROWS`` rows of a frame, numbers rounded."""
    shown = frame.head(TABLE_ROWS).round(digits)
    records = [
        dg.TableRecord({str(name): _plain(value) for name, value in row.items()})
        for row in shown.to_dict("records")
    ]
    columns = [dg.TableColumn(str(name), _kind(shown[name])) for name in shown.columns]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def counts(numbers: dict[str, int], name: str = "class", count: str = "count") -> dg.TableMetadataValue:
    """A table of two columns, such as subvolumes by class."""
    return table(pd.DataFrame({name: list(numbers), count: list(numbers.values())}))


def box_sizes(sizes: int | dict[str, int]) -> dg.JsonMetadataValue:
    """Edges of the particles' boxes, by name or one for all."""
    return dg.MetadataValue.json(sizes if isinstance(sizes, dict) else {"all": sizes})


def shape_text(shape: tuple[int, ...], voxel_size_in_angstrom: float | None = None) -> str:
    """A volume's size as people write it: x × y × z voxels."""
    text = " × ".join(str(size) for size in reversed(shape)) + " voxels"
    return text if voxel_size_in_angstrom is None else f"{text} of {voxel_size_in_angstrom:g} Å"


def estimated(estimate: Estimate) -> dict[str, Any]:
    """What a tomogram's embedding was expected to take before it began."""
    return {
        "estimated_seconds": round(estimate.seconds, 1),
        "estimated_memory_in_gb": round(estimate.memory / 1e9, 2),
        "estimated_disk_in_mb": round(estimate.disk / 1e6, 1),
    }


def file_metadata(path: Path) -> dict[str, Any]:
    """Where a file lies and how large it is."""
    return {"path": dg.MetadataValue.path(path), "size_in_mb": path.stat().st_size / 1e6}


def _inline(png: bytes) -> dg.MarkdownMetadataValue:
    content = base64.b64encode(png).decode("ascii")
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{content})")


def _plain(value: Any) -> str | float | int | bool | None:
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return None
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, str | float | int | bool) else str(value)


def _kind(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column):
        return "bool"
    if pd.api.types.is_integer_dtype(column):
        return "int"
    return "float" if pd.api.types.is_float_dtype(column) else "string"
