"""What the UI says is out of date, after a change of data, settings, or code; and what is then made again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import numpy as np
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from tiny_platform import Platform, make_platform

from tomotwin_assets.definitions import defs
from tomotwin_assets.instance import open_instance
from tomotwin_assets.partitions import pair_key
from tomotwin_assets.registration import register
from tomotwin_lib.calibration import Background, Calibration, volume_of_picks
from tomotwin_lib.formats.calibration import write_calibration
from tomotwin_lib.formats.frames import read_picks

PAIR = pair_key("net", "two")
OF_PAIR = [
    "tomogram_embeddings",
    "similarity_map",
    "located_picks",
    "picked_coordinates",
    "evaluation_report",
]
KEYS: dict[str, str | None] = {
    "reference_volumes": None,
    "tomogram": "two",
    "trained_model": "net",
    "reference_embeddings": "net",
    **dict.fromkeys(OF_PAIR, PAIR),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One tomogram, picked; the tests below change things in turn."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        platform = make_platform(tmp_path_factory.mktemp("stale"), monkeypatch)
        assert platform.call("run", "--tomogram", "two") == 0
        yield platform


def stale(instance: dg.DagsterInstance, definitions: dg.Definitions = defs) -> set[str]:
    """The products that Dagster takes to be out of date."""
    graph = definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return {
        asset
        for asset, key in KEYS.items()
        if resolver.get_status(dg.AssetKey(asset), key) is not StaleStatus.FRESH
    }


def with_code_version(asset: str, version: str) -> dg.Definitions:
    """The graph as it would be with other code of one asset."""
    return defs.map_resolved_asset_specs(
        func=lambda spec: spec.replace_attributes(code_version=version), selection=asset
    )


def storage_id(instance: dg.DagsterInstance, asset: str) -> int:
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[PAIR])
    return instance.fetch_materializations(wanted, limit=1).records[0].storage_id


def test_nothing_is_out_of_date_after_a_run(made: Platform) -> None:
    with open_instance(made.data) as instance:
        assert stale(instance) == set()


def test_other_code_makes_its_product_out_of_date(made: Platform) -> None:
    with open_instance(made.data) as instance:
        assert stale(instance, with_code_version("similarity_map", "next")) == {"similarity_map"}


def test_a_threshold_in_the_launchpad_makes_picks_again_and_never_embeddings(made: Platform) -> None:
    """`located_picks` alone with another setting: only what is made from picks is then out of date."""
    job = defs.resolve_job_def("pick_tomogram")
    with open_instance(made.data) as instance:
        before = {asset: storage_id(instance, asset) for asset in OF_PAIR}
        result = job.get_subset(asset_selection={dg.AssetKey("located_picks")}).execute_in_process(
            instance=instance,
            partition_key=PAIR,
            run_config={"ops": {"located_picks": {"config": {"lowest_similarity": 0.2}}}},
        )
        assert result.success
        after = {asset: storage_id(instance, asset) for asset in OF_PAIR}
        assert {asset for asset in OF_PAIR if after[asset] != before[asset]} == {"located_picks"}
        assert stale(instance) == {"picked_coordinates", "evaluation_report"}


def test_the_same_settings_again_leave_what_follows_as_it_is(made: Platform) -> None:
    job = defs.resolve_job_def("pick_tomogram").get_subset(
        asset_selection={dg.AssetKey(asset) for asset in ("located_picks", "picked_coordinates")}
    )
    config: dict[str, Any] = {"ops": {"located_picks": {"config": {"lowest_similarity": 0.2}}}}
    with open_instance(made.data) as instance:
        assert job.execute_in_process(instance=instance, partition_key=PAIR, run_config=config).success
        assert stale(instance) == {"evaluation_report"}
        again = job.get_subset(asset_selection={dg.AssetKey("located_picks")})
        assert again.execute_in_process(instance=instance, partition_key=PAIR, run_config=config).success
        assert stale(instance) == {"evaluation_report"}


def test_new_data_make_what_follows_out_of_date(made: Platform) -> None:
    """One step at a time: what lies further down is out of date once its own inputs differ.

    Dagster does not look at partitioned sources, so that of a changed tomogram it tells when it has been
    checked again; the platform's own record (``currency``) tells at once.
    """
    with open_instance(made.data) as instance:
        before = stale(instance)
        (made.data / "ground_truth" / "boxsizes.json").write_text('{"1abc": 28, "2xyz": 37}')
        made.add_tomogram("two", seed=7)
        register(made.folder, instance)
        assert stale(instance) - before == {"reference_volumes"}
        job = defs.resolve_job_def("check_tomogram")
        assert job.execute_in_process(instance=instance, partition_key="two").success
        assert stale(instance) - before == {"reference_volumes", "tomogram_embeddings"}


def test_every_asset_that_is_made_has_a_version_of_its_code() -> None:
    """Raise it beside the asset, in its decorator, whenever the same inputs would give another product."""
    graph = defs.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        version = graph.get(key).code_version
        assert isinstance(version, str) and version, key


def calibration_of_picks(instance: dg.DagsterInstance) -> Any:
    """The checksum of the calibration that the picks on record were chosen by."""
    wanted = dg.AssetRecordsFilter(dg.AssetKey("located_picks"), asset_partitions=[PAIR])
    made = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    assert made is not None
    return made.metadata["calibration_md5"].value


def test_at_most_so_many_false_picks_are_kept(made: Platform) -> None:
    """By the calibration in the data folder, which is one of the inputs; without it the step fails."""
    job = defs.resolve_job_def("pick_tomogram").get_subset(asset_selection={dg.AssetKey("located_picks")})
    settings = {"lowest_similarity": -1.0, "tolerance": 0.01}
    config: dict[str, Any] = {"ops": {"located_picks": {"config": settings}}}
    file = made.folder.calibration_file()
    with open_instance(made.data) as instance:
        assert job.execute_in_process(instance=instance, partition_key=PAIR, run_config=config).success
        config["ops"]["located_picks"]["config"] = {**settings, "max_false_picks": 0.25}
        failed = job.execute_in_process(
            instance=instance, partition_key=PAIR, run_config=config, raise_on_error=False
        )
        assert not failed.success
        everything = read_picks(made.folder.product("located_picks", "net", "two"))
        metric = everything.loc[everything["predicted_class"] == 0, "metric_best"].sort_values()
        reference = everything.attrs["references"][0]
        # No false pick of the first reference in a hundred times the volume; of the second nothing is known.
        background = Background(np.empty(0), 100 * volume_of_picks(everything), 1, -1.0)
        write_calibration(file, Calibration({reference: background}))
        assert job.execute_in_process(instance=instance, partition_key=PAIR, run_config=config).success
        kept = read_picks(made.folder.product("located_picks", "net", "two"))
        assert len(metric) and sorted(kept["metric_best"]) == metric.tolist()
        before = calibration_of_picks(instance)
        write_calibration(file, Calibration({reference: replace(background, voxels=1.0)}))
        assert job.execute_in_process(instance=instance, partition_key=PAIR, run_config=config).success
        assert calibration_of_picks(instance) != before
        assert not len(read_picks(made.folder.product("located_picks", "net", "two")))
        assert "picked_coordinates" in stale(instance)
