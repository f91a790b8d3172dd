"""Simulated training subvolumes in a data folder, beside those that are somebody's own."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, replace_folder, write_json
from tomotwin_lib.formats.volumes import find_volumes
from tomotwin_lib.simulation.dataset import SimulatedDataset
from tomotwin_lib.simulation.folder import RECORD
from tomotwin_lib.simulation.labelled_dataset import recorded_parameters, simulate_labelled_dataset
from tomotwin_lib.simulation.recipe import Recipe

FOLDER = "simulated"
"""Folder of a data folder that the whole simulated data set lies in."""

LIST = "simulated.json"
"""File in ``subvolumes/`` that lists the simulated ones."""


def simulate_training_part(
    data_folder: str | Path, recipe: Recipe, *, device: str = "cpu", progress: bool = True
) -> SimulatedDataset:
    """Simulate after a recipe into ``simulated/`` and put the subvolumes into ``subvolumes/``.

    What an earlier recipe put there is replaced; what is not simulated stays as it is, and is trained on too.

    Parameters
    ----------
    data_folder : the folder whose ``subvolumes/train`` and ``subvolumes/valid`` are trained on.
    recipe, device, progress : see :func:`.labelled_dataset.simulate_labelled_dataset`.

    Raises
    ------
    InputError
        If the recipe cannot be simulated, ``simulated/`` holds anything else, or a subvolume of somebody's
        own has the name of a simulated one.
    """
    data_folder = Path(data_folder)
    folder = data_folder / FOLDER
    if not (folder / RECORD).is_file() or _made_with(folder) == recorded_parameters(recipe):
        dataset = simulate_labelled_dataset(folder, recipe, device=device, progress=progress)
        reused = dataset.reused
    else:
        # Beside the old one, which is there until this one is whole.
        unfinished = data_folder / f".{FOLDER}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        simulate_labelled_dataset(unfinished, recipe, device=device, progress=progress)
        replace_folder(unfinished, folder)
        dataset, reused = simulate_labelled_dataset(folder, recipe, progress=False), False
    _put(dataset, data_folder / "subvolumes")
    return replace(dataset, reused=reused)


def _made_with(folder: Path) -> object:
    try:
        return json.loads((folder / RECORD).read_bytes())["parameters"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            folder / RECORD, "this is no record of a simulation", "Move the folder away"
        ) from error


def _put(dataset: SimulatedDataset, subvolumes: Path) -> None:
    new = {
        f"{part}/{path.name}": path
        for part, source in (("train", dataset.training), ("valid", dataset.validation))
        for path in find_volumes([source])
    }
    listed = subvolumes / LIST
    old = set(json.loads(listed.read_bytes())) if listed.is_file() else set()
    if taken := [name for name in new if name not in old and (subvolumes / name).exists()]:
        raise InputError(
            subvolumes / taken[0], "a subvolume of this name is there and was not simulated", "Rename it"
        )
    # All that is or was: after a run that is killed, the next one knows what is not somebody's own.
    write_json(listed, sorted(old | set(new)))
    for name, path in new.items():
        place = subvolumes / name
        # A file that is there already is newer than its copy would make it, which would count as a change.
        if not (place.is_file() and place.read_bytes() == path.read_bytes()):
            with atomic_path(place) as temporary:
                shutil.copyfile(path, temporary)
    for name in old - set(new):
        (subvolumes / name).unlink(missing_ok=True)
    write_json(listed, sorted(new))
