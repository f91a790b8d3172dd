"""The user's folder and the device, as every asset sees them."""

import os
from pathlib import Path

import dagster as dg

from tomotwin_assets.object_storage import ObjectStore, object_store
from tomotwin_assets.partitions import check_key
from tomotwin_assets.settings import DATA_VARIABLE, read_settings
from tomotwin_lib.devices import resolve_device
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import read_box_sizes

TOMOGRAM_SUFFIXES = (".mrc", ".rec", ".map")
MODEL_SUFFIXES = (".json", ".pth")
DEFAULT_BOX_SIZE = 37
"""Edge of a particle's box in voxels where the user gives no sizes: the window of the networks."""

SUFFIXES = {
    "training_data": ".json",
    "trained_model": ".pth",
    "tomogram": ".json",
    "reference_volumes": ".json",
    "reference_embeddings": ".temb",
    "tomogram_embeddings": ".temb",
    "similarity_map": ".tmap",
    "located_picks": ".tloc",
    "picked_coordinates": "",
    "evaluation_report": ".json",
    "leaderboard": ".csv",
    "production_model": ".json",
    "production_picks": "",
}
"""Asset → ending of its files under ``products/``; none where the product is a folder."""


class DataFolder(dg.ConfigurableResource):
    """The folder with the user's tomograms, models, references and products.

    ``tomograms/``, ``models/``, ``references/``, ``subvolumes/train``, ``subvolumes/valid`` and
    ``ground_truth/`` are the user's; ``products/`` is written by the platform.
    """

    root: str = ""
    """Path of the folder. Empty: what TOMOTWIN_DATA or tomotwin.toml says when a step runs."""

    @property
    def path(self) -> Path:
        """The folder itself; InputError where none is set or it does not exist."""
        if not self.root:
            return read_settings().data_folder()
        path = Path(self.root)
        if not path.is_dir():
            raise InputError(
                path, "the data folder does not exist", f"Correct {DATA_VARIABLE} or tomotwin.toml"
            )
        return path

    @property
    def references(self) -> Path:
        """Subvolumes of the particles to be found, one each."""
        return self.path / "references"

    @property
    def training(self) -> Path:
        """Labelled subvolumes to train on."""
        return self.path / "subvolumes" / "train"

    @property
    def validation(self) -> Path:
        """Labelled subvolumes to choose the best network with."""
        return self.path / "subvolumes" / "valid"

    def tomogram_files(self) -> list[Path]:
        """All tomograms, sorted."""
        return _files(self.path / "tomograms", TOMOGRAM_SUFFIXES)

    def model_files(self) -> list[Path]:
        """All models, to train (``.json``) or to import (``.pth``), sorted."""
        return _files(self.path / "models", MODEL_SUFFIXES)

    def tomogram_file(self, tomogram: str) -> Path:
        """The file of one tomogram; InputError where there is none or more than one."""
        return _one(self.path / "tomograms", tomogram, TOMOGRAM_SUFFIXES)

    def model_file(self, model: str) -> Path:
        """The file of one model; InputError where there is none or more than one."""
        return _one(self.path / "models", model, MODEL_SUFFIXES)

    def ground_truth_files(self) -> list[Path]:
        """The positions of the particles of all tomograms where they are known, sorted."""
        return _files(self.path / "ground_truth", (".txt",))

    def ground_truth_file(self, tomogram: str) -> Path | None:
        """The positions of the particles of a tomogram, where they are known."""
        path = self.path / "ground_truth" / f"{check_key(tomogram, 'tomogram')}.txt"
        return path if path.is_file() else None

    @property
    def box_sizes_file(self) -> Path | None:
        """The file with the box sizes of the particles, where there is one."""
        path = self.path / "ground_truth" / "boxsizes.json"
        return path if path.is_file() else None

    def calibration_file(self) -> Path:
        """How often background reaches a similarity: ``ground_truth/calibration.json``, there or not."""
        return self.path / "ground_truth" / "calibration.json"

    def box_sizes(self) -> int | dict[str, int]:
        """Edges of the particles' boxes in voxels, by name; 37 for all where the user gives none."""
        return DEFAULT_BOX_SIZE if self.box_sizes_file is None else read_box_sizes(str(self.box_sizes_file))

    def product(self, asset: str, *keys: str) -> Path:
        """Where a product lies: ``products/<asset>/<model>/<tomogram>.<ending>``, with the keys it has."""
        for key in keys:
            check_key(key, asset)
        return (
            self.path.joinpath("products", asset, *keys[:-1]) / f"{keys[-1]}{SUFFIXES[asset]}"
            if keys
            else (self.path / "products" / f"{asset}{SUFFIXES[asset]}")
        )

    def store(self) -> ObjectStore | None:
        """The object store that keeps the products, where the settings name one."""
        url = read_settings().products
        return object_store(self.path / "products", url) if url else None

    def keep(self, path: Path) -> None:
        """Upload a product that has been written, a file or a folder, where there is an object store."""
        if store := self.store():
            store.put(path)

    def fetch(self, path: Path) -> Path:
        """``path``, a file or folder below ``products/``, as the object store has it, where there is one."""
        if (store := self.store()) and path.is_relative_to(store.cache):
            store.fetch(path)
        return path

    def is_kept(self, path: Path) -> bool:
        """Whether there is a product, here or in the object store."""
        return path.exists() or bool((store := self.store()) and store.list(path))

    def evaluation_reports(self) -> list[Path]:
        """The reports that exist, of all models and tomograms, sorted."""
        folder = self.fetch(self.path / "products" / "evaluation_report")
        found = folder.glob(f"*/*{SUFFIXES['evaluation_report']}")
        return sorted(path for path in found if not path.name.startswith("."))

    def relative(self, path: Path) -> str:
        """``path`` as it is written into records: relative inside the folder, so that the folder can move."""
        return path.relative_to(self.path).as_posix() if path.is_relative_to(self.path) else str(path)


class ComputeDevice(dg.ConfigurableResource):
    """Where networks run: auto (a GPU where there is one), cpu, cuda, cuda:1, …"""

    device: str = ""
    """Empty: what TOMOTWIN_DEVICE or tomotwin.toml says when a step runs, else auto."""

    @property
    def name(self) -> str:
        """The device as PyTorch names it; InputError where this machine does not have it."""
        return str(resolve_device(self.device or read_settings().device))


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:  # tells what is a file without asking for each of thousands
        names = [entry.name for entry in entries if entry.name.endswith(suffixes) and entry.is_file()]
    return [folder / name for name in sorted(names) if not _temporary(name)]


def _temporary(name: str) -> bool:
    """Whether a file's name says that it is hidden or not finished: ``.x.mrc``, ``~x.mrc``, ``x.part.mrc``.

    (``x.mrc.part`` and ``x.mrc~`` have no ending of ours.)
    """
    return name.startswith((".", "~")) or Path(name).stem.endswith((".part", ".tmp", "~"))


def _one(folder: Path, key: str, suffixes: tuple[str, ...]) -> Path:
    check_key(key, folder.name)
    found = [path for suffix in suffixes if (path := folder / f"{key}{suffix}").is_file()]
    if len(found) == 1:
        return found[0]
    if not found:
        names = " or ".join(f"{key}{suffix}" for suffix in suffixes)
        raise InputError(folder, f"there is no {names}", "Put the file back, or leave out this partition")
    raise InputError(
        folder, f"{' and '.join(path.name for path in found)} have one name", "Rename or move one of them"
    )
