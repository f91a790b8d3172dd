"""Pieces worked on in several threads: the results of one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tomotwin_lib import similarity as similarity_module
from tomotwin_lib.products import Grid, ReferenceEmbedding, TomogramEmbedding
from tomotwin_lib.refinement import refine_references
from tomotwin_lib.similarity import similarity_map
from tomotwin_lib.threads import in_threads


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """The number of threads that PyTorch computes with."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_and_few_ahead(threads: int) -> None:
    taken = 0

    def pieces() -> Iterator[int]:
        nonlocal taken
        for piece in range(40):
            taken += 1
            yield piece

    def later(piece: int) -> int:
        time.sleep(0.002 * (piece % 3))
        return 10 * piece

    seen = []
    for result in in_threads(later, pieces()):
        seen.append(result)
        assert taken - len(seen) <= (0 if threads == 1 else 2 * threads)
    assert seen == [10 * piece for piece in range(40)]


def test_each_thread_computes_by_itself_and_the_number_is_put_back(threads: int) -> None:
    numbers = set(in_threads(lambda piece: torch.get_num_threads(), range(20)))
    assert numbers == {1}
    assert torch.get_num_threads() == threads
    late: list[int] = []
    thread = threading.Thread(target=lambda: late.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert late == [threads]


def test_an_error_ends_it(threads: int) -> None:
    def refuse(piece: int) -> int:
        if piece == 5:
            raise ValueError("five")
        return piece

    with pytest.raises(ValueError, match="five"):
        list(in_threads(refuse, range(1000)))
    assert torch.get_num_threads() == threads


def test_maps_and_refinement_are_those_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity_module.blocks, "__defaults__", (16,))
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((500, 6)).astype(np.float16)
    tomogram = TomogramEmbedding(vectors, Grid((0, 0, 0), (1, 1, 1), (1, 1, len(vectors))))
    references = ReferenceEmbedding(rng.standard_normal((4, 6)).astype(np.float32), list("abcd"))
    before = torch.get_num_threads()
    results = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            refined = refine_references(tomogram, references, neighbours=30)
            results.append((refined.vectors, similarity_map(tomogram, refined, progress=False).values))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
