"""Pickles that are more than frames: nothing of them may run."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas._libs.internals import BlockPlacement  # type: ignore[import-not-found]

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.frames import read_frame, write_frame
from tomotwin_lib.formats.safe_pickle import load_frame
from tomotwin_lib.rows import MappedFile, memory_of


class Call:
    """Something whose pickle calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def global_opcode(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


@pytest.fixture
def frame() -> pd.DataFrame:
    frame = pd.DataFrame(np.arange(6, dtype=np.float16).reshape(3, 2), columns=["0", "1"])
    frame.attrs = {"stride": [2, 2, 2], "tomogram_input_shape": (4, 5, 6)}
    return frame


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_command_is_not_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "evil.temb"
    path.write_bytes(pickle.dumps(Call(os.system, f"touch '{marker}'"), protocol))
    with pytest.raises(InputError) as caught:
        read_frame(path)
    assert f"'{os.system.__module__}.system'" in caught.value.problem
    assert "nothing was run" in caught.value.problem
    assert caught.value.source == str(path)
    assert not marker.exists()
    # The test would prove nothing if the pickle were harmless.
    pickle.loads(path.read_bytes())
    assert marker.exists()


def test_a_command_in_the_attributes_is_not_run(tmp_path: Path, frame: pd.DataFrame) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "evil.tloc"
    frame.attrs["filepath"] = Call(os.system, f"touch '{marker}'")
    path.write_bytes(pickle.dumps(frame))
    with pytest.raises(InputError, match="system"):
        read_frame(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("__builtin__", "exec"),
        ("numpy", "load"),
        ("numpy", "memmap"),
        ("numpy", "fromfile"),
        ("numpy.testing._private.utils", "runstring"),
        ("pandas", "eval"),
        ("pandas", "read_pickle"),
        ("pandas.io.common", "os.system"),
        ("pandas.core.frame", "DataFrame.eval"),
        ("pandas.core.frame", "sys"),
        ("numpy", "ndarray.tofile"),
        ("pyarrow", "memory_map"),
        ("pyarrow.lib", "_restore_array.__globals__"),
        ("", ""),
    ],
)
def test_only_exact_names_pass(tmp_path: Path, module: str, name: str) -> None:
    path = tmp_path / "evil.temb"
    path.write_bytes(b"\x80\x04" + pickle.dumps(module, 4)[2:-1] + pickle.dumps(name, 4)[2:-1] + b"\x93.")
    with pytest.raises(InputError) as caught:
        read_frame(path)
    assert f"'{module}.{name}'" in caught.value.problem


@pytest.mark.parametrize("target", [("pandas", "Index"), ("pandas._libs.internals", "_unpickle_block")])
@pytest.mark.parametrize("state", [{"name": 1}, (None, {"__doc__": "changed"})])
def test_classes_and_functions_cannot_be_changed(tmp_path: Path, target: tuple[str, str], state: Any) -> None:
    path = tmp_path / "evil.temb"
    documentation = pd.Index.__doc__
    path.write_bytes(global_opcode(*target) + pickle.dumps(state, 0)[:-1] + b"b.")
    with pytest.raises(InputError, match="sets the state of"):
        read_frame(path)
    assert pd.Index.__doc__ == documentation


ARRAY, DTYPE = global_opcode("numpy", "ndarray"), global_opcode("numpy", "dtype")
FLOAT = DTYPE + b"(Vf8\nI00\nI01\ntR"
OBJECT = DTYPE + b"(VO8\nI00\nI01\ntR"
RECONSTRUCT = global_opcode("numpy.core.multiarray", "_reconstruct")
BYTES = b"C\x08" + struct.pack("<Q", 0x41414141)
EMPTY = RECONSTRUCT + b"(" + ARRAY + b"(I0\ntC\x01btR"


@pytest.mark.parametrize(
    "opcodes",
    [
        pytest.param(ARRAY + b"((I1\nt" + OBJECT + BYTES + b"tR", id="objects-at-made-up-addresses"),
        pytest.param(ARRAY + b"((I1\nt" + FLOAT + BYTES + b"I-80\ntR", id="before-the-buffer"),
        pytest.param(ARRAY + b"((I9\nt" + FLOAT + BYTES + b"tR", id="beyond-the-buffer"),
        pytest.param(ARRAY + b"((I-1\nt" + FLOAT + BYTES + b"tR", id="negative-shape"),
        pytest.param(EMPTY + b"(I1\n(I99\nt" + OBJECT + b"I00\n]tb", id="fewer-objects-than-places"),
        pytest.param(
            EMPTY + b"(I1\n(I99\nt" + FLOAT + b"I00\n" + BYTES + b"tb", id="fewer-numbers-than-places"
        ),
        pytest.param(FLOAT + b"(I3\nV<\nNNNI-1\nI-1\nI63\ntb", id="numbers-declared-objects"),
        pytest.param(OBJECT + b"(I3\nV|\nNNNI-1\nI-1\nI0\ntb", id="objects-declared-numbers"),
        pytest.param(FLOAT + b"(I3\nV<\nNNNI4\nI-1\nI0\ntb", id="another-size"),
        pytest.param(DTYPE + b"(](VO8\ntatR", id="records"),
    ],
)
def test_made_up_arrays_are_refused(tmp_path: Path, opcodes: bytes) -> None:
    path = tmp_path / "evil.temb"
    path.write_bytes(opcodes + b".")
    with pytest.raises(InputError, match="damaged") as caught:
        read_frame(path)
    assert "UnpicklingError" in caught.value.problem


def test_type_of_numbers_of_the_process_stays_as_it_is(tmp_path: Path) -> None:
    # dtype('f8') without a copy is the object that all of NumPy shares.
    path = tmp_path / "evil.temb"
    path.write_bytes(DTYPE + b"(Vf8\nI00\nI00\ntR(I3\nV>\nNNNI-1\nI-1\nI0\ntb.")
    with pytest.raises(InputError, match="no table"):
        read_frame(path)
    assert np.dtype("f8").isnative


def test_columns_without_a_block_are_refused(tmp_path: Path, frame: pd.DataFrame) -> None:
    path = tmp_path / "evil.temb"
    for block in frame._mgr.blocks:  # type: ignore[attr-defined]
        block.mgr_locs = BlockPlacement(np.array([0, 7]))
    path.write_bytes(pickle.dumps(frame))
    with pytest.raises(InputError, match="no table"):
        load_frame(path)


@pytest.mark.parametrize(
    "thing",
    [{"X": [1]}, [1, 2], "text", None, np.zeros(3), pd.Index([1, 2]), slice(3)],
    ids=lambda thing: type(thing).__name__,
)
def test_what_is_no_frame_is_refused(tmp_path: Path, thing: Any) -> None:
    path = tmp_path / "thing.temb"
    path.write_bytes(pickle.dumps(thing))
    with pytest.raises(InputError, match="no table"):
        read_frame(path)


def test_a_hollow_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hollow.temb"
    path.write_bytes(global_opcode("pandas", "DataFrame") + b")\x81.")
    with pytest.raises(InputError, match="no table"):
        read_frame(path)


def test_every_truncation_is_refused(tmp_path: Path, frame: pd.DataFrame) -> None:
    path = tmp_path / "whole.temb"
    write_frame(path, frame)
    content = path.read_bytes()
    for length in range(1, len(content), 3):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="truncated"):
            read_frame(path)


def test_damage_is_an_input_error_or_a_frame(tmp_path: Path, frame: pd.DataFrame) -> None:
    path = tmp_path / "damaged.temb"
    write_frame(path, frame)
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            read_frame(path)
        except InputError as error:
            assert error.source == str(path)


@pytest.fixture
def long_file(tmp_path: Path) -> Path:
    """A frame whose columns are long enough to stay in the file."""
    path = tmp_path / "long.temb"
    values = (np.arange(1_200_000) % 999).astype(np.float16).reshape(-1, 2)
    frame = pd.DataFrame(values, columns=["0", "1"])
    frame["filepath"] = 7
    frame.attrs = {"stride": [2, 2, 2]}
    write_frame(path, frame)
    return path


def test_long_columns_are_those_of_pandas(long_file: Path) -> None:
    read, expected = read_frame(long_file), pd.read_pickle(long_file)
    pd.testing.assert_frame_equal(read, expected)
    assert read.attrs == expected.attrs
    assert isinstance(memory_of(read["0"].to_numpy()), MappedFile)
    expected.iloc[0, 0] = 3  # not read-only for whoever else reads it


def test_long_columns_that_end_too_early_are_refused(long_file: Path) -> None:
    content = long_file.read_bytes()
    for length in (len(content) - 1, 3_000_000, 1_000_000, 2_400_000):
        long_file.write_bytes(content[:length])
        with pytest.raises(InputError, match="truncated"):
            read_frame(long_file)


def test_long_columns_are_read_from_what_cannot_be_mapped(
    long_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr("tomotwin_lib.formats.safe_pickle.MappedFile", refuse)
    pd.testing.assert_frame_equal(read_frame(long_file), pd.read_pickle(long_file))


def test_what_is_no_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.temb"
    for content, problem in [
        (b"", "empty"),
        (b"\x1f\x8bxx", "gzip"),
        (b"MAP " * 300, "no frame file"),
        (b"\x80\x05\x8e" + struct.pack("<Q", 2**62) + b".", "no frame file"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=problem):
            read_frame(path)
    with pytest.raises(InputError, match="no such file"):
        read_frame(tmp_path / "missing.temb")
    with pytest.raises(InputError, match="a folder"):
        read_frame(tmp_path)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_reads_what_this_pandas_writes(tmp_path: Path, frame: pd.DataFrame, protocol: int) -> None:
    path = tmp_path / "plain.tumap"
    frame["text"] = ["a", "é", "c"]
    frame["whole"] = np.array([1, 2, 3], dtype=np.int32)
    frame["truth"] = [True, False, True]
    frame.attrs["number"] = np.float32(2.5)
    for given in (frame, frame.iloc[[2, 0]], frame.iloc[:0], frame[[]], frame.set_index("text")):
        given.to_pickle(path, protocol=protocol, compression=None)  # type: ignore[arg-type]
        read = read_frame(path)
        pd.testing.assert_frame_equal(
            read, given, check_dtype=False, check_column_type=False, check_index_type=False
        )
        assert read.attrs == given.attrs
        assert all(type(label) is str for label in read.columns)


def test_reads_text_columns_without_arrow(tmp_path: Path) -> None:
    path = tmp_path / "text.temb"
    with pd.option_context("mode.string_storage", "python"):
        frame = pd.DataFrame({"filepath": pd.array(["a", "b"], dtype="string"), "0": [1.0, 2.0]})
        frame.to_pickle(path, compression=None)
    assert read_frame(path)["filepath"].tolist() == ["a", "b"]


def test_reads_gaps_and_parts_of_text_columns(tmp_path: Path) -> None:
    path = tmp_path / "text.temb"
    texts = ["zero", "", None, "dréi", "four", None, "six", "seven", "eight", "nine"]
    for storage in ("python", "pyarrow"):
        frame = pd.DataFrame({"filepath": pd.array(texts, dtype=pd.StringDtype(storage))})
        frame.iloc[3:].to_pickle(path, compression=None)
        read = read_frame(path)["filepath"].tolist()
        assert [None if text is pd.NA else text for text in read] == texts[3:]


ARROW = global_opcode("pyarrow.lib", "_restore_array") + b"((c%s\n(Vlarge_string\ntRI2\nI0\nI0\n(lN" % (
    b"pyarrow.lib\ntype_for_alias"
)
ARROW_BUFFER = global_opcode("pyarrow.lib", "py_buffer")


@pytest.mark.parametrize(
    "offsets", [(0, 1, 99), (-9, 0, 1), (0, 2, 1), (0, 1)], ids=["beyond", "before", "falling", "too few"]
)
def test_made_up_text_is_refused(tmp_path: Path, offsets: tuple[int, ...]) -> None:
    memory = struct.pack(f"<{len(offsets)}q", *offsets)
    path = tmp_path / "evil.temb"
    path.write_bytes(
        ARROW
        + b"a%s(C%c%stRa" % (ARROW_BUFFER, len(memory), memory)
        + b"%s(C\x02abtRa" % ARROW_BUFFER
        + b"]NttR."
    )
    with pytest.raises(InputError, match="damaged"):
        read_frame(path)


def test_reads_the_indices_of_pandas_1(tmp_path: Path) -> None:
    # pandas 1 had classes for indices of numbers, and NumPy 1 its functions elsewhere.
    path = tmp_path / "old.temb"
    frame = pd.DataFrame({"0": [1.0, 2.0]}, index=[5, 7]).rename(columns=str)
    frame.columns = pd.Index(["0"], dtype=object)
    content = pickle.dumps(frame, 2)
    for new, old in [
        (b"cpandas\nDataFrame\n", b"cpandas.core.frame\nDataFrame\n"),
        (b"cpandas\nIndex\n", b"cpandas.core.indexes.numeric\nInt64Index\n"),
        (b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"),
    ]:
        content = content.replace(new, old)
    path.write_bytes(content)
    pd.testing.assert_frame_equal(read_frame(path), frame)


def test_reading_every_fixture_equals_pandas(shared: Path) -> None:
    paths = [path for kind in ("temb", "tmap", "tloc") for path in (shared / "interop").rglob(f"*.{kind}")]
    assert len(paths) > 8
    for path in paths:
        expected = pd.read_pickle(path)
        read = load_frame(path)
        pd.testing.assert_frame_equal(read, expected)
        assert list(read.attrs) == list(expected.attrs)


def test_no_warning_on_files_of_old_numpy(shared: Path) -> None:
    # A fresh process: NumPy warns about its old names once only.
    code = "import sys; from tomotwin_lib.formats.frames import read_frame; read_frame(sys.argv[1])"
    path = shared / "interop" / "pipeline" / "clustered_refs.temb"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
