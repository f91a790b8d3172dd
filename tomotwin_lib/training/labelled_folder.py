"""Labelled tomograms from a folder, as ``tomotwin simulate`` writes it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tomotwin_lib.embedding.preparation import require_usable
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import read_particle_positions
from tomotwin_lib.formats.volumes import find_volumes, read_volume
from tomotwin_lib.training.labelled_tomograms import LabelledTomogram, grey_voxels, some_points

NAMES = "class_masks.json"
"""Names of the values of all class masks, beside them."""

_NAMES_REMEDY = 'Write {"1": "1bxn", "2": "membrane", …}, from the values of the masks to names'


def read_labelled_tomograms(
    folder: str | Path, negatives: Collection[str] = (), *, progress: bool = True
) -> list[LabelledTomogram]:
    """Read tomograms whose particles are all known.

    Parameters
    ----------
    folder : holds ``tomograms/<name>.mrc``, protein dark, and ``ground_truth/<name>.txt``, lines of class X
        Y Z; where they are there also ``ground_truth/<name>_mask.mrc``, what each voxel belongs to, and
        ``ground_truth/class_masks.json``, names of the masks' values. What a mask names and no ground truth
        does is a distractor.
    negatives : classes of the ground truth that are no particles, such as fiducial: they are distractors too.
    progress : show a bar.

    Raises
    ------
    InputError
        If a file is missing or cannot be used, no ground truth has one of the negatives, a mask has another
        shape than its tomogram, or a particle lies outside.
    """
    folder = Path(folder)
    if not (folder / "tomograms").is_dir():
        raise InputError(
            folder, "there is no folder tomograms in it", "Give a folder as `tomotwin simulate` writes"
        )
    paths = find_volumes([folder / "tomograms"])
    truths = [folder / "ground_truth" / f"{path.stem}.txt" for path in paths]
    for path, truth in zip(paths, truths, strict=True):
        if not truth.is_file():
            raise InputError(
                truth, f"the ground truth of {path.name} is not there", "Write class X Y Z lines"
            )
    no_particles = {name.lower() for name in negatives}
    frames = [read_particle_positions(truth) for truth in truths]
    classes = {str(name) for frame in frames for name in frame["class"]}
    if unknown := sorted(no_particles - classes):
        raise InputError(
            "--negatives",
            f"no ground truth of {folder} has the class {' or '.join(unknown)}; there are "
            f"{', '.join(sorted(classes))}",
            "Give some of these, or leave it out: what only masks name is no particle anyway",
        )
    classes -= no_particles
    found = []
    pairs = zip(paths, truths, frames, strict=True)
    for path, truth, frame in tqdm(
        pairs, total=len(paths), desc="reading", unit="tomogram", disable=not progress
    ):
        volume = read_volume(path)
        require_usable(volume)
        shape = volume.data.shape
        centres = frame[["Z", "Y", "X"]].to_numpy(np.float32)
        outside = ~((centres >= 0) & (centres <= np.array(shape) - 1)).all(axis=1)
        if outside.any():
            z, y, x = centres[int(np.argmax(outside))]
            raise InputError(
                truth,
                f"the particle at X {x:g}, Y {y:g}, Z {z:g} lies outside {path.name}, which has "
                f"{shape[2]}×{shape[1]}×{shape[0]} voxels (x×y×z)",
                "Give X Y Z in voxels of this tomogram",
            )
        labels = [str(name) for name in frame["class"]]
        apart = np.array([label in no_particles for label in labels])
        points = np.concatenate(
            [np.rint(centres[apart]).astype(np.int32), _masked(folder, path, shape, classes)]
        )
        found.append(
            LabelledTomogram(
                name=path.stem,
                voxels=grey_voxels(volume.data),
                centres=centres[~apart],
                labels=[label for label in labels if label not in no_particles],
                distractors=points,
                voxel_size_in_angstrom=volume.voxel_size_in_angstrom,
            )
        )
    return found


def _masked(
    folder: Path, tomogram: Path, shape: tuple[int, ...], classes: Collection[str]
) -> npt.NDArray[np.int32]:
    """Voxels of what the mask of a tomogram names and no ground truth does."""
    path = folder / "ground_truth" / f"{tomogram.stem}_mask.mrc"
    if not path.is_file():
        return np.empty((0, 3), np.int32)
    mask = read_volume(path).data
    if mask.shape != shape:
        raise InputError(
            path, f"its shape is {mask.shape}, not {shape} (z, y, x)", f"Give the mask of {tomogram}"
        )
    others = [
        value
        for value, name in _names(folder / "ground_truth" / NAMES).items()
        if name.lower() not in classes
    ]
    # Of its own for each tomogram, and the same again.
    return some_points(np.isin(mask, others), np.random.default_rng(list(tomogram.stem.encode())))


def _names(path: Path) -> dict[int, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {int(value): name for value, name in content.items()}
    except OSError as error:
        raise InputError(path, f"it cannot be read ({error.strerror})", _NAMES_REMEDY) from error
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(path, "it holds no names of whole numbers", _NAMES_REMEDY) from error
    if not all(isinstance(name, str) for name in names.values()):
        raise InputError(path, "it holds no names of whole numbers", _NAMES_REMEDY)
    return {value: name for value, name in names.items() if value}
