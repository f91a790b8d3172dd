"""What a second try can mend gets one; everything else fails at once."""

# No postponed annotations: Dagster reads those of assets.

import errno
import sqlite3
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy.exc
import torch

from tomotwin_assets import io_managers
from tomotwin_assets.io_managers import ProductStore
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.retries import mendable, reason, second_tries, with_second_tries
from tomotwin_assets.values import TrainingData
from tomotwin_lib.errors import InputError

LOST = sqlalchemy.exc.OperationalError("SELECT 1", None, sqlite3.OperationalError("database is locked"))
WRONG = sqlalchemy.exc.ProgrammingError("SELEC 1", None, sqlite3.ProgrammingError("syntax error"))


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        *(OSError(number, "no") for number in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOSPC)),
        TimeoutError(errno.ETIMEDOUT, "no"),
        LOST,
        caused(InputError("a", "the folder cannot be written", "b"), OSError(errno.ENOSPC, "full")),
    ],
    ids=str,
)
def test_passing_trouble_gets_another_try(error: Exception) -> None:
    assert mendable(error)
    with pytest.raises(dg.RetryRequested) as caught, second_tries():
        raise error
    assert caught.value.max_retries == 2
    assert caught.value.seconds_to_wait and caught.value.seconds_to_wait >= 10
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        InputError("a", "the file is truncated", "Copy it again"),
        FileNotFoundError(errno.ENOENT, "no"),
        PermissionError(errno.EACCES, "no"),
        RuntimeError("shapes differ"),
        MemoryError(),
        WRONG,
    ],
    ids=repr,
)
def test_lasting_trouble_passes_as_it_is(error: Exception) -> None:
    assert mendable(error) is None
    with pytest.raises(type(error)) as caught, second_tries():
        raise error
    assert caught.value is error


def test_an_interruption_is_no_trouble() -> None:
    with pytest.raises(KeyboardInterrupt), second_tries():
        raise KeyboardInterrupt


def test_the_decorator_keeps_what_dagster_reads_and_the_second_try_succeeds() -> None:
    troubles = [OSError(errno.EIO, "no")]

    @dg.asset
    @with_second_tries
    def word(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        """A word."""
        if troubles:
            raise troubles.pop()
        return dg.MaterializeResult(metadata={"tries": context.retry_number + 1})

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("tomotwin_assets.retries.SECONDS_TO_WAIT", 0.0)
        result = dg.materialize([word])
    assert result.success
    (made,) = result.asset_materializations_for_node("word")
    assert made.metadata["tries"].value == 2
    assert word.descriptions_by_key[dg.AssetKey("word")] == "A word."


def test_a_full_disk_leaves_no_file_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataFolder(root=str(tmp_path))
    full = [OSError(errno.ENOSPC, "No space left on device")]
    write = io_managers.FORMATS["training_data"].write

    def write_or_fail(folder: DataFolder, path: Path, value: TrainingData) -> None:
        if full:
            raise full.pop()
        write(folder, path, value)

    @dg.asset
    def training_data() -> TrainingData:
        return TrainingData({"1abc": 3})

    form = io_managers._Format(write_or_fail, io_managers.FORMATS["training_data"].read)
    monkeypatch.setitem(io_managers.FORMATS, "training_data", form)
    monkeypatch.setattr("tomotwin_assets.retries.SECONDS_TO_WAIT", 0.0)
    result = dg.materialize([training_data], resources={"io_manager": ProductStore(data_folder=folder)})
    assert result.success
    assert [event.event_type_value for event in result.all_events].count("STEP_UP_FOR_RETRY") == 1
    assert [path.name for path in (tmp_path / "products").iterdir()] == ["training_data.json"]


def test_reasons_are_for_people() -> None:
    bad = InputError("one.mrc", "it is truncated", "Copy it again")
    assert reason(caused(RuntimeError("while loading"), bad)) == str(bad)
    retry = dg.RetryRequested(max_retries=2)
    assert reason(caused(retry, OSError(errno.EIO, "no"))) == f"OSError: [Errno {errno.EIO}] no"
    assert reason(ValueError("first line\nsecond line")) == "ValueError: first line"
    assert reason(KeyError()) == "KeyError"
