"""Whether files that are compared were sampled alike."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import read_volume
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
    wanted = _voxel_size(tomogram)
    if wanted is None:
        return None
    for reference in references:
        size = _voxel_size(reference)
        if size is not None and abs(size / wanted - 1) > _TOLERANCE:
            return (
                f"{Path(reference).name} has voxels of {size:g} Å and the tomogram {Path(tomogram).name} of "
                f"{wanted:g} Å: rescale one of them, or what looks alike is not of one size"
            )
    return None


def unlike_the_network(path: str | Path, network: LoadedNetwork) -> str | None:
    """Say if a volume was sampled otherwise, by more than a tenth, than what a network was trained on.

    Parameters
    ----------
    path : the volume. One that is gone, or whose header has no voxel size, tells nothing.
    network : neither does one that does not know its voxel size.

    Returns
    -------
    One sentence, or ``None``.
    """
    trained, size = network.voxel_size_in_angstrom, _voxel_size(path)
    if trained is None or size is None or abs(size / trained - 1) <= _TOLERANCE:
        return None
    return (
        f"{Path(path).name} has voxels of {size:g} Å and {network.path.name} was trained at {trained:g} Å: "
        "rescale it to these, or what the network sees is not of the size that it knows"
    )


def _voxel_size(path: str | Path) -> float | None:
    try:
        return read_volume(path).voxel_size_in_angstrom
    except InputError:
        return None
