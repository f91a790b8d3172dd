"""Published data come when they are asked for, and make out of date only what they change."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import numpy as np
import pytest

from tomotwin_assets.currency import Currency
from tomotwin_assets.definitions import defs
from tomotwin_assets.registration import register
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.settings import DATA_VARIABLE, read_settings
from tomotwin_assets.stages import STAGES
from tomotwin_lib.errors import InputError
from tomotwin_lib.formats.volumes import write_volume
from tomotwin_lib.published.records import PUBLISHED, ZENODO_VARIABLE

WEIGHTS = b"weights" * 100


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    """An empty data folder, far from any server."""
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv(ZENODO_VARIABLE, "http://zenodo.invalid")
    return DataFolder(root=str(tmp_path / "data"))


@pytest.fixture
def zenodo(tmp_path: Path, folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with stand-ins of the weights and the training subvolumes."""
    web = tmp_path / "web"
    (web / "files").mkdir(parents=True)
    (web / "api" / "records").mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(web)))
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    (web / "files" / "net.pth").write_bytes(WEIGHTS)
    with tarfile.open(web / "files" / "volumes.tar", "w") as archive:
        for name in ("train/a_1abc_0.mrc", "train/b_2xyz_0.mrc", "valid/c_1abc_0.mrc"):
            path = tmp_path / "volumes" / name
            write_volume(path, np.random.default_rng(0).normal(size=(37, 37, 37)), 10.0)
            archive.add(path, name)
    for name, file in (("weights", "net.pth"), ("training", "volumes.tar")):
        content = (web / "files" / file).read_bytes()
        record = {
            "metadata": {"title": f"Stand-in of {name}", "license": {"id": "cc-by-4.0"}},
            "files": [
                {
                    "key": file,
                    "size": len(content),
                    "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
                    "links": {"self": f"{url}/files/{file}"},
                }
            ],
        }
        (web / "api" / "records" / str(PUBLISHED[name].record)).write_text(json.dumps(record))
    monkeypatch.setenv(ZENODO_VARIABLE, url)
    yield url
    server.shutdown()
    server.server_close()


def fetch(instance: dg.DagsterInstance, *names: str, **options: Any) -> dg.ExecuteInProcessResult:
    """Materialise the asset as the launchpad does."""
    job = defs.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey("published_data")],
        run_config={"ops": {"published_data": {"config": {"names": list(names)}}}} if names else None,
        **options,
    )


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What the materialisation tells, as plain values; tables as rows."""
    (event,) = result.get_asset_materialization_events()
    return {
        name: [record.data for record in value.records]
        if isinstance(value, dg.TableMetadataValue)
        else value.value
        for name, value in event.materialization.metadata.items()
    }


def test_with_nothing_asked_for_nothing_is_fetched(folder: DataFolder, instance: dg.DagsterInstance) -> None:
    metadata = told(fetch(instance))
    assert metadata["summary"].startswith("nothing was asked for; the launchpad takes names: training, ")
    assert metadata["dagster/row_count"] == 0
    assert list(folder.path.iterdir()) == []


def test_it_fetches_and_records_what(zenodo: str, folder: DataFolder, instance: dg.DagsterInstance) -> None:
    first = fetch(instance, "weights")
    assert (folder.path / "models" / "net.pth").read_bytes() == WEIGHTS
    metadata, md5 = told(first), hashlib.md5(WEIGHTS).hexdigest()
    assert metadata["summary"] == "1 file, 700 B; fetched weights"
    assert metadata["files"] == [{"file": "models/net.pth", "size_in_mb": 0.001, "md5": md5}]
    assert metadata["downloads"] == [
        {"file": "net.pth", "size_in_mb": 0.001, "checksum": f"md5:{md5}", "url": f"{zenodo}/files/net.pth"}
    ]
    assert metadata["records"] == [
        {
            "name": "weights",
            "record": f"{zenodo}/records/8137931",
            "title": "Stand-in of weights",
            "licence": "cc-by-4.0",
        }
    ]
    second = fetch(instance, "weights")
    assert told(second)["summary"] == "1 file, 700 B; there already: weights"
    versions = {
        event.materialization.tags["dagster/data_version"]
        for result in (first, second)
        for event in result.get_asset_materialization_events()
    }
    assert len(versions) == 1


def test_what_cannot_be_fetched_is_told(folder: DataFolder, instance: dg.DagsterInstance) -> None:
    for names, message in (
        (("weights",), "zenodo.invalid"),
        (("weights", "wieghts"), "there is no 'wieghts'. There are training, evaluation"),
    ):
        result = fetch(instance, *names, raise_on_error=False)
        assert not result.success
        (failure,) = (event for event in result.all_events if event.is_step_failure)
        error = failure.step_failure_data.error
        assert error is not None and error.cause is not None
        assert error.cause.cls_name == InputError.__name__
        assert message in error.cause.message


def test_it_comes_before_everything_and_runs_with_nothing() -> None:
    graph = defs.resolve_asset_graph()
    assert dg.AssetKey("published_data") in graph.get_ancestor_asset_keys(dg.AssetKey("training_data"))
    assert not any("published_data" in stage.assets for stage in STAGES)
    for job in (job for job in defs.jobs or () if job.name != "fetch_published_data"):
        keys = defs.resolve_job_def(job.name).asset_layer.selected_asset_keys
        assert dg.AssetKey("published_data") not in keys


def test_only_what_it_changes_is_out_of_date(
    zenodo: str, folder: DataFolder, instance: dg.DagsterInstance
) -> None:
    def why_not() -> str | None:
        register(folder, instance)
        return Currency(defs, instance, folder, read_settings()).why_not("training_data", None)

    def prepare() -> None:
        defs.resolve_job_def("prepare_data").execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey("training_data")]
        )

    assert why_not() == "not made yet"
    prepare()
    assert why_not() is None
    fetch(instance)
    fetch(instance, "weights")
    assert why_not() is None
    fetch(instance, "training")
    assert why_not() == "subvolumes is newer"
    prepare()
    assert why_not() is None
    fetch(instance, "training", "weights")
    assert why_not() is None
    record = instance.get_latest_materialization_event(dg.AssetKey("training_data"))
    assert record is not None and record.asset_materialization is not None
    assert record.asset_materialization.metadata["summary"].value == (
        "2 subvolumes of 2 classes, 1 to validate"
    )
