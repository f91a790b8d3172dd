"""Molecules from maps, atomic models and built-in shapes: centred, scaled, as large as they are."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.ground_truth import read_box_sizes
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.simulation.molecules import Molecule, density_of_points, molecule_of_kind, read_molecule
from tomotwin_lib.simulation.particles import KINDS

SHARED = Path(__file__).parents[4] / "shared" / "data"


def gaussian(edge: int, centre: tuple[float, float, float], sigma: float) -> np.ndarray:
    points = np.indices((edge,) * 3) - np.array(centre)[:, None, None, None]
    return np.exp(-0.5 * (points**2).sum(axis=0) / sigma**2).astype(np.float32)


def spread(density: np.ndarray) -> float:
    """Deviation along an axis about the centre, in voxels."""
    offsets = np.indices(density.shape) - len(density) // 2
    return float(np.sqrt((offsets**2 * density).sum() / 3 / density.sum()))


def atom(serial: int, x: float, y: float, z: float, name: str = "C", residue: str = "ALA") -> str:
    return (
        f"ATOM  {serial:5d}  {name:<3s} {residue} A{serial:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00"
        f"           {name[0]}\n"
    )


@pytest.mark.parametrize("stored", [4.0, 10.0, 13.0], ids=["finer", "same", "coarser"])
def test_a_map_is_resampled_centred_and_scaled(tmp_path: Path, stored: float) -> None:
    # A Gaussian of 30 Å deviation, off the centre, on a pedestal, in units of its own.
    sigma = 30.0 / stored
    edge = int(10 * sigma) | 1
    centre = (edge // 2 + 1.3, edge // 2 - 0.6, edge // 2 + 0.4)
    path = tmp_path / "map_1abc.mrc"
    write_volume(path, 40 * gaussian(edge, centre, sigma) + 7, stored)
    molecule = read_molecule(path, 10.0)
    assert molecule.code == "1abc"
    assert molecule.density.shape[0] % 2 == 1 and len(set(molecule.density.shape)) == 1
    middle = len(molecule.density) // 2
    np.testing.assert_allclose(center_of_mass(molecule.density), [middle] * 3, atol=0.05)
    # Narrower than 3 voxels by the tails that count as noise, wider by the low-pass of finer maps.
    cut = gaussian(31, (15, 15, 15), 3.0)
    assert spread(molecule.density) == pytest.approx(spread(np.where(cut < 0.03, 0, cut)), abs=0.12)
    bright = molecule.density[molecule.density > 0.1 * molecule.density.max()]
    assert np.percentile(bright, 90) == pytest.approx(1)
    # A Gaussian falls to a tenth at sqrt(2 ln 10) = 2.15 deviations.
    assert molecule.radius == pytest.approx(2.15 * 3, abs=0.5)
    assert molecule.box_size == 15


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_built_in_shape_has_its_own_extent(kind) -> None:
    molecule = molecule_of_kind(kind)
    assert molecule.code == kind.code
    assert abs(molecule.box_size - kind.box_size) <= 2
    faces = [np.take(molecule.density, end, axis).max() for axis in range(3) for end in (0, -1)]
    assert max(faces) == 0


def test_boxes_are_those_of_the_benchmark() -> None:
    if not (SHARED / "densities").is_dir():
        pytest.skip("the shared densities are not here")
    sizes = read_box_sizes(SHARED / "picking" / "boxsizes.json")
    assert isinstance(sizes, dict)
    for path in sorted((SHARED / "densities").glob("*.mrc")):
        molecule = read_molecule(path)
        # The benchmark's boxes end at its window of 37 voxels.
        assert min(molecule.box_size, 37) == sizes[molecule.code]


def test_points_keep_their_volume_and_their_frame() -> None:
    # Two heavy points along x and a light one along z: their centre of mass is at x = 0.
    points = np.array([[-40.0, 0, 0], [40.0, 0, 0], [0, 0, 60.0]])
    density = density_of_points(points, np.array([9000.0, 9000.0, 4000.0]), 10.0)
    middle = len(density) // 2
    # Lone points lose a tenth with their tails.
    assert density.sum() == pytest.approx(22, rel=0.12)
    np.testing.assert_allclose(center_of_mass(density), [middle] * 3, atol=0.1)
    along_x = density.sum(axis=(0, 1))
    assert np.flatnonzero(along_x > 0.5 * along_x.max()).tolist() == [middle - 4, middle + 4]
    # z of the points is the first axis: the light one sits 49 Å above the centre.
    assert density[middle + 5, middle, middle] > 10 * density[middle - 5, middle, middle]


def test_an_atomic_model_is_read_without_its_waters(tmp_path: Path) -> None:
    pytest.importorskip("gemmi")
    # 27 clusters of 64 carbon atoms each, 12 Å apart, and a water far away.
    corners = np.stack(np.meshgrid(*[np.arange(12)] * 3), axis=-1).reshape(-1, 3) * 3.0 + 100
    lines = [atom(index % 9999 + 1, *corner) for index, corner in enumerate(corners)]
    water = atom(9000, 500, 0, 0, "O", "HOH").replace("ATOM  ", "HETATM")
    path = tmp_path / "1abc.pdb"
    path.write_text("".join(lines) + water + "END\n")
    molecule = read_molecule(path)
    assert molecule.code == "1abc"
    np.testing.assert_allclose(center_of_mass(molecule.density), [len(molecule.density) // 2] * 3, atol=0.05)
    # A cube of 36 Å: half its space diagonal is 3 voxels, and its edge is smeared by 0.8.
    assert 3 <= molecule.radius <= 5


def test_a_model_is_multiplied_to_its_biological_assembly(tmp_path: Path) -> None:
    pytest.importorskip("gemmi")
    from tomotwin_lib.simulation.atomic_models import read_atoms

    remark = (
        "REMARK 350 BIOMOLECULE: 1\n"
        "REMARK 350 APPLY THE FOLLOWING TO CHAINS: A\n"
        "REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000\n"
        "REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000\n"
        "REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000\n"
        "REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000        0.00000\n"
        "REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000\n"
        "REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000\n"
    )
    path = tmp_path / "2abc.pdb"
    path.write_text(remark + atom(1, 10, 20, 30) + atom(2, 12, 20, 30) + "END\n")
    points, masses = read_atoms(path)
    assert sorted(map(tuple, points.tolist())) == [
        (-12, -20, 30), (-10, -20, 30), (10, 20, 30), (12, 20, 30)
    ]  # fmt: skip
    np.testing.assert_allclose(masses, 12.011 * 1.07, rtol=1e-3)


def test_mmcif_and_compressed_files_tell_the_same(tmp_path: Path) -> None:
    gemmi = pytest.importorskip("gemmi")
    from tomotwin_lib.simulation.atomic_models import read_atoms

    lines = "".join(atom(number, 5.0 * number, 20, -3.0 * number) for number in range(1, 9))
    (tmp_path / "1abc.pdb").write_text(lines + "END\n")
    structure = gemmi.read_structure(str(tmp_path / "1abc.pdb"))
    structure.make_mmcif_document().write_file(str(tmp_path / "1abc.cif"))
    (tmp_path / "1abc.cif.gz").write_bytes(gzip.compress((tmp_path / "1abc.cif").read_bytes()))
    expected = read_atoms(tmp_path / "1abc.pdb")[0]
    for name in ("1abc.cif", "1abc.cif.gz"):
        np.testing.assert_allclose(read_atoms(tmp_path / name)[0], expected, atol=1e-3)
        molecule = read_molecule(tmp_path / name)
        assert molecule.code == "1abc" and molecule.radius > 1


def test_what_cannot_be_used_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = gaussian(15, (7, 7, 7), 2)
    write_volume(tmp_path / "1abc.mrc", blob, None)
    with pytest.raises(InputError, match="voxel size"):
        read_molecule(tmp_path / "1abc.mrc")
    write_volume(tmp_path / "2abc.mrc", -blob, 10.0)
    with pytest.raises(InputError, match="darker"):
        read_molecule(tmp_path / "2abc.mrc")
    write_volume(tmp_path / "protein.mrc", blob, 10.0)
    with pytest.raises(InputError, match="label"):
        read_molecule(tmp_path / "protein.mrc")
    assert read_molecule(tmp_path / "protein.mrc", code="mine").code == "mine"
    (tmp_path / "3abc.cif").write_text("no model")
    monkeypatch.setitem(sys.modules, "gemmi", None)
    with pytest.raises(InputError, match=r"tomotwin-assets\[structures\]"):
        read_molecule(tmp_path / "3abc.cif")


@pytest.mark.parametrize("text", ["no model", ""], ids=["text", "empty"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, text: str) -> None:
    pytest.importorskip("gemmi")
    for name in ("3abc.cif", "3abc.pdb"):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=name):
            read_molecule(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        read_molecule(tmp_path / "4abc.pdb")


def test_the_finer_density_passes_through_the_coarser_one() -> None:
    molecule = Molecule("1abc", "blob", gaussian(15, (7, 7, 7), 2.0), 10.0)
    np.testing.assert_allclose(molecule.fine_density[::2, ::2, ::2], molecule.density, atol=1e-3)
