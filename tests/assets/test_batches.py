"""Several tomograms in one run: it makes and records what runs of one tomogram would make and record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView, TemporalContext
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._time import get_current_datetime
from tiny_platform import Platform, make_platform, write_tomogram

from tomotwin_assets import loaded_networks
from tomotwin_assets.batch_records import REASON
from tomotwin_assets.definitions import defs
from tomotwin_assets.registration import register
from tomotwin_assets.stages import PICK

GOOD = ("one", "three", "two")
BAD = "zcut"


@dataclass
class Lab:
    """A tiny data folder and an instance of its own."""

    platform: Platform
    instance: dg.DagsterInstance

    def launch(self, job: str, *, only: tuple[str, ...] = (), **tags: str) -> dg.ExecuteInProcessResult:
        return defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            tags={f"dagster/{name}": value for name, value in tags.items()},
            asset_selection=[dg.AssetKey(asset) for asset in only] or None,
            raise_on_error=False,
        )

    def batch(self, job: str, first: str, last: str) -> dg.ExecuteInProcessResult:
        return self.launch(job, asset_partition_range_start=first, asset_partition_range_end=last)

    def events(self, asset: str, key: str) -> list[dg.AssetMaterialization]:
        """All materialisations of a partition, the latest first."""
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
        records = self.instance.fetch_materializations(wanted, limit=10).records
        return [record.asset_materialization for record in records if record.asset_materialization]

    def stale(self, asset: str, key: str) -> bool:
        graph = defs.resolve_asset_graph()
        moment = TemporalContext(effective_dt=get_current_datetime(), last_event_id=None)
        view = AssetGraphView(temporal_context=moment, instance=self.instance, asset_graph=graph)
        resolver = CachingStaleStatusResolver(self.instance, graph, view)
        return resolver.get_status(dg.AssetKey(asset), key) is not StaleStatus.FRESH


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three good tomograms and a truncated one, all of them checked and picked in one run each."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        platform = make_platform(tmp_path_factory.mktemp("batch"), monkeypatch)
        platform.add_tomogram("three", seed=3)
        cut = platform.add_tomogram(BAD, seed=4)
        cut.write_bytes(cut.read_bytes()[:3000])
        lab = Lab(platform, dg.DagsterInstance.ephemeral())
        register(platform.folder, lab.instance)
        assert list(lab.instance.get_dynamic_partitions("tomograms")) == [*GOOD, BAD]
        assert lab.launch("prepare_data", only=("reference_volumes",)).success
        training = ("trained_model", "reference_embeddings")
        assert lab.launch("train_model", only=training, partition="net").success
        yield lab
        lab.instance.dispose()


@pytest.fixture(scope="module")
def checked(lab: Lab) -> dg.ExecuteInProcessResult:
    return lab.batch("check_tomogram", "one", BAD)


@pytest.fixture(scope="module")
def picked(lab: Lab, checked: dg.ExecuteInProcessResult) -> dg.ExecuteInProcessResult:
    return lab.batch("pick_tomogram", "net|one", f"net|{BAD}")


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Step → message of its failure."""
    return {
        str(event.step_key): event.step_failure_data.error.message
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.error
    }


def test_a_bad_one_is_named_with_its_reason_and_the_others_are_made(
    lab: Lab, checked: dg.ExecuteInProcessResult
) -> None:
    assert not checked.success
    message = failures(checked)["tomogram_checks"]
    assert "1 of 4 partitions could not be made" in message
    assert f"{BAD}: " in message and "truncated" in message
    assert not any(f"{name}: " in message for name in GOOD)
    for name in GOOD:
        assert lab.platform.folder.product("tomogram", name).is_file()
        assert len(lab.events("tomogram", name)) == 1
    assert lab.events("tomogram", BAD) == []
    assert not lab.platform.folder.product("tomogram", BAD).exists()


def test_the_bad_one_has_an_observation_with_the_reason(lab: Lab, checked: dg.ExecuteInProcessResult) -> None:
    (record,) = lab.instance.fetch_observations(dg.AssetKey("tomogram"), limit=10).records
    seen = record.asset_observation
    assert seen is not None and seen.partition == BAD
    assert "truncated" in str(seen.metadata[REASON].value)


def test_later_steps_go_on_without_it_and_the_last_ones_fail(
    lab: Lab, picked: dg.ExecuteInProcessResult
) -> None:
    assert set(failures(picked)) == {"picked_coordinates", "evaluation_report_checks"}
    for message in failures(picked).values():
        assert f"net · {BAD}: tomogram_embeddings: " in message and "not been made yet" in message
    for asset in PICK.assets:
        for name in GOOD:
            assert lab.platform.folder.product(asset, "net", name).exists()
            assert len(lab.events(asset, f"net|{name}")) == 1
        assert not lab.platform.folder.product(asset, "net", BAD).exists()
        assert lab.events(asset, f"net|{BAD}") == []


def test_each_partition_has_its_own_metadata(lab: Lab, picked: dg.ExecuteInProcessResult) -> None:
    paths = {
        str(lab.events("located_picks", f"net|{name}")[0].metadata["path"].value).rsplit("/", 1)[-1]
        for name in GOOD
    }
    assert paths == {f"{name}.tloc" for name in GOOD}
    scored = {name: lab.events("evaluation_report", f"net|{name}")[0].metadata["scored"] for name in GOOD}
    assert {name for name, value in scored.items() if value.value} == {"one"}


def test_a_batch_records_what_single_runs_record(lab: Lab, picked: dg.ExecuteInProcessResult) -> None:
    again = {"tomogram": "two", **dict.fromkeys(PICK.assets, "net|two")}
    assert lab.launch("check_tomogram", partition="two").success
    one = {"partition": "net|two", "partition/model": "net", "partition/tomogram": "two"}
    assert lab.launch("pick_tomogram", **one).success
    for asset, key in again.items():
        alone, among = lab.events(asset, key)[:2]
        assert set(alone.metadata) == set(among.metadata)
        for name in ("summary", "dagster/row_count", "path", "settings", "mean_best_case_f1"):
            if name in alone.metadata and asset != "tomogram_embeddings":  # it tells its speed
                assert alone.metadata[name] == among.metadata[name], (asset, name)
        assert alone.tags is not None and among.tags is not None
        assert set(alone.tags) == set(among.tags)
        assert alone.tags.get("dagster/partition/tomogram") == among.tags.get("dagster/partition/tomogram")
    # The content of a tomogram is its version; what is made from it tells which it was.
    alone, among = lab.events("tomogram", "two")[:2]
    assert alone.tags and among.tags
    assert alone.tags["dagster/data_version"] == among.tags["dagster/data_version"]
    name = "dagster/input_data_version/tomogram"
    versions = {key: (lab.events("tomogram_embeddings", f"net|{key}")[-1].tags or {})[name] for key in GOOD}
    assert len(set(versions.values())) == len(GOOD)


def test_nothing_is_stale_after_a_batch_and_then_only_what_has_changed(
    lab: Lab, picked: dg.ExecuteInProcessResult
) -> None:
    assets = [("tomogram", "{}"), *((asset, "net|{}") for asset in PICK.assets)]

    def stale() -> set[tuple[str, str]]:
        return {(asset, name) for asset, key in assets for name in GOOD if lab.stale(asset, key.format(name))}

    assert stale() == set()
    write_tomogram(lab.platform.data, "three", seed=33)
    register(lab.platform.folder, lab.instance)
    lab.batch("check_tomogram", "one", "two")
    # What is made from something stale is not called stale by Dagster before that is made again.
    assert stale() == {("tomogram_embeddings", "three")}
    assert lab.batch("pick_tomogram", "net|one", "net|two").success
    assert stale() == set()


def test_a_job_can_be_launched_for_some_of_its_assets(lab: Lab, picked: dg.ExecuteInProcessResult) -> None:
    """As from the launchpad, which holds the settings of all of them: new coordinates, no new embedding."""
    before = len(lab.events("located_picks", "net|one"))
    tags = {"asset_partition_range_start": "net|one", "asset_partition_range_end": "net|three"}
    result = lab.launch("pick_tomogram", only=("picked_coordinates", "evaluation_report"), **tags)
    assert result.success
    assert len(lab.events("located_picks", "net|one")) == before


def test_the_network_is_loaded_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(*arguments: Any) -> Any:
        loaded.append(arguments)
        return original(*arguments)

    original = loaded_networks.load
    loaded_networks.forget()
    monkeypatch.setattr(loaded_networks, "load", load)
    path = lab.platform.folder.product("trained_model", "net")
    first = loaded_networks.load_network(path, "cpu")
    assert loaded_networks.load_network(path, "cpu") is first
    assert len(loaded) == 1
    path.write_bytes(path.read_bytes())  # another time of change
    assert loaded_networks.load_network(path, "cpu") is not first
    assert len(loaded) == 2
