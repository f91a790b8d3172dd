"""From a tomogram to its picks: memory above all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import numpy.typing as npt

from benchmarks.child import child_process
from benchmarks.inputs import BOX_SIZE, blurred_noise, fully_convolutional
from benchmarks.result import Disagreement, StageResult
from benchmarks.timing import Settings, Side, grow
from tomotwin_lib.embedding.subvolumes import embed_subvolumes
from tomotwin_lib.formats.frames import write_picks
from tomotwin_lib.formats.volumes import read_volume, write_volume
from tomotwin_lib.locating import locate
from tomotwin_lib.networks.checkpoint import load_network, save_checkpoint
from tomotwin_lib.products import SimilarityMap
from tomotwin_lib.scoring import score_tomogram

Shape = tuple[int, int, int]

WIDTH = 24
WINDOW = 37
REFERENCES = 4
REQUIRED_BYTES = 8_000_000_000
LARGE: Shape = (300, 1000, 1000)
#: Least similarity of a particle to its reference, of which it is a copy.
LEAST_SIMILARITY = 0.9
#: Particles are smoother than noise; the untrained network finds them wherever its grid meets their middle.
PARTICLE_BLUR = 3
_PLANES = 8


def measure_memory(settings: Settings) -> list[StageResult]:
    """Tomograms that two cores embed in seconds."""
    width: int = settings.pick(WIDTH, 2)
    shapes: list[Shape] = settings.pick(
        [(40, 80, 80), (40, 120, 120), (50, 160, 160), (60, 200, 200)],
        [(38, 80, 80), (38, 84, 84), (38, 88, 88), (38, 92, 92)],
    )
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[int, Side] = {}
        for shape in shapes:
            own = Path(folder) / str(len(sides))
            _written(own, shape, width, settings)
            sides[int(np.prod(shape))] = Side(to_picks, (own,))
        growth = grow("voxels", sides, settings)
    return [
        StageResult(
            name="tomogram to picks",
            input=_told(shapes[-1], width),
            ours_seconds=growth.seconds[-1],
            peak_bytes=growth.peak_bytes[-1],
            growth=growth,
            note="at 300 × 1000 × 1000: make bench-large",
        )
    ]


def measure_large(settings: Settings) -> list[StageResult]:
    """The tomogram that has to fit into 8 GB."""
    width: int = settings.pick(WIDTH, 2)
    shape: Shape = settings.pick(LARGE, (40, 80, 84))
    with tempfile.TemporaryDirectory() as folder, child_process(settings.threads) as child:
        _written(Path(folder), shape, width, settings)
        child.prepare(to_picks, Path(folder))
        run = child.run(keep=True)
    return [
        StageResult(
            name="tomogram to picks",
            input=_told(shape, width),
            ours_seconds=run.seconds,
            peak_bytes=run.peak_bytes,
            required_peak_bytes=REQUIRED_BYTES,
            note=f"{run.result:,} picks",
        )
    ]


def to_picks(folder: Path) -> Callable[[], int]:
    """All that ``tomotwin embed tomogram --references`` does, files included; returns the number of picks."""

    def run() -> int:
        loaded = load_network(folder / "network.pth", "cpu")
        references = embed_subvolumes(loaded, sorted((folder / "references").iterdir()), progress=False)
        scored = score_tomogram(loaded, read_volume(folder / "tomogram.mrc"), references, progress=False)
        _require_particles(scored, np.load(folder / "truth.npy"))
        picks = locate(scored, box_sizes=BOX_SIZE, progress=False)
        write_picks(folder / "located.tloc", picks)
        return len(picks)

    return run


def write_input(folder: Path, shape: Shape, width: int) -> Callable[[], None]:
    """Write a network, references and a tomogram of noise in which copies of the references lie."""

    def run() -> None:
        (folder / "references").mkdir(parents=True)
        loaded = fully_convolutional(width)
        save_checkpoint(
            folder / "network.pth",
            loaded.network,
            loaded.configuration,
            epoch=0,
            loss=0,
            best_loss=0,
            best_f1=0,
        )
        cubes = [blurred_noise((WINDOW,) * 3, 20 + number, PARTICLE_BLUR) for number in range(REFERENCES)]
        for number, cube in enumerate(cubes):
            write_volume(folder / "references" / f"1aa{chr(ord('a') + number)}.mrc", cube, 10.0)
        truth = []
        path = folder / "tomogram.mrc"
        with mrcfile.new_mmap(path, shape=shape, mrc_mode=2, overwrite=True) as mrc:
            for first in range(0, shape[0], _PLANES):
                planes = mrc.data[first : first + _PLANES]
                planes[:] = blurred_noise(planes.shape, first)
            # A lattice that is wider than a window, and even, so that the grid has a position in each middle.
            corners = [np.arange(0, edge - WINDOW + 1, WINDOW + 1) for edge in shape]
            places = np.stack(np.meshgrid(*corners, indexing="ij"), axis=-1).reshape(-1, 3)
            for row, (z, y, x) in enumerate(np.random.default_rng(12).permutation(places)[:200].tolist()):
                mrc.data[z : z + WINDOW, y : y + WINDOW, x : x + WINDOW] = -cubes[row % REFERENCES]
                truth.append((row % REFERENCES, *(corner + WINDOW // 2 for corner in (z, y, x))))
        np.save(folder / "truth.npy", np.array(truth))

    return run


def _told(shape: Shape, width: int) -> str:
    voxels = " × ".join(map(str, shape))
    return f"{voxels} voxels, stride 2, width {width}, {REFERENCES} references"


def _written(folder: Path, shape: Shape, width: int, settings: Settings) -> None:
    """Write the input in a process of its own, whose memory does not count."""
    with child_process(settings.threads) as child:
        child.prepare(write_input, folder, shape, width)
        child.run()


def _require_particles(scored: SimilarityMap, truth: npt.NDArray[np.int64]) -> None:
    """Each copy of a reference, rows (reference, z, y, x) in voxels, must look like it where it was put."""
    sites = np.ravel_multi_index(tuple(truth[:, 1:].T // scored.grid.stride[0]), scored.grid.shape)
    found = scored.values[sites, truth[:, 0]]
    if not found.min() >= LEAST_SIMILARITY:
        raise Disagreement(
            f"tomogram to picks: a copy of a reference has a similarity of {found.min():.2f} to it"
        )
