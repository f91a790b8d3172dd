"""The frame formats: columns and attributes as TomoTwin has them, grids back from coordinates."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.frames import (
    read_frame,
    read_picks,
    read_reference_embedding,
    read_similarity_map,
    read_tomogram_embedding,
    write_frame,
    write_picks,
    write_reference_embedding,
    write_similarity_map,
    write_tomogram_embedding,
)
from tomotwin_lib.products import Grid, ReferenceEmbedding, SimilarityMap, TomogramEmbedding
from tomotwin_lib.rows import MappedFile, memory_of
from tomotwin_lib.similarity import Comparison, similarity_map

GRID = Grid(origin=(18, 0, 5), stride=(2, 3, 4), shape=(3, 4, 5))
LINEAGE: dict[str, Any] = {
    "filepath": "tomogram.mrc",
    "modelpth": "model.pth",
    "modelmd5": "5ce95a224112d9fe1eec766bbce114dd",
    "window_size": 37,
    "tomogram_input_shape": (40, 80, 60),
    "padding": True,
    "tomotwin_config": {"identifier": "Resnet", "network_config": {"depth": 10, "margin": None, "f": 0.5}},
}


def unit_vectors(rows: int, channels: int = 32) -> np.ndarray:
    vectors = np.random.default_rng(rows).normal(size=(rows, channels)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_like_tomotwin(
    path: Path, positions: np.ndarray, kind: type = np.float16, **attributes: Any
) -> None:
    """A ``.temb`` of given positions (z, y, x), one channel that counts the rows, in 16-bit floats."""
    with np.errstate(over="ignore"):
        frame = pd.DataFrame(positions.astype(kind), columns=["Z", "Y", "X"])
    frame["0"] = np.arange(len(frame), dtype=np.float32)
    frame.attrs = attributes
    frame.to_pickle(path, compression=None)


@pytest.mark.parametrize("sites", [None, np.array([0]), np.array([3, 4, 17, 59])])
def test_tomogram_embedding_round_trip(tmp_path: Path, sites: np.ndarray | None) -> None:
    vectors = unit_vectors(GRID.size if sites is None else len(sites))
    path = tmp_path / "t_embeddings.temb"
    write_tomogram_embedding(path, TomogramEmbedding(vectors, GRID, sites, LINEAGE))
    read = read_tomogram_embedding(path)
    assert read.grid == GRID
    np.testing.assert_equal(read.sites, sites)
    assert read.vectors.dtype == np.float16 and read.vectors.flags.c_contiguous
    np.testing.assert_array_equal(read.vectors, vectors.astype(np.float16))
    np.testing.assert_allclose(read.vectors, vectors, atol=2e-3)
    assert read.attributes == {**LINEAGE, "stride": [4, 3, 2]}
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_rows_of_a_tomogram_embedding_worked_by_hand(tmp_path: Path) -> None:
    grid = Grid(origin=(18, 20, 22), stride=(1, 2, 3), shape=(2, 1, 2))
    write_tomogram_embedding(tmp_path / "t.temb", TomogramEmbedding(unit_vectors(4, 2), grid, None, {}))
    frame = pd.read_pickle(tmp_path / "t.temb")
    assert list(frame.columns) == ["Z", "Y", "X", "0", "1"]
    assert frame[["Z", "Y", "X"]].to_numpy().tolist() == [
        [18, 20, 22],
        [18, 20, 25],
        [19, 20, 22],
        [19, 20, 25],
    ]
    assert frame.attrs["stride"] == [3, 2, 1]  # x, y, z
    assert frame.index.name == "index"
    assert set(frame.dtypes[:3]) == {np.dtype(np.float32)}
    assert set(frame.dtypes[3:]) == {np.dtype(np.float16)}


def test_reference_embedding_round_trip(tmp_path: Path) -> None:
    vectors = unit_vectors(3)
    paths = ["refs/a_1bxn.mrc", "b_3gl1.mrc", "/full/ç_4v94.mrc"]
    write_reference_embedding(tmp_path / "e.temb", ReferenceEmbedding(vectors, paths, LINEAGE))
    read = read_reference_embedding(tmp_path / "e.temb")
    np.testing.assert_array_equal(read.vectors, vectors)
    assert read.paths == paths
    assert read.attributes == LINEAGE
    frame = pd.read_pickle(tmp_path / "e.temb")
    assert list(frame.columns) == ["filepath", *(str(channel) for channel in range(32))]
    assert frame["0"].dtype == np.float32


@pytest.mark.parametrize("sites", [None, np.array([3, 4, 17, 59])])
def test_similarity_map_round_trip(tmp_path: Path, sites: np.ndarray | None) -> None:
    values = np.random.default_rng(1).uniform(-1, 1, (60 if sites is None else 4, 2)).astype(np.float32)
    similarity = SimilarityMap(values, ["a.mrc", "b.mrc"], GRID, sites, {**LINEAGE, "skip_refinement": False})
    write_similarity_map(tmp_path / "map.tmap", similarity)
    read = read_similarity_map(tmp_path / "map.tmap")
    np.testing.assert_array_equal(read.values, values.astype(np.float16))
    assert read.references == similarity.references
    assert read.grid == GRID
    np.testing.assert_equal(read.sites, sites)
    assert read.attributes == {**similarity.attributes, "stride": [4, 3, 2], "references": ["a.mrc", "b.mrc"]}
    frame = pd.read_pickle(tmp_path / "map.tmap")
    assert list(frame.columns) == ["X", "Y", "Z", "d_class_0", "d_class_1"]
    np.testing.assert_array_equal(frame[["Z", "Y", "X"]].to_numpy(), GRID.positions(sites))


@pytest.mark.parametrize("sites", [None, np.arange(1, 70_000, 2)], ids=["full", "masked"])
def test_long_files_stay_where_they_are(tmp_path: Path, sites: np.ndarray | None) -> None:
    """Vectors and values of our files are views of the file, in their order, whatever becomes of its name."""
    grid = Grid((0, 2, 4), (2, 3, 1), (7, 100, 100))
    vectors = unit_vectors(70_000 if sites is None else len(sites), 20)
    embedding = TomogramEmbedding(vectors, grid, sites, LINEAGE)
    similarity = SimilarityMap(vectors[:, :18], [f"{number}.mrc" for number in range(18)], grid, sites)
    path = tmp_path / "file"
    for write, read, values in [
        (lambda: write_tomogram_embedding(path, embedding), read_tomogram_embedding, vectors),
        (lambda: write_similarity_map(path, similarity), read_similarity_map, vectors[:, :18]),
    ]:
        write()
        product: Any = read(path)
        path.unlink()
        held = product.vectors if isinstance(product, TomogramEmbedding) else product.values
        assert isinstance(memory_of(held), MappedFile) and not held.flags.writeable
        np.testing.assert_array_equal(held, values.astype(np.float16))
        assert product.grid == grid
        np.testing.assert_equal(product.sites, sites)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame,
        lambda frame: frame.sample(frac=1, random_state=0),
        lambda frame: frame[frame.columns[::-1]].copy(),
        lambda frame: frame.astype(np.float32),
        lambda frame: frame.astype({"3": np.float64}),
        lambda frame: pd.DataFrame({name: frame[name].copy() for name in frame}, copy=False),
    ],
    ids=["as it is", "shuffled", "columns turned round", "32 bits", "one of 64 bits", "columns apart"],
)
def test_long_files_of_any_layout(tmp_path: Path, change: Any) -> None:
    grid = Grid((0, 0, 0), (1, 1, 1), (10, 50, 100))
    vectors = unit_vectors(grid.size, 20)
    path = tmp_path / "t.temb"
    write_tomogram_embedding(path, TomogramEmbedding(vectors, grid, None, LINEAGE))
    frame = pd.read_pickle(path)
    changed = change(frame)
    changed.attrs = dict(frame.attrs)
    changed.to_pickle(path, compression=None)
    read = read_tomogram_embedding(path)
    np.testing.assert_array_equal(read.vectors, vectors.astype(np.float16))
    assert (
        read.vectors.dtype == np.float16
        or (changed.dtypes == np.float32).any()
        or len(set(changed.dtypes)) > 2
    )
    assert read.grid == grid and read.sites is None
    changed.iloc[40_000, changed.columns.get_loc("7")] = np.nan
    changed.to_pickle(path, compression=None)
    with pytest.raises(InputError, match="column 7 holds something that is no number"):
        read_tomogram_embedding(path)


def test_a_comparison_is_written_as_its_map_is(tmp_path: Path) -> None:
    vectors = unit_vectors(60, 8).astype(np.float16)
    tomogram = TomogramEmbedding(vectors, GRID, None, LINEAGE)
    for distance in ("COSINE", "SNR"):
        lineage = {"tomotwin_config": {"distance": distance}}
        references = ReferenceEmbedding(unit_vectors(3, 8), ["a.mrc", "b.mrc", "c.mrc"], lineage)
        write_similarity_map(tmp_path / "a.tmap", similarity_map(tomogram, references, progress=False))
        write_similarity_map(tmp_path / "b.tmap", Comparison(tomogram, references, progress=False))
        assert (tmp_path / "a.tmap").read_bytes() == (tmp_path / "b.tmap").read_bytes()


def test_more_values_than_sites_leave_no_file(tmp_path: Path) -> None:
    similarity = SimilarityMap(np.zeros((59, 2), dtype=np.float32), ["a", "b"], GRID)
    with pytest.raises(RuntimeError, match="bytes"):
        write_similarity_map(tmp_path / "map.tmap", similarity)
    assert not list(tmp_path.iterdir())


def test_unbounded_similarities_stay_finite(tmp_path: Path) -> None:
    values = np.array([[1e6], [-2.0]], dtype=np.float32)
    grid = Grid((0, 0, 0), (1, 1, 1), (1, 1, 2))
    write_similarity_map(tmp_path / "map.tmap", SimilarityMap(values, ["a"], grid))
    read = read_similarity_map(tmp_path / "map.tmap")
    np.testing.assert_array_equal(read.values, values)
    assert read.attributes["skip_refinement"] is True


def picks_frame(rows: int = 2) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "note": ["first", "second"],
            "depth": 20,
            "height": 20,
            "width": 20,
            "predicted_class": [1, 0],
            "metric_best": [0.9, 0.8],
            "size": [12, 70000],
            "Z": [1.25, 3000.5],
            "Y": [2.0, 70000.0],
            "X": [3.0, 4097.0],
        }
    )[:rows]
    frame.attrs = {**LINEAGE, "references": ["a.mrc", "b.mrc"]}
    return frame


@pytest.mark.parametrize("rows", [2, 0])
def test_picks_round_trip(tmp_path: Path, rows: int) -> None:
    picks = picks_frame(rows)
    write_picks(tmp_path / "located.tloc", picks)
    read = read_picks(tmp_path / "located.tloc")
    assert list(read.columns) == [
        *("X", "Y", "Z", "size", "metric_best", "predicted_class", "width", "height", "depth"),
        "note",
    ]
    pd.testing.assert_frame_equal(
        read[list(picks.columns)], picks, check_dtype=False, check_column_type=False, rtol=1e-6
    )
    assert read.attrs == picks.attrs
    assert set(read.dtypes[["X", "Y", "Z", "metric_best"]]) == {np.dtype(np.float32)}
    assert set(read.dtypes[["size", "predicted_class", "width"]]) == {np.dtype(np.int64)}


def test_picks_refuse(tmp_path: Path) -> None:
    path = tmp_path / "located.tloc"

    def refused(frame: pd.DataFrame) -> str:
        write_frame(path, frame)
        with pytest.raises(InputError) as caught:
            read_picks(path)
        assert caught.value.source == str(path)
        return caught.value.problem

    assert "columns size, depth are missing" in refused(picks_frame().drop(columns=["size", "depth"]))
    assert "column X" in refused(picks_frame().assign(X=[np.inf, 1.0]))
    assert "column X holds no numbers" in refused(picks_frame().assign(X=["a", "b"]))
    assert "classes 1 to 2 but 2 references" in refused(picks_frame().assign(predicted_class=[1, 2]))
    nameless = picks_frame()
    del nameless.attrs["references"]
    assert "do not name the references" in refused(nameless)
    with pytest.raises(KeyError):
        write_picks(path, nameless)


def test_written_files_ask_for_nothing_that_moved(tmp_path: Path) -> None:
    """Every global in our files exists under that name in pandas 1.5 with NumPy 1.24 up to today's."""
    write_tomogram_embedding(tmp_path / "t.temb", TomogramEmbedding(unit_vectors(60), GRID, None, LINEAGE))
    write_reference_embedding(tmp_path / "r.temb", ReferenceEmbedding(unit_vectors(1), ["a.mrc"], LINEAGE))
    write_similarity_map(tmp_path / "m.tmap", SimilarityMap(unit_vectors(60, 2), ["a", "b"], GRID))
    write_picks(tmp_path / "p.tloc", picks_frame())
    everywhere = {
        "pandas.DataFrame",
        "pandas.core.frame.DataFrame",
        "pandas.core.internals.managers.BlockManager",
        "pandas._libs.internals._unpickle_block",
        "pandas.core.indexes.base._new_Index",
        "pandas.Index",
        "pandas.core.indexes.base.Index",
        "pandas.RangeIndex",
        "pandas.core.indexes.range.RangeIndex",
        "numpy.ndarray",
        "numpy.dtype",
        "builtins.slice",
    }
    for path in tmp_path.iterdir():
        assert globals_of(path) <= everywhere
        frame = pd.read_pickle(path)
        assert frame.columns.dtype == object
        frame.iloc[0, 0] = frame.iloc[0, 0]  # not read-only


def globals_of(path: Path) -> set[str]:
    """Names that a pickle asks for; text is put on the stack just before, or taken from the memo."""
    names: set[str] = set()
    memo: list[Any] = []
    stack: list[Any] = [None, None]
    for opcode, argument, _ in pickletools.genops(path.read_bytes()):
        if opcode.name == "MEMOIZE":
            memo.append(stack[-1])
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif opcode.name == "STACK_GLOBAL":
            names.add(f"{stack[-2]}.{stack[-1]}")
            stack.append(None)
        elif opcode.name not in ("FRAME", "PROTO"):
            stack.append(argument)
    assert names
    return names


def test_attributes_become_plain(tmp_path: Path) -> None:
    class Text(str):
        pass

    frame = pd.DataFrame({"0": [1.0]})
    frame.attrs = {
        "a": np.float64(0.5),
        "b": (np.int64(3), [np.bool_(True), None]),
        "c": Path("folder") / "file",
        "d": {Text("key"): Text("value")},
    }
    write_frame(tmp_path / "f.temb", frame)
    read = read_frame(tmp_path / "f.temb").attrs
    assert read == {"a": 0.5, "b": (3, [True, None]), "c": "folder/file", "d": {"key": "value"}}
    assert type(read["a"]) is float and type(read["b"][0]) is int and type(read["d"]["key"]) is str

    frame.attrs = {"bad": object()}
    with pytest.raises(TypeError, match="object"):
        write_frame(tmp_path / "g.temb", frame)
    assert [path.name for path in tmp_path.iterdir()] == ["f.temb"]


def test_a_killed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "located.tloc"
    write_picks(path, picks_frame())
    before = path.read_bytes()

    def stop(frame: pd.DataFrame, stream: Any) -> None:
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("tomotwin_lib.formats.frames.dump_frame", stop)
    with pytest.raises(KeyboardInterrupt):
        write_picks(path, picks_frame(0))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("read", "columns", "missing"),
    [
        (read_tomogram_embedding, ["Z", "X", "0"], "column Y is missing"),
        (read_tomogram_embedding, ["filepath", "0", "1"], "it holds the embedding of references, not"),
        (read_tomogram_embedding, ["0", "1"], "columns Z, Y, X are missing"),
        (read_tomogram_embedding, ["Z", "Y", "X"], "column 0 is missing"),
        (read_tomogram_embedding, ["Z", "Y", "X", "0", "3"], "columns 1, 2 are missing"),
        (read_reference_embedding, ["Z", "Y", "X", "0"], "column filepath is missing"),
        (read_similarity_map, ["X", "Y", "Z", "0"], "column d_class_0 is missing"),
        (read_similarity_map, ["X", "Y", "Z", "metric_best"], "it holds located picks, not"),
        (read_picks, ["X", "Y", "Z", "d_class_0"], "it holds a similarity map, not"),
    ],
)
def test_names_the_missing_columns(tmp_path: Path, read: Any, columns: list[str], missing: str) -> None:
    write_frame(tmp_path / "f.temb", pd.DataFrame(np.zeros((1, len(columns))), columns=columns))
    with pytest.raises(InputError) as caught:
        read(tmp_path / "f.temb")
    assert missing in caught.value.problem


def test_refuses_twice_the_same_column(tmp_path: Path) -> None:
    write_frame(tmp_path / "f.temb", pd.DataFrame(np.zeros((1, 2)), columns=["X", "X"]))
    with pytest.raises(InputError, match="more than one column 'X'"):
        read_frame(tmp_path / "f.temb")


@pytest.mark.parametrize("value", [np.nan, np.inf, "text"])
def test_refuses_vectors_that_are_no_numbers(tmp_path: Path, value: Any) -> None:
    frame = pd.DataFrame({"filepath": ["a", "b"], "0": [1.0, 2.0], "1": pd.Series([1.0, value])})
    write_frame(tmp_path / "f.temb", frame)
    with pytest.raises(InputError, match="column 1 holds"):
        read_reference_embedding(tmp_path / "f.temb")


def test_map_needs_a_name_for_each_column(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.zeros((1, 5)), columns=["X", "Y", "Z", "d_class_0", "d_class_1"])
    frame.attrs = {"references": ["a"]}
    write_frame(tmp_path / "map.tmap", frame)
    with pytest.raises(InputError, match="2 columns d_class_"):
        read_similarity_map(tmp_path / "map.tmap")


# --- grids out of coordinates -------------------------------------------------------------------------


@pytest.mark.parametrize("attributes", [{}, {"stride": [4, 3, 2]}])
def test_grid_of_a_full_file(tmp_path: Path, attributes: dict[str, Any]) -> None:
    write_like_tomotwin(tmp_path / "t.temb", GRID.positions(), **attributes)
    read = read_tomogram_embedding(tmp_path / "t.temb")
    assert read.grid == GRID
    assert read.sites is None
    np.testing.assert_array_equal(read.vectors[:, 0], np.arange(60))


def test_grid_of_a_masked_file(tmp_path: Path) -> None:
    # z 18 and 22 with nothing at 20: the stride tells that a plane is missing.
    positions = np.array([[18, 0, 5], [18, 3, 9], [22, 3, 5]])
    write_like_tomotwin(tmp_path / "t.temb", positions, stride=[4, 3, 2])
    read = read_tomogram_embedding(tmp_path / "t.temb")
    assert read.grid == Grid((18, 0, 5), (2, 3, 4), (3, 2, 2))
    assert read.sites is not None
    np.testing.assert_array_equal(read.sites, [0, 3, 10])
    np.testing.assert_array_equal(read.positions(), positions)


def test_one_stride_for_all_axes(tmp_path: Path) -> None:
    write_like_tomotwin(tmp_path / "t.temb", np.array([[0, 0, 0], [4, 4, 4]]), stride=2)
    assert read_tomogram_embedding(tmp_path / "t.temb").grid == Grid((0, 0, 0), (2, 2, 2), (3, 3, 3))


def test_rows_in_any_order_are_sorted(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(60)
    write_like_tomotwin(tmp_path / "t.temb", GRID.positions()[shuffled], stride=[4, 3, 2])
    read = read_tomogram_embedding(tmp_path / "t.temb")
    assert read.grid == GRID and read.sites is None
    np.testing.assert_array_equal(read.vectors[:, 0], np.argsort(shuffled))


@pytest.mark.parametrize(
    ("positions", "attributes", "problem"),
    [
        ([[0, 0, 0], [0, 0, 3]], {"stride": [2, 2, 2]}, "X = 3 is not on the file's grid"),
        ([[0, 0, 0], [0, 0, 0]], {"stride": [2, 2, 2]}, "two rows lie at X = 0, Y = 0, Z = 0"),
        ([[0, 0, 0], [0, 0.5, 0]], {}, "column Y holds 0.5, which lies between voxels"),
        ([[0, 0, 0], [70000, 0, 0]], {}, "column Z overflowed"),
        ([[0, 0, np.nan]], {}, "column X overflowed"),
        ([[0, 0, 0]], {"stride": [2, 0, 2]}, "its stride is [2, 0, 2]"),
        ([[0, 0, 0]], {"stride": [2, 2]}, "is not three numbers"),
        ([[0, 0, 0]], {"stride": "two"}, "is not three numbers"),
        (np.zeros((0, 3)), {}, "it has no rows"),
        ([[0, 0, 0]], {"grid": {"origin_zyx": [0, 0, 0]}}, "the grid in its attributes is damaged"),
        (
            [[0, 0, 8]],
            {"grid": {"origin_zyx": [0, 0, 0], "stride_zyx": [2, 2, 2], "shape_zyx": [1, 1, 4]}},
            "X = 8 is not on the file's grid, which has 4 centres from 0 on, 2 apart",
        ),
        (
            [[0, 0, 0]],
            {"grid": {"origin_zyx": [0, 0, 0], "stride_zyx": [2, 2, 0], "shape_zyx": [1, 1, 4]}},
            "makes no sense",
        ),
    ],
)
def test_refuses_coordinates(
    tmp_path: Path, positions: Any, attributes: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "t.temb"
    write_like_tomotwin(path, np.asarray(positions, dtype=float), **attributes)
    with pytest.raises(InputError) as caught:
        read_tomogram_embedding(path)
    assert problem in caught.value.problem
    assert caught.value.source == str(path)


def test_refuses_coordinates_beyond_any_tomogram(tmp_path: Path) -> None:
    write_like_tomotwin(tmp_path / "t.temb", np.array([[0.0, 0, 1e12]]), np.float64)
    with pytest.raises(InputError, match=r"goes to 1e.12 voxels"):
        read_tomogram_embedding(tmp_path / "t.temb")


@pytest.mark.parametrize(("stride", "count"), [(1, 3000), (2, 2500), (3, 1200), (5, 1000), (6, 10000)])
def test_16_bit_coordinates_above_2048_by_row_order(tmp_path: Path, stride: int, count: int) -> None:
    # 16-bit floats keep every second whole number from 2048 on, every fourth from 4096 on, and so on.
    grid = Grid((18, 0, 18), (stride,) * 3, (1, 2, count))
    positions = grid.positions()
    assert not np.array_equal(positions.astype(np.float16), positions)
    write_like_tomotwin(tmp_path / "t.temb", positions, stride=[stride] * 3)
    read = read_tomogram_embedding(tmp_path / "t.temb")
    assert read.grid == grid and read.sites is None
    np.testing.assert_array_equal(read.positions(), positions)


def test_masked_16_bit_coordinates_above_2048(tmp_path: Path) -> None:
    path = tmp_path / "t.temb"
    grid = Grid(
        (0, 0, 1), (3, 3, 3), (1, 1, 1000)
    )  # 1, 4, …, 2998: rounded to even, but none to the same number
    sites = np.array([0, 5, 700, 701, 990])
    positions = grid.positions(sites)
    assert not np.array_equal(positions.astype(np.float16), positions)
    write_like_tomotwin(path, positions, stride=[3, 3, 3])
    read = read_tomogram_embedding(path)
    np.testing.assert_array_equal(read.positions(), positions)
    assert read.grid == Grid((0, 0, 1), (3, 3, 3), (1, 1, 991))

    # Of 1, 2, …, two at a time become one: no one can tell which it was.
    grid = Grid((0, 0, 1), (1, 1, 1), (1, 1, 3000))
    for attributes in ({"stride": [1, 1, 1]}, {}):
        write_like_tomotwin(path, grid.positions(np.array([0, 5, 2500])), **attributes)
        with pytest.raises(InputError, match=r"overflowed.*Embed the tomogram again"):
            read_tomogram_embedding(path)


def test_our_own_coordinates_above_2048_are_exact(tmp_path: Path) -> None:
    grid = Grid((0, 0, 2047), (1, 1, 1), (1, 1, 70000))
    sites = np.array([0, 1, 2, 65533, 69999])
    write_tomogram_embedding(tmp_path / "t.temb", TomogramEmbedding(unit_vectors(5), grid, sites, {}))
    read = read_tomogram_embedding(tmp_path / "t.temb")
    assert read.grid == grid
    np.testing.assert_equal(read.sites, sites)


def test_our_grid_survives_filtering_by_pandas(tmp_path: Path) -> None:
    path = tmp_path / "t.temb"
    write_tomogram_embedding(path, TomogramEmbedding(unit_vectors(60), GRID, None, LINEAGE))
    frame = pd.read_pickle(path)
    frame[frame["X"] > 9].astype(np.float16).to_pickle(path, compression=None)
    read = read_tomogram_embedding(path)
    assert read.grid == GRID
    assert read.sites is not None
    np.testing.assert_array_equal(read.sites, np.flatnonzero(GRID.positions()[:, 2] > 9))


# --- files that TomoTwin wrote ------------------------------------------------------------------------


def test_embeddings_of_tomotwin(shared: Path) -> None:
    folder = shared / "interop" / "pipeline"
    for name, grid in [
        ("embed_padded", Grid((0, 0, 0), (4, 4, 4), (12, 15, 16))),
        ("embed_unpadded", Grid((18, 18, 18), (3, 3, 3), (4, 8, 10))),
        ("embed_masked", Grid((18, 18, 21), (3, 3, 3), (4, 8, 9))),
    ]:
        path = folder / name / "tomogram_embeddings.temb"
        read = read_tomogram_embedding(path)
        frame = pd.read_pickle(path)
        assert read.grid == grid
        np.testing.assert_array_equal(read.positions(), frame[["Z", "Y", "X"]].to_numpy())
        np.testing.assert_array_equal(read.vectors, frame.iloc[:, 3:].to_numpy())
        np.testing.assert_allclose(np.linalg.norm(read.vectors, axis=1), 1, atol=2e-3)
        assert read.attributes == frame.attrs


def test_written_like_tomotwin(shared: Path, tmp_path: Path) -> None:
    """Reading and writing again gives the frame back: columns, order, index, values and attributes."""
    folder = shared / "interop" / "pipeline"
    original: Any
    for path in [folder / "clustered_embeddings.temb", folder / "embed_padded" / "tomogram_embeddings.temb"]:
        write_tomogram_embedding(tmp_path / "t.temb", read_tomogram_embedding(path))
        original, ours = pd.read_pickle(path), pd.read_pickle(tmp_path / "t.temb")
        pd.testing.assert_frame_equal(ours, original, check_dtype=False)
        assert {key: ours.attrs[key] for key in original.attrs} == original.attrs
        assert (ours.dtypes[3:] == original.dtypes[3:]).all()
    for name in ("map_plain", "map_refined"):
        path = folder / name / "map.tmap"
        write_similarity_map(tmp_path / "map.tmap", read_similarity_map(path))
        original, ours = pd.read_pickle(path), pd.read_pickle(tmp_path / "map.tmap")
        pd.testing.assert_frame_equal(ours, original, check_dtype=False)
        assert {key: ours.attrs[key] for key in original.attrs} == original.attrs
    path = shared / "interop" / "evaluate" / "located.tloc"
    write_picks(tmp_path / "located.tloc", read_picks(path))
    original, ours = pd.read_pickle(path), pd.read_pickle(tmp_path / "located.tloc")
    pd.testing.assert_frame_equal(ours, original, check_dtype=False)
    assert ours.attrs == original.attrs


def test_references_of_tomotwin(shared: Path) -> None:
    read = read_reference_embedding(shared / "interop" / "pipeline" / "embed_refs" / "embeddings.temb")
    assert read.names == ["gen01_t01_2df7_089.mrc", "model_0_1BXN_1.mrc", "protein_5mrc.mrc"]
    read = read_reference_embedding(shared / "interop" / "real" / "embeddings.temb")
    assert read.names == ["gen01_t01_2df7_089.mrc"]
    assert read.attributes["modelmd5"] == "b4d4923c30359c85e1a5c29b3563d7e1"


def test_published_picks(shared: Path) -> None:
    read = read_picks(shared / "interop" / "real" / "located.tloc")
    assert len(read) == 10
    assert read.attrs["references"] == ["gen01_t01_2df7_089.mrc"]
    # Their heatmap, an array among the attributes, would break pandas' own operations.
    assert "heatmap" not in read.attrs
    assert len(pd.concat([read, read], axis=1)) == 10
    assert read_frame(shared / "interop" / "real" / "located.tloc").attrs["heatmap"].shape == (86, 86, 82)


def test_own_files_with_pandas_only(tmp_path: Path) -> None:
    write_picks(tmp_path / "p.tloc", picks_frame())
    with (tmp_path / "p.tloc").open("rb") as stream:
        frame = pickle.load(stream)
    assert frame.attrs["references"] == ["a.mrc", "b.mrc"]
