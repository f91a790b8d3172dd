"""A data set of crowded specimens: tomograms with the truth and class masks, references, training subvolumes.

Laid out as :mod:`tomotwin_lib.simulation.dataset` does, and so that the platform reads it as it is. What is
trained on is cut from other simulated tomograms than those to be picked, and the references from yet others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tomotwin_lib.devices import resolve_device
from tomotwin_lib.errors import InputError
from tomotwin_lib.figures import save_figure, simulated_slices
from tomotwin_lib.figures.simulated import Slices
from tomotwin_lib.files import atomic_path, ensure_writable_folder, write_json
from tomotwin_lib.formats.ground_truth import write_box_sizes, write_particle_positions
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.simulation.dataset import GREY_LEVELS, VALIDATION_SHARE, SimulatedDataset
from tomotwin_lib.simulation.distractors import Distractors
from tomotwin_lib.simulation.folder import RECORD, holds, model_path, staged
from tomotwin_lib.simulation.imaging import ImagedTomogram, image_specimen
from tomotwin_lib.simulation.imaging_settings import Imaging
from tomotwin_lib.simulation.made_up_molecules import made_up_molecules
from tomotwin_lib.simulation.microscope import Float32Array, Shape
from tomotwin_lib.simulation.molecules import Molecule, molecule_of_kind, read_molecule
from tomotwin_lib.simulation.particles import KINDS, WINDOW
from tomotwin_lib.simulation.recipe import Recipe
from tomotwin_lib.simulation.specimen import Specimen, build_specimen, mask_volume
from tomotwin_lib.simulation.structures import find_structures

VERSION = "labelled 1"
"""To be raised whenever the same recipe gives other bytes."""

CROWDING_OF_CUTS = 0.06
"""Share of the volume that particles take up in tomograms that subvolumes are cut from."""

FULLEST = 0.3
"""Share of the volume that random placing can fill in reasonable time."""

MASK_NAMES = "class_masks.json"
_TRIES_OF_CUTS = 3  # cut tomograms in a row in which none of the molecules still wanted found room
_HALF = WINDOW // 2


class _Source:
    """The molecules of a recipe at any voxel size in Å; those of the last one asked for are kept."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._last: tuple[float, list[Molecule]] | None = None

    def at(self, voxel_size: float) -> list[Molecule]:
        if self._last is None or self._last[0] != voxel_size:
            self._last = voxel_size, _molecules(self.recipe, voxel_size)
        return self._last[1]


def simulate_labelled_dataset(
    output: str | Path,
    recipe: Recipe,
    *,
    device: str = "cpu",
    model_name: str = "small",
    model_configuration: dict[str, Any] | None = None,
    progress: bool = True,
) -> SimulatedDataset:
    """Simulate a data set after a recipe, or find it made already.

    Tomograms (particles dark) and subvolumes and references (bright) are 8-bit MRC files. ``ground_truth/``
    holds for each tomogram ``class X Y Z phi psi theta`` (see
    :class:`~tomotwin_lib.simulation.tomograms.SimulatedTomogram`) and a class mask of 16-bit integers, the
    names of whose values are in ``class_masks.json``; ``simulation.png`` shows slices of the tomograms, with
    and without noise. Every tomogram has random numbers of its own, so more of them leave the others as they
    were.

    Parameters
    ----------
    output : the data set's folder: new, empty, or made before after the same recipe.
    recipe : what to simulate.
    device : where tomograms are computed.
    model_name, model_configuration : where given, the configuration is written to ``models/<name>.json``.
    progress : show a bar.

    Raises
    ------
    InputError
        If a structure cannot be read, two molecules have one code, they do not fit, or the folder holds
        anything else than this data set, or another model of that name.
    """
    output = Path(output)
    parameters = recorded_parameters(recipe)
    reused = holds(output, parameters)
    model = None
    if model_configuration is not None:
        text = json.dumps(model_configuration, indent=4) + "\n"
        model = model_path(output, model_name, text)
    device = str(resolve_device(device))
    if not reused:
        ensure_writable_folder(output)
        source = _Source(recipe)
        _check_room(recipe, source.at(recipe.reference_voxel_size_in_angstrom))
        with staged(output) as folder:
            _write_dataset(folder, recipe, source, device, progress)
            files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
            record = json.dumps({"parameters": parameters, "files": files}, indent=1)
            (folder / RECORD).write_text(record + "\n", encoding="utf-8")
    if model is not None and not model.exists():
        with atomic_path(model) as temporary:
            temporary.write_text(text, encoding="utf-8")
    truth, names = output / "ground_truth", _names(recipe)
    box_sizes = truth / "boxsizes.json"
    return SimulatedDataset(
        folder=output,
        tomograms=[output / "tomograms" / f"{name}.mrc" for name in names],
        references=[output / "references" / f"{code}.mrc" for code in json.loads(box_sizes.read_bytes())],
        training=output / "subvolumes" / "train",
        validation=output / "subvolumes" / "valid",
        positions=[truth / f"{name}.txt" for name in names],
        box_sizes=box_sizes,
        reused=reused,
        model=model,
        masks=[truth / f"{name}_mask.mrc" for name in names],
        mask_names=truth / MASK_NAMES if names else None,
        picture=output / "simulation.png" if names else None,
    )


def recorded_parameters(recipe: Recipe) -> dict[str, Any]:
    """What the record of a data set says that it was made with."""
    return {"version": VERSION, **recipe.recorded()}


def _molecules(recipe: Recipe, voxel_size: float) -> list[Molecule]:
    files = find_structures(recipe.structures)
    molecules = [read_molecule(path, voxel_size) for path in files]
    molecules += made_up_molecules(recipe.made_up, recipe.seed, voxel_size)
    if not molecules:
        molecules = [molecule_of_kind(kind, voxel_size) for kind in KINDS.values()]
    double = [code for code, count in Counter(molecule.code for molecule in molecules).items() if count > 1]
    if double:
        alike = [path.name for path, one in zip(files, molecules, strict=False) if one.code == double[0]]
        raise InputError(
            "structures",
            f"{' and '.join(alike)} give the label {double[0]}"
            + ("" if len(alike) > 1 else ", which a made-up molecule has"),
            "Rename one of them",
        )
    return molecules


def _check_room(recipe: Recipe, molecules: list[Molecule]) -> None:
    """Refuse what cannot be placed, before anything is simulated."""
    least, _ = recipe.voxel_size_in_angstrom
    shapes = [recipe.cut_shape]
    if recipe.tomograms:
        depth = recipe.tomogram_shape[0]
        if recipe.thickness_in_nanometres is not None:
            depth = min(depth, round(10 * recipe.thickness_in_nanometres[0] / least))
        shapes.append((depth, *recipe.tomogram_shape[1:]))
    for shape in shapes:
        for molecule in molecules:
            # Built-in shapes are as large in voxels at any voxel size.
            built_in = not recipe.structures and not recipe.made_up
            size = 1.0 if built_in else molecule.voxel_size_in_angstrom / least
            if 2 * molecule.radius * size + 1 > min(shape):
                raise InputError(
                    molecule.code,
                    f"its {2 * molecule.radius * molecule.voxel_size_in_angstrom:.0f} Å do not fit into "
                    f"{' × '.join(map(str, shape))} voxels (z × y × x) of {least:g} Å",
                    "Ask for larger tomograms, thicker ice or larger voxels, or leave it out",
                )
    if recipe.tomograms and recipe.particles_per_class is not None:
        wanted = recipe.particles_per_class * sum(map(mask_volume, molecules))
        share = wanted / np.prod(shapes[-1])
        if share > FULLEST:
            raise InputError(
                "particles per class",
                f"{recipe.particles_per_class} of each of {len(molecules)} molecules take up {share:.0%} of "
                f"the ice; at most {FULLEST:.0%} can be filled",
                f"Ask for at most {int(recipe.particles_per_class * FULLEST / share)} or a larger tomogram",
            )


def _write_dataset(folder: Path, recipe: Recipe, source: _Source, device: str, progress: bool) -> None:
    molecules = source.at(recipe.reference_voxel_size_in_angstrom)
    sizes = {molecule.code: molecule.box_size for molecule in molecules}
    write_box_sizes(folder / "ground_truth" / "boxsizes.json", sizes)
    wanted = recipe.subvolumes_per_class
    cuts = {
        "references": (3, 1),
        "subvolumes/train": (1, wanted),
        "subvolumes/valid": (2, -(-wanted // VALIDATION_SHARE)),
    }
    total = recipe.tomograms + len(molecules) * sum(count for _, count in cuts.values())
    slices = []
    with tqdm(total=total, desc="Simulating", unit="file", disable=not progress) as bar:
        for place, (stream, count) in cuts.items():
            for _ in _write_subvolumes(folder / place, recipe, source, stream, count, device):
                bar.update()
        for number, name in enumerate(_names(recipe)):
            slices.append(_write_tomogram(folder, name, recipe, source, number, device))
            bar.update()
    if slices:
        save_figure(folder / "simulation.png", simulated_slices(slices))


def _write_tomogram(
    folder: Path, name: str, recipe: Recipe, source: _Source, number: int, device: str
) -> Slices:
    rng = np.random.default_rng([recipe.seed, 0, number])
    imaging = recipe.draw_imaging(rng)
    molecules = source.at(imaging.voxel_size_in_angstrom)
    depth = recipe.tomogram_shape[0]
    voxel, thickness = imaging.voxel_size_in_angstrom, imaging.thickness_in_nanometres
    ice = depth if thickness is None else min(depth, round(10 * thickness / voxel))
    specimen = build_specimen(
        (ice, *recipe.tomogram_shape[1:]),
        molecules,
        rng=rng,
        particles_per_class=recipe.particles_per_class,
        crowding=recipe.crowding,
        distractors=Distractors() if recipe.distractors else None,
        device=device,
    )
    specimen = _in_the_middle(specimen, depth)
    if specimen.particles.empty:
        raise InputError(
            "crowding", f"no particle found room in {name}", "Ask for more crowding or a larger tomogram"
        )
    tomogram = _imaged(specimen, len(molecules), imaging, rng, recipe, device)
    truth = folder / "ground_truth"
    write_volume(folder / "tomograms" / f"{name}.mrc", _grey(tomogram.data), voxel)
    write_particle_positions(truth / f"{name}.txt", specimen.particles)
    write_volume(truth / f"{name}_mask.mrc", specimen.class_mask.astype(np.int16), voxel)
    write_json(truth / MASK_NAMES, {"0": "background", **{str(k): v for k, v in specimen.names.items()}})
    title = f"{name}: SNR {tomogram.snr:.2g}, {imaging.defocus_in_micrometres:.1f} µm, {voxel:.3g} Å a voxel"
    middle = depth // 2
    return Slices(
        title,
        tomogram.signal[middle].copy(),
        tomogram.data[middle].copy(),
        specimen.class_mask[middle].copy(),
        len(molecules),
    )


def _in_the_middle(specimen: Specimen, depth: int) -> Specimen:
    """A specimen with empty space above and below, ``depth`` voxels deep in all."""
    lower = (depth - len(specimen.density)) // 2
    around = ((lower, depth - len(specimen.density) - lower), (0, 0), (0, 0))
    return replace(
        specimen,
        density=np.pad(specimen.density, around),
        class_mask=np.pad(specimen.class_mask, around),
        particles=specimen.particles.assign(Z=specimen.particles["Z"] + lower),
    )


def _imaged(
    specimen: Specimen,
    classes: int,
    imaging: Imaging,
    rng: np.random.Generator,
    recipe: Recipe,
    device: str,
) -> ImagedTomogram:
    particles = (specimen.class_mask >= 1) & (specimen.class_mask <= classes) & (specimen.density >= 0.5)
    return image_specimen(specimen.density, imaging, rng, recipe.method, inside=particles, device=device)


def _write_subvolumes(
    folder: Path, recipe: Recipe, source: _Source, stream: int, count: int, device: str
) -> Iterator[Path]:
    """Cut ``count`` windows of each molecule from as many tomograms as that takes; yields each file."""
    is_reference = folder.name == "references"
    codes = [one.code for one in source.at(recipe.reference_voxel_size_in_angstrom)]
    missing = dict.fromkeys(codes, count)
    number = idle = 0
    while any(missing.values()):
        rng = np.random.default_rng([recipe.seed, stream, number])
        fixed = recipe.reference_voxel_size_in_angstrom if is_reference else None
        imaging = recipe.draw_imaging(rng, voxel_size=fixed)
        molecules = [one for one in source.at(imaging.voxel_size_in_angstrom) if missing[one.code]]
        margin = max([float(_HALF), *(molecule.radius for molecule in molecules)])
        specimen = build_specimen(
            recipe.cut_shape,
            molecules,
            rng=rng,
            crowding=_crowding_of_cuts(recipe.cut_shape, molecules, margin, missing),
            distractors=Distractors() if recipe.distractors and not is_reference else None,
            margin=margin,
            device=device,
        )
        number, idle = number + 1, idle + 1
        if specimen.particles.empty:
            if idle == _TRIES_OF_CUTS:
                raise InputError(
                    "cut shape", f"{molecules[0].code} found no room in it", "Choose a larger one"
                )
            continue
        idle = 0
        tomogram = _imaged(specimen, len(molecules), imaging, rng, recipe, device)
        bright = -_grey(tomogram.data)
        for molecule in molecules:
            own = specimen.particles[specimen.particles["class"] == molecule.code]
            for z, y, x in np.rint(own[["Z", "Y", "X"]].to_numpy(np.float64)[: missing[molecule.code]]):
                window = bright[_around(z), _around(y), _around(x)]
                index = count - missing[molecule.code]
                # The code comes before any number: a label is the first digit and what follows it.
                name = molecule.code if is_reference else f"sim_{molecule.code}_{index:04d}"
                path = folder / f"{name}.mrc"
                write_volume(path, window, imaging.voxel_size_in_angstrom)
                missing[molecule.code] -= 1
                yield path


def _crowding_of_cuts(
    shape: Shape, molecules: list[Molecule], margin: float, missing: dict[str, int]
) -> float:
    """A usual crowd in the room that centres may have, but at least one of each and no more than wanted."""
    room = float(np.prod([max(1.0, size - 2 * margin) for size in shape]))
    volumes = [mask_volume(molecule) for molecule in molecules]
    most = sum(volume * missing[one.code] for volume, one in zip(volumes, molecules, strict=True))
    wanted = min(max(CROWDING_OF_CUTS * room, max(volumes)), most)
    # A little more, so that rounding does not leave the last one out.
    return min(1.001 * wanted / float(np.prod(shape)), FULLEST)


def _around(middle: float) -> slice:
    return slice(int(middle) - _HALF, int(middle) + _HALF + 1)


def _grey(data: Float32Array) -> npt.NDArray[np.int8]:
    """A tomogram in 8 bits, symmetric about 0; gold, which is far out, neither counts nor fits."""
    middle = np.median(data)
    deviation = 1.4826 * np.median(np.abs(data - middle))
    return np.clip(np.rint((data - middle) * (GREY_LEVELS / deviation)), -127, 127).astype(np.int8)


def _names(recipe: Recipe) -> list[str]:
    return [f"simulated_{number:02d}" for number in range(1, recipe.tomograms + 1)]
