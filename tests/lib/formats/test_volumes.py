"""Volumes against headers and voxels written byte by byte, and against mrcfile."""

from __future__ import annotations

import gzip
import struct
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import (
    Volume,
    find_volumes,
    read_subvolume,
    read_volume,
    require_finite,
    write_volume,
)


def header_bytes(
    x: int = 4,
    y: int = 3,
    z: int = 2,
    *,
    mode: int = 2,
    order: str = "<",
    cell: float = 0.0,
    extended: int = 0,
    name: bytes = b"MAP ",
    stamp: bytes | None = None,
    space_group: int = 1,
    intervals_z: int | None = None,
    imod: tuple[int, int] = (0, 0),
) -> bytes:
    """An MRC2014 header laid out by hand after the format's table of byte positions."""
    raw = bytearray(1024)
    struct.pack_into(f"{order}4i", raw, 0, x, y, z, mode)
    struct.pack_into(f"{order}3i", raw, 28, x, y, z if intervals_z is None else intervals_z)
    struct.pack_into(f"{order}3f", raw, 40, cell, cell, cell)
    struct.pack_into(f"{order}2i", raw, 88, space_group, extended)
    struct.pack_into(f"{order}2i", raw, 152, *imod)
    raw[208:212] = name
    raw[212:216] = stamp if stamp is not None else (b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0")
    return bytes(raw)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extended", [0, 80])
@pytest.mark.parametrize(("mode", "kind"), [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")])
def test_reads_voxels_laid_out_by_hand(
    tmp_path: Path, order: str, extended: int, mode: int, kind: str
) -> None:
    expected = np.arange(24).reshape(2, 3, 4)  # x varies fastest
    path = tmp_path / "hand.mrc"
    raw = header_bytes(mode=mode, order=order, cell=40.0, extended=extended)
    path.write_bytes(raw + b"e" * extended + expected.astype(order + kind).tobytes())

    volume = read_volume(path)

    assert volume.data.dtype == np.dtype(order + kind)
    np.testing.assert_array_equal(volume.data, expected)
    assert volume.voxel_size_in_angstrom == 10.0  # 40 Å over 4 voxels
    assert volume.path == path


def test_data_is_mapped_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "v.mrc"
    write_volume(path, np.ones((3, 4, 5), np.float32), 10.0)
    data = read_volume(path).data
    assert isinstance(data, np.memmap)
    assert not data.flags.writeable


@pytest.mark.parametrize("cell", [0.0, -1.0, float("nan"), float("inf")])
def test_unknown_voxel_size_is_none(tmp_path: Path, cell: float) -> None:
    path = tmp_path / "v.mrc"
    path.write_bytes(header_bytes(cell=cell) + bytes(96))
    assert read_volume(path).voxel_size_in_angstrom is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_order_is_found_without_a_machine_stamp(tmp_path: Path, order: str) -> None:
    path = tmp_path / "v.mrc"
    values = np.arange(24, dtype=f"{order}f4")
    path.write_bytes(header_bytes(order=order, stamp=bytes(4)) + values.tobytes())
    np.testing.assert_array_equal(read_volume(path).data.ravel(), values)


@pytest.mark.parametrize(
    ("imod", "expected"), [((0, 0), -56), ((1146047817, 1), -56), ((1146047817, 0), 200)]
)
def test_unsigned_bytes_of_imod(tmp_path: Path, imod: tuple[int, int], expected: int) -> None:
    path = tmp_path / "v.mrc"
    path.write_bytes(header_bytes(mode=0, imod=imod) + bytes([200] * 24))
    assert int(read_volume(path).data[0, 0, 0]) == expected


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty (0 bytes)"),
        (b"not a volume", "12 bytes are there"),
        (b"x" * 5000, "not an MRC file"),
        (header_bytes(name=b"JUNK") + bytes(96), "not an MRC file"),
        (header_bytes(x=-4) + bytes(96), "not an MRC file"),
        (header_bytes() + bytes(95), "1,119 bytes are there, 1,120 are needed"),
        (header_bytes(extended=16) + bytes(96), "1,120 bytes are there, 1,136 are needed"),
        (header_bytes(z=1) + bytes(48), "a single image of 3×4 pixels (y×x), not a volume"),
        (header_bytes(y=0), "2×0×4 voxels"),
        (header_bytes(mode=4) + bytes(192), "complex numbers (MRC mode 4)"),
        (header_bytes(mode=101) + bytes(12), "packed 4-bit integers"),
        (header_bytes(mode=55) + bytes(96), "unknown type (MRC mode 55)"),
        (header_bytes(z=6, intervals_z=2, space_group=401) + bytes(288), "a stack of 3 volumes"),
        (gzip.compress(header_bytes() + bytes(96), mtime=0), "packed with gzip"),
    ],
)
def test_refuses(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "bad.mrc"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert problem in caught.value.problem
    assert caught.value.source == str(path)
    assert path.read_bytes() == content


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_volume(tmp_path / "missing.mrc")
    with pytest.raises(InputError, match="a folder"):
        read_volume(tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_names_the_first_bad_voxel_across_blocks(
    tmp_path: Path, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tomotwin_lib.formats.volumes._BLOCK_BYTES", 2 * 3 * 4 * 4)  # two slices a block
    data = np.zeros((7, 3, 4), np.float32)
    data[5, 1, 2] = data[6, 0, 0] = bad
    volume = Volume(data, None, tmp_path / "v.mrc")
    with pytest.raises(InputError, match=r"z=5, y=1, x=2 is (nan|inf|-inf)"):
        require_finite(volume)
    require_finite(Volume(data[:5], None, tmp_path / "v.mrc"))
    require_finite(Volume(data[:5].astype(np.int16), None, tmp_path / "v.mrc"))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.int8, np.int8),
        (np.int16, np.int16),
        (np.float32, np.float32),
        (np.float64, np.float32),
        (np.bool_, np.float32),
        (np.uint16, np.float32),
        (np.float16, np.float32),
    ],
)
def test_written_volume_is_what_mrcfile_reads(tmp_path: Path, given: type, kept: type) -> None:
    data = (np.arange(60).reshape(3, 4, 5) % 2).astype(given)
    path = tmp_path / "new folder" / "v.mrc"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_volume(path, data, 13.48)
        with mrcfile.open(path) as mrc:
            assert mrc.data.dtype == kept
            np.testing.assert_array_equal(mrc.data, data)
            assert int(mrc.header.ispg) == 1
            assert int(mrc.header.mz) == 3
        volume = read_volume(path)
    assert volume.voxel_size_in_angstrom == 13.48
    assert [entry.name for entry in path.parent.iterdir()] == ["v.mrc"]


def test_write_allows_infinities_and_unknown_voxel_size(tmp_path: Path) -> None:
    data = np.full((2, 2, 2), -np.inf, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_volume(tmp_path / "heat.mrc", data, None)
    volume = read_volume(tmp_path / "heat.mrc")
    assert volume.voxel_size_in_angstrom is None
    np.testing.assert_array_equal(volume.data, data)


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.mrc"
    write_volume(path, np.ones((2, 2, 2), np.float32), 1.0)
    before = path.read_bytes()

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mrcfile.mrcfile.MrcFile, "set_volume", fail)
    with pytest.raises(KeyboardInterrupt):
        write_volume(path, np.zeros((2, 2, 2), np.float32), 1.0)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_write_refuses_an_image(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="three axes"):
        write_volume(tmp_path / "v.mrc", np.zeros((2, 2), np.float32), 1.0)


def test_subvolume_is_a_plain_array_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "s.mrc"
    path.write_bytes(header_bytes(4, 4, 4, order=">") + np.arange(64, dtype=">f4").tobytes())
    values = read_subvolume(path, 4)
    assert type(values) is np.ndarray
    assert values.dtype == np.float32 and values.dtype.isnative and values.flags.writeable
    np.testing.assert_array_equal(values.ravel(), np.arange(64))


def test_subvolume_refuses(tmp_path: Path) -> None:
    path = tmp_path / "s.mrc"
    data = np.arange(36, dtype=np.float32).reshape(4, 3, 3)
    write_volume(path, data, None)
    with pytest.raises(InputError, match=r"4×3×3 voxels .*, not 3×3×3.*box of 3 voxels"):
        read_subvolume(path, 3)
    assert read_subvolume(path).shape == (4, 3, 3)
    write_volume(path, np.full((3, 3, 3), 7.5), None)
    with pytest.raises(InputError, match=r"every voxel is 7\.5"):
        read_subvolume(path, 3)
    data[2, 1, 0] = np.nan
    write_volume(path, data, None)
    with pytest.raises(InputError, match="z=2, y=1, x=0 is nan"):
        read_subvolume(path)


def test_finds_volumes(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deeper.mrc").mkdir(parents=True)
    for name in ("b.MRC", "a.rec", "c.map", "d.txt", "e.mrcs", ".hidden.mrc"):
        (folder / name).touch()
    single = tmp_path / "odd.ending"
    single.touch()
    found = find_volumes([single, str(folder), folder / "a.rec"])
    assert found == sorted([folder / "a.rec", folder / "b.MRC", folder / "c.map", single])


def test_find_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        find_volumes([tmp_path / "missing"])
    with pytest.raises(InputError, match=r"no volume .* in this folder"):
        find_volumes([tmp_path])
    with pytest.raises(InputError, match="no file was given"):
        find_volumes([])


def test_reads_every_fixture_like_mrcfile(shared: Path) -> None:
    paths = [
        *find_volumes([shared / "interop" / "pipeline", shared / "interop" / "pipeline" / "refs"]),
        shared / "interop" / "real" / "model_0_1BXN_1.mrc",
        shared / "data" / "picking" / "seen" / "tomogram.mrc",
    ]
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            volume = read_volume(path)
        with mrcfile.mmap(path, permissive=True) as mrc:
            np.testing.assert_array_equal(volume.data, mrc.data)
            size = float(mrc.voxel_size.x)
        assert (volume.voxel_size_in_angstrom or 0.0) == pytest.approx(size, rel=1e-5)
