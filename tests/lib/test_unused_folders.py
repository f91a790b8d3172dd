"""A command that fails leaves no empty folders behind, and nothing else is taken away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tomotwin_lib.cli.output import guarded
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import atomic_path, ensure_writable_folder

Act = Callable[[Path], object]


def nothing(folder: Path) -> None:
    """Leave it empty."""


def command(folder: Path, act: Act, error: BaseException) -> Callable[[], int]:
    """Make a folder, do something, fail."""

    def run() -> int:
        act(ensure_writable_folder(folder))
        raise error

    return run


@pytest.mark.parametrize("error", [InputError("x", "is wrong", "Mend it"), KeyboardInterrupt()])
def test_empty_folders_that_a_failed_command_made_go_with_their_parents(
    error: BaseException, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    assert guarded(command(tmp_path / "there" / "a" / "b", nothing, error)) in (2, 130)
    assert list(tmp_path.iterdir()) == [tmp_path / "there"] and not list((tmp_path / "there").iterdir())


def test_what_was_there_or_holds_anything_stays(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        ensure_writable_folder(folder / "unused")
        with atomic_path(folder / "kept.txt") as temporary:
            temporary.write_text("1")

    wrong = InputError("x", "is wrong", "Mend it")
    guarded(command(tmp_path, nothing, wrong))
    guarded(command(tmp_path / "a" / "b", write, wrong))
    assert sorted(tmp_path.rglob("*")) == [tmp_path / name for name in ("a", "a/b", "a/b/kept.txt")]


def test_a_command_that_ends_well_and_the_library_alone_keep_their_folders(tmp_path: Path) -> None:
    def well() -> int:
        ensure_writable_folder(tmp_path / "a" / "b")
        return 0

    assert guarded(well) == 0
    with pytest.raises(InputError):
        command(tmp_path / "c", nothing, InputError("x", "is wrong", "Mend it"))()
    guarded(command(tmp_path / "d", nothing, InputError("x", "is wrong", "Mend it")))
    assert sorted(tmp_path.rglob("*")) == [tmp_path / name for name in ("a", "a/b", "c")]
