"""Long matrices some rows at a time, in memory and in mapped files."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from tomotwin_lib import rows as module
from tomotwin_lib.products import Grid, SimilarityMap
from tomotwin_lib.rows import MappedFile, blocks, memory_of, row_blocks, row_slices


def resident(memory: MappedFile) -> int:
    """Bytes of the file that this process has in memory."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    address = np.frombuffer(memory, dtype=np.uint8).__array_interface__["data"][0]
    start = next(i for i, line in enumerate(lines) if line.startswith(f"{address:x}-"))
    return 1024 * int(next(line for line in lines[start:] if line.startswith("Rss:")).split()[1])


@pytest.mark.parametrize(("count", "pieces"), [(0, []), (3, [3]), (4, [4]), (9, [4, 4, 1])])
def test_blocks_follow_each_other(count: int, pieces: list[int]) -> None:
    cut = list(blocks(count, 4))
    assert [block.stop - block.start for block in cut] == pieces
    assert [row for block in cut for row in range(block.start, block.stop)] == list(range(count))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="memory is told by Linux only")
def test_a_mapped_file_is_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 100, (400_000, 20), dtype=np.int32)
    values.tofile(tmp_path / "file")
    with (tmp_path / "file").open("rb") as stream:
        memory = MappedFile(stream.fileno(), 0, access=mmap.ACCESS_READ)
    mapped = np.frombuffer(memoryview(memory), dtype=np.int32).reshape(-1, 20)
    for view in (mapped, mapped.T, mapped[5:, 2], mapped[:, 1:3].T[::-1]):
        assert memory_of(view) is memory
    mapped.sum()
    assert resident(memory) > 30_000_000
    memory.let_go()
    monkeypatch.setattr(module, "_RESIDENT", 1_000_000)
    most = 0
    for block, part in zip(row_slices(mapped[:, 3], values), row_blocks(mapped), strict=True):
        np.testing.assert_array_equal(part, values[block])
        most = max(most, resident(memory))
    assert 0 < most < 12_000_000
    assert resident(memory) == 0
    np.testing.assert_array_equal(mapped, values)


def test_memory_of_what_is_in_memory() -> None:
    values = np.zeros((3, 4))
    assert memory_of(values) is values
    assert memory_of(values[1:].T[::-1]) is values


def test_the_map_of_one_reference_from_16_bits() -> None:
    grid = Grid((0, 0, 0), (1, 1, 1), (2, 2, 2))
    values = np.array([[0.25, 1], [0.5, 2], [0.75, 4]], dtype=np.float16)
    volume = SimilarityMap(values, ["a", "b"], grid, np.array([1, 2, 7])).volume(1, fill=-1)
    assert volume.dtype == np.float32
    assert volume.ravel().tolist() == [-1, 1, 2, -1, -1, -1, -1, 4]
    full = SimilarityMap(np.arange(16, dtype=np.float16).reshape(8, 2), ["a", "b"], grid)
    assert full.volume(0).ravel().tolist() == [0, 2, 4, 6, 8, 10, 12, 14]


def test_spread_of_finite_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "__defaults__", (2,))
    values = np.array([[60000, np.nan], [-2, np.inf], [60002, -np.inf]])
    similarity = SimilarityMap(values.astype(np.float32), ["a", "b"], Grid((0, 0, 0), (1, 1, 1), (1, 1, 3)))
    spread = similarity.spread()
    assert spread.lowest.tolist() == [-2, np.inf]
    assert spread.highest.tolist() == [60002, -np.inf]
    assert spread.mean[0] == 40000 and np.isnan(spread.mean[1])
