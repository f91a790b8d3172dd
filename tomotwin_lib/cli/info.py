"""``tomotwin info``: what is in a file."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tomotwin_lib.cli.coordinates import read_positions, voxel_sizes_told
from tomotwin_lib.cli.output import console, fail
from tomotwin_lib.errors import InputError

SUMMARY = "Say what is in a file: MRC, .temb, .tmap, .tloc, .tumap, .pth, .json, coordinates or ground truth."

Lines = Iterable[tuple[str, str]]
_FRAMES = (".temb", ".tmap", ".tloc", ".tumap")
_CHECKPOINTS = (".pth", ".pt", ".tar")
_VOLUMES = (".mrc", ".rec", ".map")
_SIZES = {int, float, type(None)}
_LONGEST = 160
_SLICES = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE",
        help="files to describe, or names of networks that ship, such as default, with their model cards",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Describe one file after the other; one that cannot be described does not hide those behind it."""
    failed: InputError | None = None
    for name in args.files:
        try:
            _print(name)
        except InputError as error:
            if failed is not None:
                fail(str(failed))
            failed = error
    if failed is not None:
        raise failed


def _print(name: str) -> None:
    from tomotwin_lib.networks.shipped_networks import model_card

    path = _file(name)
    lines = list(describe(path))
    out = console()
    out.print(name, style="bold", markup=False)
    width = max(len(key) for key, _ in lines)
    for key, value in lines:
        out.print(f"  {key:<{width}}  ", style="cyan", end="", markup=False)
        out.print(value, markup=False)
    if path.suffix.lower() in _CHECKPOINTS and (card := model_card(path)) is not None:
        out.print(f"\n{card}", markup=False)


def _file(name: str) -> Path:
    """A file as it is named; what has no ending and is no file is the name of a network."""
    from tomotwin_lib.networks.shipped_networks import find_network_file

    path = Path(name)
    return path if path.suffix or path.is_file() else find_network_file(name)


def describe(path: Path) -> Lines:
    """Pairs of name and value that describe a file.

    Raises
    ------
    InputError
        If the file cannot be read, or its ending tells of no kind that is known.
    """
    suffix = path.suffix.lower()
    if suffix in _VOLUMES:
        return _volume(path)
    if suffix in _FRAMES:
        return _frame(path)
    if suffix in _CHECKPOINTS:
        return _checkpoint(path)
    if suffix == ".json":
        return _json(path)
    if suffix in (".coords", ".cbox", ".star", ".txt"):
        return _coordinates(path)
    raise InputError(
        path, f"files ending in {suffix or 'nothing'} are not known", "Give one of the kinds in --help"
    )


def _volume(path: Path) -> Lines:
    import numpy as np

    from tomotwin_lib.formats.volumes import read_volume

    volume = read_volume(path)
    z, y, x = volume.data.shape
    size = volume.voxel_size_in_angstrom
    yield "kind", "MRC volume"
    yield "shape (z, y, x)", f"{z} × {y} × {x} voxels, {volume.data.dtype}"
    yield "voxel size", f"{size:g} Å" if size else "not in the header"
    if size:
        yield "extent (z, y, x)", " × ".join(f"{edge * size / 10:g}" for edge in (z, y, x)) + " nm"
    low, high, total, squares, bad = np.inf, -np.inf, 0.0, 0.0, 0
    for start in range(0, z, _SLICES):
        block = np.asarray(volume.data[start : start + _SLICES], dtype=np.float64)
        finite = block[np.isfinite(block)]
        bad += block.size - finite.size
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            total, squares = total + float(finite.sum()), squares + float(np.square(finite).sum())
    count = volume.data.size - bad
    if count:
        mean = total / count
        deviation = max(squares / count - mean**2, 0.0) ** 0.5
        yield "values", f"{low:g} to {high:g}, mean {mean:g}, standard deviation {deviation:g}"
    if bad:
        yield "not numbers", f"{bad:,} voxels are NaN or infinite: such a volume is refused"


def _frame(path: Path) -> Lines:
    from tomotwin_lib.formats.frames import read_frame

    frame = read_frame(path)
    kinds = {
        ".temb": "embedding of subvolumes" if "filepath" in frame else "embedding of a tomogram",
        ".tmap": "similarity map",
        ".tloc": "located picks",
        ".tumap": "low-dimensional embedding",
    }
    columns = [str(column) for column in frame.columns]
    yield "kind", kinds[path.suffix.lower()]
    yield "rows", f"{len(frame):,}"
    yield "columns", " ".join(columns if len(columns) <= 12 else [*columns[:6], "…", columns[-1]])
    if "predicted_class" in frame:
        names = frame.attrs.get("references", [])
        for index, count in frame["predicted_class"].value_counts().sort_index().items():
            name = names[int(index)] if 0 <= int(index) < len(names) else f"class {index}"  # type: ignore[call-overload]
            yield f"picks of {name}", f"{count:,}"
    yield from _attributes(frame.attrs)


def _checkpoint(path: Path) -> Lines:
    from tomotwin_lib.files import md5_of_file
    from tomotwin_lib.networks.averaging import AVERAGE_OF
    from tomotwin_lib.networks.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    weights = checkpoint["model_state_dict"]
    yield "kind", "checkpoint of a trained network"
    yield "network", str(checkpoint["tomotwin_config"].get("identifier", "not named"))
    yield "weights", f"{sum(tensor.numel() for tensor in weights.values()):,} in {len(weights)} tensors"
    for key in ("epoch", "loss", "best_loss", "best_f1"):
        if key in checkpoint:
            yield key, f"{float(checkpoint[key]):g}"
    if AVERAGE_OF in checkpoint:
        yield "mean of the weights of", ", ".join(map(str, checkpoint[AVERAGE_OF]))
    yield "md5", md5_of_file(path)
    yield from _attributes(checkpoint["tomotwin_config"])


def _json(path: Path) -> Lines:
    import json

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, f"it cannot be read ({error.strerror or error})", "Check the path") from error
    except ValueError as error:
        raise InputError(path, f"it is no JSON ({error})", "Correct the file") from error
    if isinstance(content, dict) and "identifier" in content:
        return _configuration(path)
    if isinstance(content, dict) and "backgrounds" in content:
        return _calibration(path)
    # JSON's true is a number to Python; null is a class without a size.
    if isinstance(content, dict) and content and {type(size) for size in content.values()} <= _SIZES:
        return _box_sizes(path)
    held = (
        f"its entries are {', '.join(list(content)[:6])}" if isinstance(content, dict) else "it has no names"
    )
    raise InputError(
        path,
        f"it is JSON of no kind that is known: {held}",
        "Give a network configuration, a calibration.json or box sizes",
    )


def _configuration(path: Path) -> Lines:
    from tomotwin_lib.networks.configuration import read_configuration
    from tomotwin_lib.networks.registry import build_network

    configuration = read_configuration(path)
    count = sum(weight.numel() for weight in build_network(configuration).parameters())
    yield "kind", "network configuration"
    yield "weights", f"{count:,}"
    yield from _attributes(configuration)


def _calibration(path: Path) -> Lines:
    from tomotwin_lib.formats.calibration import read_calibration

    calibration = read_calibration(path)
    yield "kind", "calibration: how often background reaches a similarity"
    yield "network", f"MD5 {calibration.model_md5}" if calibration.model_md5 else "not told"
    yield "references", f"{len(calibration.backgrounds):,}"
    for name, own in calibration.backgrounds.items():
        told = f"{own.tomograms} tomograms of {own.voxels:,.0f} voxels together, {len(own.similarities):,} "
        yield name, f"{told}false picks, known for similarities from {own.lowest:.3g}"


def _box_sizes(path: Path) -> Lines:
    from tomotwin_lib.formats.ground_truth import read_box_sizes

    sizes = read_box_sizes(path)
    assert isinstance(sizes, dict)
    yield "kind", "box sizes, in voxels"
    yield "classes", f"{len(sizes):,}"
    yield from ((name, str(size)) for name, size in sizes.items())


def _coordinates(path: Path) -> Lines:
    from tomotwin_lib.formats.ground_truth import read_particle_positions

    positions = read_particle_positions(path) if path.suffix.lower() == ".txt" else read_positions(path)
    yield "kind", "ground truth" if "class" in positions else "coordinates"
    yield "particles", f"{len(positions):,}"
    if sizes := voxel_sizes_told(positions):
        yield "voxel size", ", ".join(f"{size:g} Å" for size in sizes)
    if len(positions):
        for axis in "XYZ":
            yield axis, f"{positions[axis].min():g} to {positions[axis].max():g} voxels"
    if "class" in positions:
        yield from ((str(name), f"{count:,}") for name, count in positions["class"].value_counts().items())


def _attributes(attributes: Mapping[Any, Any], prefix: str = "") -> Lines:
    """Attributes, nested dictionaries with dotted names, what is long cut short."""
    for key, value in attributes.items():
        if isinstance(value, Mapping) and value:
            yield from _attributes(value, f"{prefix}{key}.")
            continue
        shape = getattr(value, "shape", None)
        text = f"array of shape {tuple(shape)}" if shape else " ".join(str(value).split())
        yield f"{prefix}{key}", text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
