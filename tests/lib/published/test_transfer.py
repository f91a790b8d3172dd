"""Downloads go on where they stopped and are checked by their checksum."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import requests
from stand_in import RECORDS, StandIn, content

from tomotwin_lib.errors import InputError
from tomotwin_lib.published import transfer
from tomotwin_lib.published.fetching import fetch
from tomotwin_lib.published.records import Servers

NAME = "tomotwin_latest.pth"
WEIGHTS = RECORDS["weights"][NAME]
ALL = {f"models/{NAME}": WEIGHTS}
BLOCK = 2**16
RECORD = "/api/records/8137931"
FILE = f"{RECORD}/files/{NAME}/content"


def part(data: Path) -> Path:
    return data / ".published" / "weights" / "downloads" / f"{NAME}.part"


def test_a_connection_that_breaks_off_is_taken_up_again(server: StandIn, data: Path) -> None:
    server.cuts = [4 * BLOCK, 8 * BLOCK + 1]
    fetch("weights", data, progress=False)
    assert content(data) == ALL
    assert server.ranges() == [None, f"bytes={4 * BLOCK}-", f"bytes={12 * BLOCK}-"]


def test_another_run_goes_on_where_the_first_stopped(server: StandIn, data: Path) -> None:
    server.cuts = [4 * BLOCK, 0]
    with pytest.raises(InputError, match=r"goes on where it stopped") as caught:
        fetch("weights", data, progress=False)
    assert caught.value.source == server.url + FILE
    assert content(data) == {}
    assert part(data).read_bytes() == WEIGHTS[: 4 * BLOCK]
    server.asked.clear()
    fetch("weights", data, progress=False)
    assert content(data) == ALL
    assert server.ranges() == [f"bytes={4 * BLOCK}-"]


def test_an_interruption_keeps_what_arrived(
    server: StandIn, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = requests.Response.iter_content

    def interrupted(self: requests.Response, size: int):  # type: ignore[no-untyped-def]
        yield next(real(self, 100_000))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(requests.Response, "iter_content", interrupted)
        # Answers with content, not that of the record, which is read as a whole.
        patch.setattr(requests.Response, "json", lambda self: server.record(8137931))
        with pytest.raises(KeyboardInterrupt):
            fetch("weights", data, progress=False)
    assert part(data).read_bytes() == WEIGHTS[:100_000]
    server.asked.clear()
    fetch("weights", data, progress=False)
    assert (content(data), server.ranges()) == (ALL, ["bytes=100000-"])


def test_an_interruption_of_the_check_keeps_all(
    server: StandIn, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pooch.core.hash_matches", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch("weights", data, progress=False)
    server.asked.clear()
    fetch("weights", data, progress=False)
    assert (content(data), server.downloads()) == (ALL, [])


def test_a_file_system_without_links(server: StandIn, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(transfer.os, "link", refuse)
    fetch("weights", data, progress=False)
    assert content(data) == ALL


def test_a_server_that_sends_no_parts(server: StandIn, data: Path) -> None:
    server.sends_parts = False
    server.cuts = [4 * BLOCK]
    fetch("weights", data, progress=False)
    assert content(data) == ALL
    assert server.ranges() == [None, f"bytes={4 * BLOCK}-"]


@pytest.mark.parametrize("there", [len(WEIGHTS) + 10, len(WEIGHTS), 10])
def test_a_part_that_is_wrong_costs_one_run_at_most(there: int, server: StandIn, data: Path) -> None:
    part(data).parent.mkdir(parents=True)
    part(data).write_bytes(b"x" * there)
    if there <= len(WEIGHTS):
        with pytest.raises(InputError, match="another checksum than the published md5:"):
            fetch("weights", data, progress=False)
    assert not part(data).exists() or there > len(WEIGHTS)
    fetch("weights", data, progress=False)
    assert content(data) == ALL


def test_a_wrong_checksum(server: StandIn, data: Path) -> None:
    server.wrong_checksums = {NAME}
    with pytest.raises(InputError, match="another checksum than the published md5:") as caught:
        fetch("weights", data, progress=False)
    assert caught.value.source == server.url + FILE
    assert content(data) == {}
    assert list(part(data).parent.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "status", "problem"),
    [
        (RECORD, 404, "there is nothing at this address"),
        (RECORD, 410, "there is nothing at this address"),
        (FILE, 404, "there is nothing at this address"),
        (FILE, 403, "the server refuses it"),
        (FILE, 416, "the connection broke off"),
        (RECORD, 429, "busy or out of order"),
        (FILE, 503, "busy or out of order"),
    ],
)
def test_the_server_says_no(path: str, status: int, problem: str, server: StandIn, data: Path) -> None:
    server.statuses[path] = status
    with pytest.raises(InputError, match=problem) as caught:
        fetch("weights", data, progress=False)
    assert caught.value.source == server.url + path
    assert "\n" not in str(caught.value)
    assert content(data) == {}


def test_a_record_that_does_not_exist(server: StandIn, data: Path) -> None:
    del server.records["weights"]
    with pytest.raises(InputError, match="HTTP 404"):
        fetch("weights", data, progress=False)


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[]", b"{}", b'{"metadata": {"title": "x"}, "files": [{"key": "a"}]}',
     b'{"metadata": {"title": "x"}, "files": [{"key": "../a", "size": 1, "checksum": "md5:0", '
     b'"links": {"self": "http://a"}}]}'],
)  # fmt: skip
def test_an_answer_that_is_no_record(
    answer: bytes, server: StandIn, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "content", lambda path: answer)
    with pytest.raises(InputError, match="no list of files") as caught:
        fetch("weights", data, progress=False)
    assert caught.value.source == server.url + RECORD


def test_a_page_instead_of_box_sizes(server: StandIn, data: Path) -> None:
    server.box_sizes = b"<html>Sign in</html>"
    with pytest.raises(InputError, match=r"boxsizes\.json: what arrived holds no box sizes"):
        fetch("boxsizes", data, progress=False)
    assert content(data) == {}


def test_without_a_network(data: Path) -> None:
    # Names that end in .invalid exist nowhere.
    offline = Servers(zenodo="http://zenodo.invalid")
    with pytest.raises(InputError, match=r"^http://zenodo\.invalid.*cannot be (resolved|reached)") as caught:
        fetch("weights", data, servers=offline, progress=False)
    assert "TOMOTWIN_ZENODO" in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_server_that_is_down(data: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(InputError, match="the server cannot be reached"):
        fetch("weights", data, servers=Servers(zenodo=url), progress=False)


def test_an_address_that_is_none(data: Path) -> None:
    with pytest.raises(InputError, match="this is no address of a server"):
        fetch("weights", data, servers=Servers(zenodo="zenodo"), progress=False)
