"""Products in an object store: here one in memory, with the same rules as S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tomotwin_assets.object_storage import ObjectStore, object_store
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.settings import DATA_VARIABLE, PRODUCTS_VARIABLE, read_settings
from tomotwin_lib.errors import InputError

URL = "memory://bucket/lab"


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield
    memory.store.clear()


@pytest.fixture
def here(tmp_path: Path) -> ObjectStore:
    return object_store(tmp_path / "here", URL)


@pytest.fixture
def there(tmp_path: Path) -> ObjectStore:
    """Another machine, whose cache knows nothing yet."""
    return object_store(tmp_path / "there", URL)


def write(store: ObjectStore, name: str, text: str) -> Path:
    path = store.cache / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def texts(store: ObjectStore) -> dict[str, str]:
    """The products in a cache, by their names."""
    return {
        path.relative_to(store.cache).as_posix(): path.read_text(encoding="utf-8")
        for path in store.cache.rglob("*")
        if path.is_file() and not path.is_relative_to(store.cache / ".fetched")
    }


def test_what_one_machine_puts_another_fetches(here: ObjectStore, there: ObjectStore) -> None:
    here.put(write(here, "report/net/one.json", "first"))
    here.put(write(here, "report/net/one.json.bak", "another"))
    there.fetch(there.cache / "report/net/one.json")
    assert texts(there) == {"report/net/one.json": "first"}
    here.put(write(here, "report/net/one.json", "later"))
    there.fetch(there.cache / "report/net/one.json")
    assert texts(there) == {"report/net/one.json": "later"}


def test_what_is_the_same_is_not_fetched_again(here: ObjectStore, there: ObjectStore) -> None:
    path = there.cache / "board.csv"
    here.put(write(here, "board.csv", "text"))
    there.fetch(path)
    file = path.stat().st_ino
    there.fetch(path)
    assert path.stat().st_ino == file
    path.write_text("TEXT", encoding="utf-8")  # as long as before, and not what was fetched
    there.fetch(path)
    assert path.read_text(encoding="utf-8") == "text"


def test_what_the_store_does_not_have_stays(here: ObjectStore) -> None:
    path = write(here, "old/one.json", "made before there was a store")
    here.fetch(path)
    here.fetch(here.cache / "old")
    here.fetch(here.cache / "nowhere" / "at.all")
    assert texts(here) == {"old/one.json": "made before there was a store"}


def test_a_folder_loses_what_it_no_longer_has(here: ObjectStore, there: ObjectStore) -> None:
    folder = write(here, "coordinates/net/one/a.star", "a").parent
    gone = write(here, "coordinates/net/one/b.star", "b")
    here.put(folder)
    there.fetch(there.cache / "coordinates/net/one")
    write(there, "coordinates/net/one/mine.txt", "of a person")
    assert len(texts(there)) == 3
    gone.unlink()
    here.put(folder)
    assert [path.name for path in here.list(folder)] == ["a.star"]
    there.fetch(there.cache / "coordinates/net/one")
    assert texts(there) == {"coordinates/net/one/a.star": "a", "coordinates/net/one/mine.txt": "of a person"}


def test_the_store_lists_what_no_cache_has(here: ObjectStore, there: ObjectStore) -> None:
    for name in ("net", "other"):
        here.put(write(here, f"report/{name}/one.json", name))
    here.put(write(here, "reports.csv", "no report"))
    found = there.list(there.cache / "report")
    assert found == [there.cache / "report/net/one.json", there.cache / "report/other/one.json"]


def test_a_fetch_that_breaks_off_leaves_the_old_file(
    here: ObjectStore, there: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = there.cache / "one.json"
    here.put(write(here, "one.json", "old"))
    there.fetch(path)
    here.put(write(here, "one.json", "new"))

    def break_off(remote: str, local: str) -> None:
        Path(local).write_text("n", encoding="utf-8")
        raise ConnectionError("the line is dead")

    with monkeypatch.context() as broken:
        broken.setattr(there.remote.fs, "get_file", break_off)
        with pytest.raises(ConnectionError):
            there.fetch(path)
    assert texts(there) == {"one.json": "old"}
    there.fetch(path)
    assert texts(there) == {"one.json": "new"}


def test_the_data_folder_reads_reports_of_other_machines(
    tmp_path: Path, here: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.delenv(PRODUCTS_VARIABLE, raising=False)
    folder = DataFolder(root=str(tmp_path))
    here.put(write(here, "evaluation_report/net/one.json", "{}"))
    assert folder.evaluation_reports() == []
    assert folder.store() is None
    (tmp_path / "tomotwin.toml").write_text(f'products = "{URL}"\n', encoding="utf-8")
    assert read_settings().products == URL
    report = folder.product("evaluation_report", "net", "one")
    assert folder.is_kept(report)
    assert folder.evaluation_reports() == [report]
    assert report.is_file()
    assert not folder.is_kept(folder.product("evaluation_report", "net", "two"))


@pytest.mark.parametrize("url", ["bucket/prefix", "nosuchstore://bucket/prefix"])
def test_addresses_that_cannot_be_used(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match=r"products.*s3"):
        object_store(tmp_path, url)
