"""The whole graph with its products in S3 (a server on this machine that speaks the same language)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from assets.tiny_platform import Platform, make_platform

from tomotwin_assets.object_storage import object_store
from tomotwin_assets.settings import PRODUCTS_VARIABLE

boto3 = pytest.importorskip("boto3", reason="make install-services")
moto_server = pytest.importorskip("moto.server", reason="make install-services")

pytestmark = pytest.mark.deploy
BUCKET = "lab"
URL = f"s3://{BUCKET}/picking"


@pytest.fixture(scope="module")
def s3() -> Iterator[object]:
    """A client of an S3 server with one empty bucket, which the environment names."""
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (
            ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            environment.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client
    server.stop()


def objects(s3: object) -> dict[str, int]:
    """Name and size of each object of the bucket."""
    listed = s3.list_objects_v2(Bucket=BUCKET)  # type: ignore[attr-defined]
    return {entry["Key"]: entry["Size"] for entry in listed.get("Contents", [])}


def cached(platform: Platform) -> dict[str, int]:
    """What lies under ``products/``, named as in the bucket."""
    folder = platform.data / "products"
    return {
        f"picking/{path.relative_to(folder).as_posix()}": path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def test_the_graph_and_a_machine_that_lost_its_cache(
    s3: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    platform = make_platform(tmp_path, monkeypatch)
    monkeypatch.setenv(PRODUCTS_VARIABLE, URL)
    assert platform.call("run", "--all") == 0
    made = objects(s3)
    assert made == cached(platform)
    assert {"picking/leaderboard.csv", "picking/picked_coordinates/net/one/1abc.coords"} < set(made)

    # A machine that shares the data and the history, but no product.
    shutil.rmtree(platform.data / "products")
    capsys.readouterr()
    assert platform.call("run", "--all") == 0
    assert "0 products made" in capsys.readouterr().out
    platform.add_tomogram("three", seed=3)
    assert platform.call("run", "--all") == 0
    after = objects(s3)
    assert set(made) < set(after)
    assert "picking/located_picks/net/three.tloc" in after
    # What the new work needed was fetched, and nothing else: no embedding of another tomogram.
    there = cached(platform)
    assert "picking/trained_model/net.pth" in there
    assert "picking/evaluation_report/net/one.json" in there
    assert "picking/tomogram_embeddings/net/one.temb" not in there
    assert there.items() <= after.items()


def test_a_large_file_is_there_whole_or_not_at_all(
    s3: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = (object_store(tmp_path / name, f"s3://{BUCKET}/large") for name in ("here", "there"))
    path = here.cache / "net" / "one.temb"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    here.put(path)
    # Sent in parts, the last of which does not come.
    path.write_bytes(bytes(range(256)) * (130 << 12))

    async def break_off(*arguments: object, **options: object) -> None:
        raise ConnectionError("the line is dead")

    with monkeypatch.context() as broken:
        broken.setattr(type(here.remote.fs), "_upload_file_part_concurrent", break_off)
        with pytest.raises(ConnectionError):
            here.put(path)
    other = there.cache / "net" / "one.temb"
    there.fetch(other)
    assert other.read_bytes() == b"old"
    here.put(path)
    there.fetch(other)
    assert other.read_bytes() == path.read_bytes()
