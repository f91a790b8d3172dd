"""What lies under ``products/``: is each file whole, and did anything half-written stay behind?"""

from __future__ import annotations

from pathlib import Path

import starfile

from tomotwin_assets.io_managers import FORMATS
from tomotwin_assets.resources import DataFolder


def corrupt(data: Path) -> list[str]:
    """Products that cannot be read, each with the reason."""
    folder, problems = DataFolder(root=str(data)), []
    for path in _files(data):
        if _temporary(path):
            continue
        asset = path.relative_to(data / "products").parts[0].partition(".")[0]
        try:
            if path.suffix == ".star":
                starfile.read(path)
            elif path.suffix in (".coords", ".cbox"):
                path.read_text(encoding="utf-8")
            elif asset in FORMATS and "unfinished" not in str(path):
                FORMATS[asset].read(folder, path)
        except Exception as error:
            problems.append(f"{path.relative_to(data)}: {type(error).__name__}: {error}")
    return problems


def leftovers(data: Path) -> list[str]:
    """Temporary files of writes that never ended; their hidden names keep them from passing for products."""
    return [str(path.relative_to(data)) for path in _files(data) if _temporary(path)]


def _files(data: Path) -> list[Path]:
    return sorted(path for path in (data / "products").rglob("*") if path.is_file())


def _temporary(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts[path.parts.index("products") :])
