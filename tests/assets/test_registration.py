"""New files become partitions, changed files become events, nothing happens twice."""

from __future__ import annotations

import os

import dagster as dg
import pytest
from sensing import settle
from tiny_platform import Platform

from tomotwin_assets.definitions import defs
from tomotwin_assets.registration import apply, register, scan
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.sensors import new_data


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def test_it_registers_what_is_there_once(platform: Platform, instance: dg.DagsterInstance) -> None:
    first = register(platform.folder, instance)
    assert (first.new_models, first.new_tomograms) == (["net"], ["one", "two"])
    assert sorted(instance.get_dynamic_partitions("models")) == ["net"]
    assert sorted(instance.get_dynamic_partitions("tomograms")) == ["one", "two"]
    reported = {(event.asset_key.to_user_string(), event.partition) for event in first.events}
    assert reported == {
        ("references", None),
        ("models", "net"),
        ("tomograms", "one"),
        ("tomograms", "two"),
        ("ground_truth", "one"),
    }
    second = register(platform.folder, instance)
    assert (second.new_models, second.new_tomograms, second.events) == ([], [], [])
    assert (second.models, second.tomograms) == (["net"], ["one", "two"])


def test_looking_changes_nothing(platform: Platform, instance: dg.DagsterInstance) -> None:
    assert scan(platform.folder, instance).new_models == ["net"]
    assert instance.get_dynamic_partitions("models") == []
    assert scan(platform.folder, instance).new_models == ["net"]


def test_a_changed_file_is_an_event(platform: Platform, instance: dg.DagsterInstance) -> None:
    register(platform.folder, instance)
    os.utime(platform.data / "tomograms" / "two.mrc", ns=(1, 1))
    (event,) = register(platform.folder, instance).events
    assert (event.asset_key.to_user_string(), event.partition) == ("tomograms", "two")


def test_unusable_names_are_told_and_the_rest_is_registered(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    platform.add_tomogram("my tomogram")
    platform.add_checkpoint("three")
    (platform.data / "models" / "three.json").write_text("{}")
    found = register(platform.folder, instance)
    assert sorted(instance.get_dynamic_partitions("tomograms")) == ["one", "two"]
    assert sorted(instance.get_dynamic_partitions("models")) == ["net"]
    told = " ".join(str(problem) for problem in found.problems)
    assert "'my tomogram' cannot name a partition" in told
    assert "three.json and three.pth have one name" in told


def test_hidden_and_other_files_are_no_data(platform: Platform, instance: dg.DagsterInstance) -> None:
    for name in (".one.mrc", "notes.txt", "three.mrc.part", "four.mrc~", "~five.mrc", "six.tmp.mrc"):
        (platform.data / "tomograms" / name).touch()
    found = register(platform.folder, instance)
    assert found.tomograms == ["one", "two"]
    assert not found.problems


def test_a_file_that_is_gone_is_told(platform: Platform, instance: dg.DagsterInstance) -> None:
    register(platform.folder, instance)
    (platform.data / "tomograms" / "one.mrc").unlink()
    assert scan(platform.folder, instance).gone == ["tomogram one"]


def test_the_sensor_asks_for_the_same_as_the_shell(platform: Platform, instance: dg.DagsterInstance) -> None:
    settle(platform.data)

    def tick() -> dg.SensorResult:
        context = dg.build_sensor_context(instance, resources={"data_folder": platform.folder})
        result = new_data(context)
        assert isinstance(result, dg.SensorResult)
        return result

    first = tick()
    requests = first.dynamic_partitions_requests or []
    asked = {request.partitions_def_name: list(request.partition_keys) for request in requests}
    assert asked == {"models": ["net"], "tomograms": ["one", "two"]}
    assert len(first.asset_events) == 5
    assert not first.run_requests
    apply(scan(platform.folder, instance), instance, instance.report_runless_asset_event)
    second = tick()
    assert not second.dynamic_partitions_requests
    assert not second.asset_events


def test_the_sensor_skips_without_a_data_folder(instance: dg.DagsterInstance) -> None:
    context = dg.build_sensor_context(instance, resources={"data_folder": DataFolder(root="/nowhere")})
    result = new_data(context)
    assert isinstance(result, dg.SensorResult)
    assert "does not exist" in str(result.skip_reason)


def test_the_job_of_the_ui_does_the_same(platform: Platform, instance: dg.DagsterInstance) -> None:
    job = defs.resolve_job_def("register_data_folder")
    assert job.execute_in_process(instance=instance).success
    assert sorted(instance.get_dynamic_partitions("tomograms")) == ["one", "two"]
    assert register(platform.folder, instance).events == []


def test_a_tick_reports_a_limited_number_and_the_rest_follows(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    seen: list[list[str]] = []
    for _ in range(4):
        found = scan(platform.folder, instance, most_events=2)
        assert len(found.events) <= 2
        apply(found, instance, instance.report_runless_asset_event)
        seen.append(sorted(instance.get_dynamic_partitions("tomograms")))
    # References and the model come first, then ground truth and a tomogram, then the other tomogram.
    # Only what has been reported is a partition.
    assert seen == [[], ["one"], ["one", "two"], ["one", "two"]]


def test_a_look_costs_as_many_queries_however_many_files_there_are(
    platform: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    storage = type(instance.event_log_storage)
    for name in ("get_latest_tags_by_partition", "get_event_records", "fetch_materializations"):
        original = getattr(storage, name)

        def counted(self: object, *args: object, original: object = original, **options: object) -> object:
            calls.append("")
            return original(self, *args, **options)  # type: ignore[operator]

        monkeypatch.setattr(storage, name, counted)
    numbers = []
    for names in ("abc", "defghij"):
        for name in names:
            (platform.data / "tomograms" / f"{name}.mrc").touch()
        register(platform.folder, instance)
        calls.clear()
        assert scan(platform.folder, instance).events == []
        numbers.append(len(calls))
    assert numbers[0] == numbers[1] > 0


def test_the_job_retires_what_is_gone_if_a_person_asks_for_it(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    register(platform.folder, instance)
    (platform.data / "tomograms" / "one.mrc").unlink()
    job = defs.resolve_job_def("register_data_folder")
    assert job.execute_in_process(instance=instance).success
    assert sorted(instance.get_dynamic_partitions("tomograms")) == ["one", "two"]
    config = {"ops": {"register_new_files": {"config": {"retire_missing": True}}}}
    assert job.execute_in_process(run_config=config, instance=instance).success
    assert instance.get_dynamic_partitions("tomograms") == ["two"]
    (record,) = instance.fetch_observations(dg.AssetKey("tomograms"), limit=5).records
    assert record.asset_observation is not None and record.asset_observation.partition == "one"
