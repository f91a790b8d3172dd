"""Made-up molecules: of the mass, the symmetry and the build of proteins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, label

from tomotwin_lib.formats.ground_truth import label_from_name
from tomotwin_lib.simulation.made_up_molecules import (
    SYMMETRIES,
    made_up_molecule,
    made_up_molecules,
    point_group,
)
from tomotwin_lib.simulation.molecules import Molecule

ORDERS = {"C1": 1, "C2": 2, "C5": 5, "C8": 8, "D2": 4, "D7": 14, "T": 12, "O": 24, "I": 60}


@pytest.fixture(scope="module")
def some() -> list[Molecule]:
    return made_up_molecules(12, seed=3)


def test_each_is_centred_in_one_piece_and_fits_its_window(some: list[Molecule]) -> None:
    for molecule in some:
        middle = len(molecule.density) // 2
        np.testing.assert_allclose(center_of_mass(molecule.density), [middle] * 3, atol=0.15)
        assert molecule.radius <= 19
        pieces, count = label(molecule.density > 0.15 * molecule.density.max(), np.ones((3, 3, 3)))
        largest = np.bincount(pieces.ravel())[1:].max()
        assert largest > 0.95 * (pieces > 0).sum(), f"{molecule.name} is in {count} pieces"


def test_protein_takes_up_its_volume(some: list[Molecule]) -> None:
    for molecule in some:
        dalton = 1e3 * float(molecule.name.split(",")[1].split()[0])
        # Scaled by the brightest tenth, small ones that are all edge come out larger.
        assert 0.9 < molecule.density.sum() * 1000 / (1.21 * dalton) < 1.8


def test_a_seed_gives_the_same_molecules_however_many(some: list[Molecule]) -> None:
    again = made_up_molecules(2, seed=3)
    for first, second in zip(some, again, strict=False):
        np.testing.assert_array_equal(first.density, second.density)
    assert not np.array_equal(again[0].density.shape, again[1].density.shape) or not np.array_equal(
        again[0].density, again[1].density
    )
    other = made_up_molecules(1, seed=4)[0]
    assert other.name != again[0].name


def test_codes_are_labels_and_no_entries_of_the_data_bank(some: list[Molecule]) -> None:
    codes = [molecule.code for molecule in some]
    assert len(set(codes)) == len(codes)
    for code in codes:
        assert label_from_name(f"sim_{code}_00_001.mrc") == code
        assert code.startswith("0")
    with pytest.raises(ValueError, match="1000"):
        made_up_molecules(1001, seed=0)


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_point_groups_are_groups(name: str, order: int) -> None:
    turns = point_group(name)
    assert len(turns) == order and name in SYMMETRIES
    assert turns[0].magnitude() == pytest.approx(0, abs=1e-6)
    matrices = turns.as_matrix().reshape(order, 9)
    for turn in turns:
        products = (turn * turns).as_matrix().reshape(order, 1, 9)
        assert (np.abs(products - matrices).max(axis=-1).min(axis=1) < 1e-6).all()


@pytest.mark.parametrize("symmetry", ["C4", "D4", "O"])
def test_a_symmetric_molecule_looks_the_same_turned(symmetry: str) -> None:
    rng = np.random.default_rng(5)
    molecule = made_up_molecule(rng, "0001", mass_in_kilodalton=800, symmetry=symmetry)
    assert molecule.name.endswith(symmetry)
    density = molecule.density
    quarter = np.rot90(density, axes=(1, 2))  # about z
    assert np.corrcoef(density.ravel(), quarter.ravel())[0, 1] > 0.99
    half = np.rot90(density, 2, axes=(0, 1))  # about x
    same = np.corrcoef(density.ravel(), half.ravel())[0, 1]
    assert (same > 0.99) == (symmetry != "C4")


def test_a_mass_and_a_radius_are_kept() -> None:
    molecule = made_up_molecule(
        np.random.default_rng(0), "0001", mass_in_kilodalton=600, largest_radius_in_angstrom=80
    )
    assert "600 kDa" in molecule.name
    # What is on the rim is smeared, by 0.8 voxels and the voxel itself.
    assert molecule.radius <= 10
