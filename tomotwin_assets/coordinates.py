"""Picks as files for other programs, whichever asset writes them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from tomotwin_assets.configs import CoordinateFilesConfig
from tomotwin_lib.exporting import FORMATS, check_formats, destination_of, export_picks
from tomotwin_lib.files import ensure_writable_folder
from tomotwin_lib.formats.volumes import read_volume


def write_coordinates(
    folder: Path, picks: pd.DataFrame, tomogram: Path, config: CoordinateFilesConfig
) -> list[Path]:
    """Write the picks of each reference in all formats that are asked for; returns the files.

    Parameters
    ----------
    folder : where to write. Files of references and formats that are no longer asked for are removed.
    picks : with the attribute ``references``.
    tomogram : its file, for its name, shape and voxel size.
    config : formats, and the voxels to count in.

    Raises
    ------
    InputError
        If the folder cannot be written, or a format needs a voxel size that is not given; then nothing is.
    """
    ensure_writable_folder(folder)
    volume = read_volume(tomogram)
    destination = destination_of(
        tomogram.name,
        volume.data.shape,
        volume.voxel_size_in_angstrom,
        output_voxel_size_in_angstrom=config.output_voxel_size_in_angstrom,
        tomogram_size=config.tomogram_size,
    )
    check_formats(
        config.formats,
        destination,
        "[coordinates] formats",
        "[coordinates] output_voxel_size_in_angstrom",
    )
    written: list[Path] = []
    for index, reference in enumerate(picks.attrs["references"]):
        particles = picks[picks["predicted_class"] == index]
        # Named as TomoTwin's picking command names them: by the reference's file name without its ending.
        written += export_picks(folder, Path(reference).stem, particles, config.formats, destination)
    endings = tuple(form.suffix for form in FORMATS.values())
    for old in folder.iterdir():
        # They would pass for results of this run.
        if old.name.endswith(endings) and old not in written:
            old.unlink()
    return written


def picks_by_reference(picks: pd.DataFrame) -> dict[str, int]:
    """Number of picks of each reference, those without any included."""
    numbers = Counter(int(index) for index in picks["predicted_class"])
    return {name: numbers.get(index, 0) for index, name in enumerate(picks.attrs["references"])}
