"""``tomotwin fetch``: what it prints, and one line for what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from stand_in import StandIn, tarred

from tomotwin_lib.cli.main import main
from tomotwin_lib.published.listing import size_text
from tomotwin_lib.published.records import GITHUB, ZENODO, Servers

Fetch = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fetch(capsys: pytest.CaptureFixture[str]) -> Fetch:
    """Run the command: exit code, output, errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main(["fetch", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_several_at_once(server: StandIn, data: Path, fetch: Fetch) -> None:
    code, out, err = fetch("weights", "boxsizes", "weights", "-o", data, "--no-progress")
    assert (code, err) == (0, "note: 1 file of the record was left out: LICENSE\n")
    assert (
        out.splitlines()
        == [
            f"weights: 1.0 MB to download from {server.url}/records/8137931",
            f"wrote {data}/models/tomotwin_latest.pth",
            f"weights: Stand-in of weights ({server.url}/records/8137931, licence cc-by-4.0)",
            f"boxsizes: a file to download from {server.url}/MPI-Dortmund/tomotwin-cryoet/main/resources/"
            "boxsizes.json",
            f"wrote {data}/ground_truth/boxsizes.json",
            f"boxsizes: box sizes of all these proteins ({server.url}/MPI-Dortmund/tomotwin-cryoet/main/"
            "resources/boxsizes.json)",
            "weights: was fetched before and is unchanged; nothing was downloaded",
        ][:-1]
    )
    code, out, err = fetch("weights", "-o", data)
    assert (code, err) == (0, "")
    assert out == "weights: was fetched before and is unchanged; nothing was downloaded\n"


def test_bars_are_shown_unless_they_are_not_wanted(server: StandIn, data: Path, fetch: Fetch) -> None:
    assert "tomotwin_latest.pth: 100%" in fetch("weights", "-o", data)[2]
    assert "%" not in fetch("evaluation", "-o", data, "--no-progress")[2]


def test_many_files_are_told_by_their_folders(server: StandIn, data: Path, fetch: Fetch) -> None:
    volumes = {f"model_{number}_1AVO_0.mrc": b"" for number in range(2000)}
    server.records["training"] = {"train.tar.gz": tarred(volumes)}
    out = fetch("training", "-o", data, "--no-progress")[1]
    assert f"wrote {data}/subvolumes/train (2,000 files)" in out.splitlines()


def test_the_list(server: StandIn, fetch: Fetch) -> None:
    code, out, err = fetch("--list")
    assert (code, err) == (0, "")
    for words in (
        ("training", "(large)", "6637456", "cc-by-4.0"),
        ("evaluation", "15631632", "cc-by-4.0"),
        ("boxsizes", "–"),
        ("weights", "8137931", "1.0 MB", "cc-by-4.0"),
    ):
        (line,) = (line for line in out.splitlines() if f" {words[0]} " in line)
        assert all(word in line for word in words)
    assert server.downloads() == []


def test_the_list_without_a_network(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOMOTWIN_ZENODO", "http://zenodo.invalid")
    code, out, err = fetch("--list")
    assert code == 0
    assert "8137931" in out and "6637456" in out
    assert err.startswith("note: http://zenodo.invalid/api/records/6637456: ") and err.count("\n") == 1


def test_help_names_all_and_says_that_one_is_large(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fetch", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "training: subvolumes to train and validate with (large)" in text
    for word in ("evaluation", "boxsizes", "weights", "--list", "--no-progress", "TOMOTWIN_ZENODO"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("-o", "{data}"), "tomotwin fetch: no name is given"),
        (("weights",), "-o/--output: no data folder is given"),
        (("weights", "wieghts", "-o", "{data}"), "there is no 'wieghts'. There are training, evaluation"),
        (("weights", "-o", "{file}/x"), "cannot be written"),
        (("weights", "-o", "{data}", "--fast"), "unrecognized arguments: --fast"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], problem: str, server: StandIn, data: Path, fetch: Fetch
) -> None:
    file = data.parent / "file"
    file.touch()
    code, out, err = fetch(*(argument.format(data=data, file=file) for argument in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and problem in err and err.count("\n") == 1
    assert server.asked == []


def test_no_network_is_one_line(data: Path, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOMOTWIN_ZENODO", "http://zenodo.invalid")
    code, out, err = fetch("evaluation", "-o", data)
    assert (code, out) == (2, "")
    assert err.startswith("error: http://zenodo.invalid/api/records/15631632: ") and err.count("\n") == 1


def test_servers_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TOMOTWIN_ZENODO", "TOMOTWIN_GITHUB"):
        monkeypatch.delenv(variable, raising=False)
    assert Servers.from_environment() == Servers(ZENODO, GITHUB)
    monkeypatch.setenv("TOMOTWIN_ZENODO", "http://mirror/zenodo/")
    assert Servers.from_environment() == Servers("http://mirror/zenodo", GITHUB)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (28_400_000_000, "28.4 GB"),
    ],
)
def test_sizes_as_people_write_them(size: int | None, text: str) -> None:
    assert size_text(size) == text
