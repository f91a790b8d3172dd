"""Archives are opened with all that is in them, and nothing gets out of the folder."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from stand_in import content, tarred, zipped

from tomotwin_lib.errors import InputError
from tomotwin_lib.published.unpacking import is_archive, unpack

FILES = {"a.mrc": b"a", "folder/b.mrc": b"b"}
ARCHIVES = {
    "x.zip": zipped(FILES),
    "x.tar": tarred(FILES, "w"),
    "x.tar.gz": tarred(FILES),
    "x.tgz": tarred(FILES),
    "x.tar.xz": tarred(FILES, "w:xz"),
}


def linked(name: str, target: str) -> bytes:
    """A tar archive with a symbolic link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        archive.addfile(entry)
    return stream.getvalue()


@pytest.mark.parametrize("name", sorted(ARCHIVES))
def test_it_unpacks(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(ARCHIVES[name])
    unpack(tmp_path / name, tmp_path / "out", progress=False)
    assert content(tmp_path / "out") == FILES


def test_an_archive_within_becomes_a_folder_of_its_name(tmp_path: Path) -> None:
    inner = {"references.zip": zipped(FILES), "deep/more.tar.gz": tarred({"c.zip": zipped({"c": b"c"})})}
    (tmp_path / "x.zip").write_bytes(zipped({**inner, "._references.zip": b"of a Mac"}))
    unpack(tmp_path / "x.zip", tmp_path / "out", progress=False)
    assert content(tmp_path / "out") == {
        "._references.zip": b"of a Mac",
        "deep/more.tar.gz/c.zip/c": b"c",
        "references.zip/a.mrc": b"a",
        "references.zip/folder/b.mrc": b"b",
    }


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil"])
def test_names_that_lead_outside(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zipped({"good": b"", name: b"evil"}))
    with pytest.raises(InputError, match="outside the folder"):
        unpack(tmp_path / "x.zip", tmp_path / "in" / "out", progress=False)
    assert content(tmp_path / "in") == {}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil"])
def test_names_that_lead_outside_in_a_tar(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tarred({name: b"evil"}, "w"))
    with pytest.raises(InputError, match="outside the folder"):
        unpack(tmp_path / "x.tar", tmp_path / "in" / "out", progress=False)
    assert content(tmp_path / "in") == {}


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret"])
def test_links_that_lead_outside(target: str, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(linked("link", target))
    with pytest.raises(InputError, match="outside the folder"):
        unpack(tmp_path / "x.tar", tmp_path / "out", progress=False)


def test_broken_archives(tmp_path: Path) -> None:
    for name, whole in ARCHIVES.items():
        for number, broken in enumerate((b"", b"no archive", whole[: len(whole) // 2])):
            (tmp_path / name).write_bytes(broken)
            if name == "x.tar" and number == 2:
                continue  # half of a plain tar may end between two entries
            with pytest.raises(InputError, match="cannot be unpacked"):
                unpack(tmp_path / name, tmp_path / f"{name}.{number}", progress=False)


def test_a_packing_that_is_not_known(tmp_path: Path) -> None:
    packed = bytearray(zipped({"a": b"a"}))
    for start in (packed.find(b"PK\x03\x04") + 8, packed.find(b"PK\x01\x02") + 10):
        packed[start : start + 2] = b"\x63\x00"
    (tmp_path / "x.zip").write_bytes(packed)
    assert zipfile.is_zipfile(tmp_path / "x.zip")
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(tmp_path / "x.zip", tmp_path / "out", progress=False)


def test_a_checkpoint_is_no_archive() -> None:
    assert is_archive("Training.TAR.GZ") and is_archive("a.zip")
    assert not is_archive("model.pth") and not is_archive("zip")
