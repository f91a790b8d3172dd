"""What a user can set without code: environment variables, or a small file ``tomotwin.toml``.

::

    data = "/cryo/apoferritin"      # or the environment variable TOMOTWIN_DATA
    device = "auto"                 # or TOMOTWIN_DEVICE: auto, cpu, cuda, cuda:1
    products = "s3://bucket/lab"    # or TOMOTWIN_PRODUCTS: an object store that keeps the products
    shipped_models = false          # or TOMOTWIN_SHIPPED_MODELS: only the data folder's own networks

    [training]                      # sections hold new defaults for the steps' settings
    epochs = 40

    [picking]
    lowest_similarity = 0.6

The file lies in the folder that the platform is started from (or above it). A second one may lie in the data
folder and travel with the data; the first one wins where both say something.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomotwin_lib.errors import InputError

FILE = "tomotwin.toml"
DATA_VARIABLE = "TOMOTWIN_DATA"
DEVICE_VARIABLE = "TOMOTWIN_DEVICE"
PRODUCTS_VARIABLE = "TOMOTWIN_PRODUCTS"
SHIPPED_VARIABLE = "TOMOTWIN_SHIPPED_MODELS"
DEMO = Path("data") / "demo"
SECTIONS = (
    "simulation",
    "training",
    "embedding",
    "similarity",
    "picking",
    "coordinates",
    "evaluation",
    "production",
    "reevaluation",
    "arrivals",
)


@dataclass(frozen=True)
class Settings:
    """What is set: the data folder (``None`` where nothing says), the device, and the steps' settings.

    ``files`` are the settings files that were read, for messages. ``products`` is the address of the object
    store that keeps the products; empty where only the data folder does. ``shipped_models`` says whether the
    networks that come with the library are models beside those of the data folder.
    """

    data: Path | None
    device: str
    sections: dict[str, dict[str, Any]]
    files: tuple[Path, ...] = ()
    products: str = ""
    shipped_models: bool = True

    def section(self, name: str) -> dict[str, Any]:
        """The settings of one section, empty where the files have none."""
        return self.sections.get(name, {})

    def data_folder(self) -> Path:
        """The data folder.

        Raises
        ------
        InputError
            If none is set, or the one that is set does not exist.
        """
        if self.data is None:
            raise InputError(
                DATA_VARIABLE,
                "no data folder is set and there is no ./data/demo",
                f"Set {DATA_VARIABLE}=/path/to/data, or write it into {FILE} as data, or run the demo",
            )
        if not self.data.is_dir():
            raise InputError(
                self.data, "the data folder does not exist", f"Correct {DATA_VARIABLE} or {FILE}"
            )
        return self.data


def project_folder() -> Path:
    """Where the platform is started from: the nearest folder upwards with a settings file or workspace."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file() or (folder / "workspace.yaml").is_file():
            return folder
    return here


def read_settings() -> Settings:
    """Read the environment and the settings files as they are now.

    Raises
    ------
    InputError
        If a settings file is no TOML or holds something unknown.
    """
    project = project_folder()
    own = _read_file(project / FILE)
    data = _data_folder(project, own)
    beside_data = _read_file(data / FILE) if data is not None and data != project else {}
    sections = {
        name: {**beside_data.get(name, {}), **own.get(name, {})}
        for name in SECTIONS
        if name in own or name in beside_data
    }
    device = os.environ.get(DEVICE_VARIABLE) or own.get("device") or beside_data.get("device") or "auto"
    files = dict.fromkeys(path / FILE for path in (project, data) if path is not None)
    products = os.environ.get(PRODUCTS_VARIABLE) or own.get("products") or beside_data.get("products") or ""
    found = tuple(path for path in files if path.is_file())
    return Settings(
        data, str(device), sections, found, str(products), _shipped_models(own, beside_data, found)
    )


def _shipped_models(own: dict[str, Any], beside_data: dict[str, Any], files: tuple[Path, ...]) -> bool:
    if variable := os.environ.get(SHIPPED_VARIABLE):
        values = {"true": True, "1": True, "false": False, "0": False}
        if variable.lower() not in values:
            raise InputError(SHIPPED_VARIABLE, f"it is {variable!r}", "Set it to true or false")
        return values[variable.lower()]
    value = own.get("shipped_models", beside_data.get("shipped_models", True))
    if not isinstance(value, bool):
        source = " or ".join(map(str, files))
        raise InputError(source, f"shipped_models is {value!r}", "Write true or false")
    return value


def _data_folder(project: Path, own: dict[str, Any]) -> Path | None:
    if variable := os.environ.get(DATA_VARIABLE):
        return Path(variable).expanduser().resolve()
    if "data" in own:
        return (project / Path(str(own["data"])).expanduser()).resolve()
    demo = project / DEMO
    return demo.resolve() if demo.is_dir() else None


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"the settings cannot be read ({error})", "Correct the file") from error
    known = ("data", "device", "products", "shipped_models", *SECTIONS)
    if unknown := [key for key in content if key not in known]:
        raise InputError(path, f"unknown settings: {', '.join(unknown)}", f"There are {', '.join(known)}")
    if loose := [name for name in SECTIONS if name in content and not isinstance(content[name], dict)]:
        raise InputError(path, f"{loose[0]!r} is no section", f"Write [{loose[0]}] and its settings below")
    return content
