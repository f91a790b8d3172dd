"""Whether files that are compared were sampled alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import read_volume

if TYPE_CHECKING:
    from tomotwin_lib.networks.checkpoint import LoadedNetwork

# A network has seen particles a little larger and smaller; beyond this it looks for something else.
_TOLERANCE = 0.1


def differing_voxel_sizes(tomogram: str | Path, references: Iterable[str | Path]) -> str | None:
    """Say if references and tomogram have voxel sizes that differ by more than a tenth.

    Parameters
    ----------
    tomogram, references : the volumes. Files that are gone, or whose header has no voxel size, tell nothing.

    Returns
    -------
    One sentence that names the first reference that differs, or ``None``.
    """
    return unlike_the_tomogram(Path(tomogram), _voxel_size(tomogram), voxel_sizes(references))


def voxel_sizes(paths: Iterable[str | Path]) -> dict[Path, float | None]:
    """The voxel size in Å of each volume; ``None`` for one that is gone or whose header has none."""
    return {Path(path): _voxel_size(path) for path in paths}


def unlike_the_tomogram(
    tomogram: Path, size: float | None, references: Mapping[Path, float | None]
) -> str | None:
    """What :func:`differing_voxel_sizes` says, of voxel sizes in Å that are known already."""
    for reference, own in references.items():
        if _differ(own, size):
            return (
                f"{reference.name} has voxels of {own:g} Å and the tomogram {tomogram.name} of {size:g} Å: "
                "rescale one of them, or what looks alike is not of one size"
            )
    return None


def unlike_the_network(path: Path, size: float | None, network: LoadedNetwork) -> str | None:
    """Say if a volume was sampled otherwise, by more than a tenth, than what a network was trained on.

    Parameters
    ----------
    path, size : the volume and its voxel size in Å; without one it tells nothing.
    network : neither does one that does not know its voxel size.

    Returns
    -------
    One sentence, or ``None``.
    """
    trained = network.voxel_size_in_angstrom
    if not _differ(size, trained):
        return None
    return (
        f"{path.name} has voxels of {size:g} Å and {network.path.name} was trained at {trained:g} Å: "
        "rescale it to these, or what the network sees is not of the size that it knows"
    )


def _differ(size: float | None, wanted: float | None) -> bool:
    return size is not None and wanted is not None and abs(size / wanted - 1) > _TOLERANCE


def _voxel_size(path: str | Path) -> float | None:
    try:
        return read_volume(path).voxel_size_in_angstrom
    except InputError:
        return None
