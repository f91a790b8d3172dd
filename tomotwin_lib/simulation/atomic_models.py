"""Atoms of PDB and mmCIF files, read by gemmi (extra ``structures``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tomotwin_lib.errors import InputError

FloatArray = npt.NDArray[np.float64]


def read_atoms(path: str | Path) -> tuple[FloatArray, FloatArray]:
    """Positions and masses of a model's atoms, without waters and hydrogens.

    The first biological assembly where the file describes one, all of the first model else.

    Returns
    -------
    (k, 3) positions, columns x y z, in Å, and (k,) masses in Da; hydrogens count with the atoms they are
    bound to, so that the sum is about the molecule's mass.

    Raises
    ------
    InputError
        If gemmi is not installed, or the file cannot be read or holds no atoms.
    """
    path = Path(path)
    try:
        import gemmi
    except ImportError as error:
        raise InputError(
            path,
            "atomic models are read by gemmi, which is not installed",
            "Install the extra 'structures': pip install 'tomotwin-assets[structures]'",
        ) from error
    if not path.is_file():
        raise InputError(path, "there is no such file", "Check the path")
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, IndexError, OSError) as error:
        raise InputError(path, f"it is no atomic model ({error})", "Give a PDB or mmCIF file") from error
    structure.setup_entities()
    structure.remove_waters()
    structure.remove_hydrogens()
    structure.remove_empty_chains()
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise InputError(path, "it holds no atoms but waters and hydrogens", "Give the model of a molecule")
    model = structure[0]
    if structure.assemblies:
        model = gemmi.make_assembly(structure.assemblies[0], model, gemmi.HowToNameCopiedChain.Dup)
    positions, masses = [], []
    for atom in (site.atom for site in model.all()):
        positions.append(atom.pos.tolist())
        # About 7 % of a protein's mass is hydrogen; by their occupancies alternative positions count once.
        masses.append(atom.occ * atom.element.weight * 1.07)
    return np.array(positions, dtype=np.float64), np.array(masses, dtype=np.float64)
