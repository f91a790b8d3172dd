"""Where the particles are and how large they are: SHREC-style positions, box sizes, labels in file names."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, write_json
from tomotwin_lib.formats.text import number, read_lines

ANGLES = ("phi", "psi", "theta")

_BOX_SIZES_REMEDY = 'Write {"1bxn": 20, …}, sizes in voxels'
_PDB_CODE = r"[0-9][a-z0-9]{3}"
_FILE_SUFFIX = re.compile(r"\.(mrc|rec|map)$", re.IGNORECASE)


def read_particle_positions(path: str | Path) -> pd.DataFrame:
    """Read a ground truth: a line for each particle, ``class X Y Z`` and up to three Euler angles.

    Columns are separated by blanks. Empty lines and lines that start with ``#`` are skipped, and whatever
    stands behind the third angle is too.

    Returns
    -------
    Frame with columns class (lower-cased), X, Y, Z (voxels) and, if any line has them, phi, psi and theta
    (degrees, in the order of the file; NaN where a line has fewer).

    Raises
    ------
    InputError
        If the file cannot be read, holds no particle, or a line is too short or has something that is no
        number; it names the line.
    """
    path = Path(path)
    classes: list[str] = []
    rows: list[list[float]] = []
    for line, text in read_lines(path):
        fields = text.split()
        if len(fields) < 4:
            raise InputError(
                path,
                f"line {line} has {len(fields)} of the four columns: '{text}'",
                "Write 'class X Y Z' there",
            )
        values = [number(path, line, field) for field in fields[1 : 4 + len(ANGLES)]]
        classes.append(fields[0].lower())
        rows.append(values + [math.nan] * (3 + len(ANGLES) - len(values)))
    if not rows:
        raise InputError(path, "it holds no particle", "Write a line 'class X Y Z' for each particle")
    frame = pd.DataFrame(np.array(rows), columns=["X", "Y", "Z", *ANGLES])
    frame.insert(0, "class", pd.Series(classes, dtype=object))
    return frame.dropna(axis="columns", how="all")


def write_particle_positions(path: str | Path, positions: pd.DataFrame) -> None:
    """Write a ground truth that :func:`read_particle_positions` reads, whole or not at all.

    Parameters
    ----------
    path : the file.
    positions : columns class, X, Y, Z (voxels), and phi, psi, theta (degrees) if there.
    """
    numbers = ["X", "Y", "Z", *(angle for angle in ANGLES if angle in positions.columns)]
    values = positions[numbers].to_numpy(dtype=np.float64)
    lines = (
        " ".join([str(name), *(f"{value:.3f}" for value in row if not math.isnan(value))])
        for name, row in zip(positions["class"], values.tolist(), strict=True)
    )
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_box_sizes(path_or_number: str | int | Path, source: str = "box size") -> dict[str, int] | int:
    """Read box sizes: a plain number for every class, or a JSON file from class to size.

    Parameters
    ----------
    path_or_number : a number such as ``37`` or ``"37"``, in voxels, or the path of a JSON file.
    source : what gave the number, such as an option, for complaints.

    Returns
    -------
    The number, or a dictionary with lower-cased keys; classes whose size is null are left out.

    Raises
    ------
    InputError
        If a size is not a whole number above 0, or the file is not such a JSON file.
    """
    if isinstance(path_or_number, int):
        return _box_size(source, "the size", path_or_number)
    try:
        plain = float(str(path_or_number))
    except ValueError:
        return _box_sizes_of_file(Path(path_or_number))
    return _box_size(source, "the size", int(plain) if plain.is_integer() else plain)


def _box_sizes_of_file(path: Path) -> dict[str, int]:
    text = "\n".join(line for _, line in read_lines(path, comments=False))
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except ValueError as error:
        raise InputError(
            path, f"it is no JSON ({error})", 'Write {"1bxn": 20, …}, sizes in voxels'
        ) from error
    if not isinstance(pairs, _Pairs):
        raise InputError(path, "it holds no names with sizes", _BOX_SIZES_REMEDY)
    sizes: dict[str, int] = {}
    for name, value in pairs:
        if value is None:
            continue
        size = _box_size(path, f"the size of '{name}'", value)
        if sizes.setdefault(name.lower(), size) != size:
            raise InputError(
                path,
                f"'{name.lower()}' has two sizes, {sizes[name.lower()]} and {size}",
                "Keep one of them; upper and lower case make no difference",
            )
    return sizes


class _Pairs(list[tuple[str, Any]]):
    """The items of a JSON object, doubles included, which a dictionary would swallow."""


def _box_size(source: str | Path, what: str, value: object) -> int:
    # JSON's true is a number to Python.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value % 1 != 0 or not 0 < value < 2**31:  # type: ignore[operator]
        raise InputError(source, f"{what} is {value!r}", "Give a whole number of voxels above 0")
    return int(value)  # type: ignore[call-overload]


def write_box_sizes(path: str | Path, sizes: Mapping[str, int]) -> None:
    """Write box sizes, in voxels, as a JSON file that :func:`read_box_sizes` reads, whole or not at all."""
    write_json(path, dict(sizes))


def label_from_name(name: str) -> str:
    """The class that a file's name tells, lower-cased.

    It is the PDB code behind ``id`` if there is one (``tomo_id3GL1_ref.mrc``), else the first digit that
    three letters or digits follow (``model_0_1BXN_1.mrc``). Folders in front of the name do not count.

    Raises
    ------
    InputError
        If the name tells none.
    """
    stem = _FILE_SUFFIX.sub("", str(name).replace("\\", "/").rsplit("/", 1)[-1]).lower()
    match = re.search(f"id({_PDB_CODE})", stem) or re.search(f"({_PDB_CODE})", stem)
    if match is None:
        raise InputError(
            name,
            "its name tells no class",
            "Put a PDB code or a similar label (a digit and three letters or digits) into it, "
            "as in 'model_1bxn_0.mrc'",
        )
    return match.group(1)
