"""Published data go where the platform reads them, once, and over nothing of the user's."""

from __future__ import annotations

import errno
import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from stand_in import BOX_SIZES, POSITIONS, RECORDS, StandIn, content, tarred, zipped

from tomotwin_lib.errors import InputError
from tomotwin_lib.files import ensure_writable_folder, locked
from tomotwin_lib.formats.ground_truth import label_from_name, read_box_sizes, read_particle_positions
from tomotwin_lib.formats.volumes import find_volumes
from tomotwin_lib.published import placing
from tomotwin_lib.published.fetching import fetch

EVALUATION = {
    "ground_truth/tiltseries_rec.txt": POSITIONS,
    "references/gen01_t001_1avo.mrc": b"r0",
    "references/gen01_t002_1fzg.mrc": b"r1",
    "tomograms/tiltseries_rec.mrc": RECORDS["evaluation"]["tiltseries_rec.mrc"],
}
TRAINING = {
    "subvolumes/train/model_0_1AVO_0.mrc": b"t0",
    "subvolumes/train/model_1_1FZG_0.mrc": b"t1",
    "subvolumes/valid/model_2_1AVO_0.mrc": b"v0",
}
WEIGHTS = {"models/tomotwin_latest.pth": RECORDS["weights"]["tomotwin_latest.pth"]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("training", TRAINING),
        ("evaluation", EVALUATION),
        ("weights", WEIGHTS),
        ("boxsizes", {"ground_truth/boxsizes.json": BOX_SIZES}),
    ],
)
def test_each_goes_to_its_place(name: str, expected: dict[str, bytes], server: StandIn, data: Path) -> None:
    fetched = fetch(name, data, progress=False)
    assert content(data) == expected
    assert {file.path for file in fetched.files} == set(expected)
    assert fetched.size == sum(map(len, expected.values()))
    # Neither archives nor anything unpacked is left.
    assert sorted(path.name for path in (data / ".published").iterdir()) == sorted(["lock", f"{name}.json"])


def test_the_library_reads_what_was_fetched(server: StandIn, data: Path) -> None:
    for name in ("training", "evaluation", "boxsizes"):
        fetch(name, data, progress=False)
    training = find_volumes([data / "subvolumes" / "train"])
    assert [label_from_name(path.name) for path in training] == ["1avo", "1fzg"]
    positions = read_particle_positions(data / "ground_truth" / "tiltseries_rec.txt")
    assert list(positions["class"]) == ["1avo", "1fzg"]
    assert read_box_sizes(data / "ground_truth" / "boxsizes.json") == {"1avo": 18, "1fzg": 28}


def test_it_tells_what_it_fetched(server: StandIn, data: Path) -> None:
    told: list[str] = []
    fetched = fetch("training", data, progress=False, tell=told.append)
    size = sum(len(RECORDS["training"][name]) for name in ("training.tar.gz", "validation.tar"))
    assert told == [f"training: {size / 1000:.1f} kB to download from {server.url}/records/6637456"]
    assert (fetched.title, fetched.licence) == ("Stand-in of training", "cc-by-4.0")
    assert fetched.left_out == ("README.md", "training.tar.gz/vols/README")
    assert "README.md" not in server.downloads()
    assert fetched.folders() == {"subvolumes/train": 2, "subvolumes/valid": 1}
    assert all(file.checksum and file.checksum.startswith("md5:") for file in fetched.downloads)


def test_the_second_time_takes_no_network(server: StandIn, data: Path) -> None:
    first = fetch("evaluation", data, progress=False)
    server.asked.clear()
    second = fetch("evaluation", data, progress=False)
    assert server.asked == []
    assert second.reused and not first.reused
    assert second.files == first.files and second.downloads == first.downloads


def test_what_was_deleted_comes_back(server: StandIn, data: Path) -> None:
    fetch("evaluation", data, progress=False)
    (data / "references" / "gen01_t001_1avo.mrc").unlink()
    server.asked.clear()
    assert not fetch("evaluation", data, progress=False).reused
    assert content(data) == EVALUATION
    # The tomogram was there, with the right checksum.
    assert sorted(server.downloads()) == ["particle_positions.txt", "references.zip"]


def test_identical_files_of_the_user_are_kept(server: StandIn, data: Path) -> None:
    for place, text in {**EVALUATION, "tomograms/mine.mrc": b"mine"}.items():
        (data / place).parent.mkdir(parents=True, exist_ok=True)
        (data / place).write_bytes(text)
    before = (data / "references" / "gen01_t001_1avo.mrc").stat()
    fetch("evaluation", data, progress=False)
    assert content(data) == {**EVALUATION, "tomograms/mine.mrc": b"mine"}
    after = (data / "references" / "gen01_t001_1avo.mrc").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert "tiltseries_rec.mrc" not in server.downloads()


@pytest.mark.parametrize("place", sorted(EVALUATION))
def test_other_files_of_the_user_are_never_overwritten(place: str, server: StandIn, data: Path) -> None:
    (data / place).parent.mkdir(parents=True)
    (data / place).write_bytes(b"mine")
    with pytest.raises(InputError, match="not overwritten") as caught:
        fetch("evaluation", data, progress=False)
    assert caught.value.source == str(data / place)
    assert content(data) == {place: b"mine"}
    # Once it is out of the way, nothing has to be downloaded a second time.
    (data / place).unlink()
    had = set(server.downloads())
    server.asked.clear()
    fetch("evaluation", data, progress=False)
    assert content(data) == EVALUATION
    assert had.isdisjoint(server.downloads())


def test_a_tomogram_of_the_same_name_stops_it_before_any_download(server: StandIn, data: Path) -> None:
    (data / "tomograms").mkdir(parents=True)
    (data / "tomograms" / "tiltseries_rec.mrc").write_bytes(b"mine")
    with pytest.raises(InputError):
        fetch("evaluation", data, progress=False)
    assert server.downloads() == []


def test_a_fetched_file_that_was_changed_is_told_before_any_download(server: StandIn, data: Path) -> None:
    fetch("boxsizes", data, progress=False)
    (data / "ground_truth" / "boxsizes.json").write_text('{"1avo": 20}')
    server.asked.clear()
    with pytest.raises(InputError, match=r"boxsizes\.json.*not overwritten"):
        fetch("boxsizes", data, progress=False)
    assert server.asked == []
    assert read_box_sizes(data / "ground_truth" / "boxsizes.json") == {"1avo": 20}


def test_a_file_where_a_folder_belongs(server: StandIn, data: Path) -> None:
    data.mkdir()
    (data / "subvolumes").write_bytes(b"mine")
    with pytest.raises(InputError, match="not overwritten") as caught:
        fetch("training", data, progress=False)
    assert caught.value.source == str(data / "subvolumes")


def test_files_join_those_in_the_folders(server: StandIn, data: Path) -> None:
    (data / "subvolumes" / "train").mkdir(parents=True)
    (data / "subvolumes" / "train" / "mine_1abc.mrc").write_bytes(b"mine")
    fetch("training", data, progress=False)
    assert content(data) == {**TRAINING, "subvolumes/train/mine_1abc.mrc": b"mine"}


def test_if_moving_fails_halfway_all_is_moved_back(
    server: StandIn, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "references").mkdir(parents=True)
    real, calls = placing._move, []

    def failing(source: Path, target: Path, moved: list[Any]) -> None:
        if ".published" not in target.parts:
            calls.append(target)
            if len(calls) == 3:
                raise OSError(errno.EIO, "Input/output error", str(target))
        real(source, target, moved)

    monkeypatch.setattr(placing, "_move", failing)
    with pytest.raises(InputError, match="Input/output error"):
        fetch("evaluation", data, progress=False)
    assert content(data) == {}
    monkeypatch.setattr(placing, "_move", real)
    server.asked.clear()
    fetch("evaluation", data, progress=False)
    assert content(data) == EVALUATION
    assert server.downloads() == []


def test_a_folder_on_another_disk(server: StandIn, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if ".published" in self.parts and ".published" not in target.parts:
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(placing, "_disk", lambda path: ".published" in path.parts)
    fetch("evaluation", data, progress=False)
    assert content(data) == EVALUATION


def test_archives_in_archives_and_names_that_come_twice(server: StandIn, data: Path) -> None:
    inner = {"validation.zip": zipped({"a/model_0_1AVO_0.mrc": b"v"})}
    outer = {"set/train/round1/model_0_1AVO_0.mrc": b"1", "set/train/round2/model_0_1AVO_0.mrc": b"2"}
    server.records["training"] = {"data.zip": zipped({**outer, **inner})}
    fetch("training", data, progress=False)
    assert content(data) == {
        "subvolumes/train/model_0_1AVO_0.mrc": b"1",
        "subvolumes/train/model_0_1AVO_0_2.mrc": b"2",
        "subvolumes/valid/model_0_1AVO_0.mrc": b"v",
    }
    assert {label_from_name(path) for path in content(data)} == {"1avo"}


def test_a_record_as_one_archive(server: StandIn, data: Path) -> None:
    server.records["evaluation"] = {"eval.zip": zipped(RECORDS["evaluation"])}
    fetch("evaluation", data, progress=False)
    assert content(data) == EVALUATION


def test_positions_that_could_be_of_any_tomogram_keep_their_name(server: StandIn, data: Path) -> None:
    server.records["evaluation"]["second.mrc"] = b"another"
    fetch("evaluation", data, progress=False)
    assert (data / "ground_truth" / "particle_positions.txt").read_bytes() == POSITIONS


def test_subvolumes_of_which_nothing_says_what_for(server: StandIn, data: Path) -> None:
    server.records["training"] = {"data.zip": zipped({"vols/model_0_1AVO_0.mrc": b""})}
    with pytest.raises(InputError, match=r"data\.zip/vols/model_0_1AVO_0\.mrc: no folder"):
        fetch("training", data, progress=False)
    assert content(data) == {}


def test_a_record_with_nothing_to_use(server: StandIn, data: Path) -> None:
    server.records["weights"] = {"README.md": b"moved"}
    with pytest.raises(InputError, match="holds nothing that belongs") as caught:
        fetch("weights", data, progress=False)
    assert caught.value.source == f"{server.url}/records/8137931"


def test_an_archive_that_reaches_out_of_the_folder(server: StandIn, data: Path) -> None:
    server.records["training"] = {"train.tar": tarred({"../../../evil_1abc.mrc": b"evil"}, "w")}
    with pytest.raises(InputError, match="outside the folder"):
        fetch("training", data, progress=False)
    assert content(data) == {}
    assert not list(data.parent.rglob("evil*"))


def test_room_is_checked_before_the_download(
    server: StandIn, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    needed = len(RECORDS["weights"]["tomotwin_latest.pth"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, needed - 1))
    with pytest.raises(InputError, match=r"at least 1\.0 MB are needed, 1\.0 MB are free"):
        fetch("weights", data, progress=False)
    assert server.downloads() == []
    # What arrived before is not needed again.
    downloads = data / ".published" / "weights" / "downloads"
    (downloads / "tomotwin_latest.pth.part").write_bytes(RECORDS["weights"]["tomotwin_latest.pth"][:10])
    fetch("weights", data, progress=False)


@pytest.mark.parametrize(
    "step", ["tomotwin_lib.published.transfer.get", "tomotwin_lib.published.fetching.unpack"]
)
def test_a_disk_that_fills_up(
    step: str, server: StandIn, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(InputError, match=f"{data}: the disk is full"):
        fetch("training", data, progress=False)
    assert content(data) == {}


def test_two_do_not_fetch_into_one_folder(server: StandIn, data: Path) -> None:
    workspace = ensure_writable_folder(data / ".published")
    with (
        locked(workspace / "lock", "another one"),
        pytest.raises(InputError, match="something else is being fetched"),
    ):
        fetch("weights", data, progress=False)


def test_a_receipt_that_cannot_be_read_is_written_again(server: StandIn, data: Path) -> None:
    fetch("weights", data, progress=False)
    receipt = data / ".published" / "weights.json"
    for text in ("{", "[]", "{}", json.dumps({"downloads": [], "files": [{"path": 1}]})):
        receipt.write_text(text)
        server.asked.clear()
        fetch("weights", data, progress=False)
        assert server.downloads() == []
    assert json.loads(receipt.read_text())["record"] == 8137931
