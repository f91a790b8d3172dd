"""The graph as Dagster loads it: a change of any name shows here."""

from __future__ import annotations

import json

import dagster as dg
import pytest
from pydantic import Field

from tomotwin_assets.configs import CONFIGS, recorded
from tomotwin_assets.definitions import OWNERS, defs
from tomotwin_assets.explaining import explained, is_number
from tomotwin_assets.io_managers import FORMATS
from tomotwin_assets.partitions import models, pairs, tomograms
from tomotwin_assets.resources import SUFFIXES
from tomotwin_assets.stages import STAGES

SPECS = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}

GROUPS = {
    "sources": {
        "published_data",
        "simulated_tomograms",
        "subvolumes",
        "references",
        "models",
        "tomograms",
        "ground_truth",
    },
    "training": {"training_data", "trained_model"},
    "embedding": {"tomogram", "reference_volumes", "reference_embeddings", "tomogram_embeddings"},
    "picking": {"similarity_map", "located_picks", "picked_coordinates"},
    "evaluation": {"evaluation_report", "leaderboard"},
    "production": {"production_model", "production_picks"},
}
PARTITIONS = {
    "models": models,
    "tomograms": tomograms,
    "ground_truth": tomograms,
    "trained_model": models,
    "reference_embeddings": models,
    "tomogram": tomograms,
    "tomogram_embeddings": pairs,
    "similarity_map": pairs,
    "located_picks": pairs,
    "picked_coordinates": pairs,
    "evaluation_report": pairs,
    "production_picks": tomograms,
}
PARENTS = {
    "published_data": set(),
    "simulated_tomograms": set(),
    "subvolumes": {"published_data", "simulated_tomograms"},
    "references": {"published_data"},
    "models": {"published_data"},
    "tomograms": {"published_data"},
    "ground_truth": {"published_data"},
    "training_data": {"subvolumes"},
    "trained_model": {"models", "training_data"},
    "tomogram": {"tomograms"},
    "reference_volumes": {"references"},
    "reference_embeddings": {"trained_model", "reference_volumes"},
    "tomogram_embeddings": {"tomogram", "trained_model"},
    "similarity_map": {"tomogram_embeddings", "reference_embeddings"},
    "located_picks": {"similarity_map", "reference_volumes"},
    "picked_coordinates": {"located_picks"},
    "evaluation_report": {"located_picks", "reference_volumes", "ground_truth"},
    "leaderboard": {"evaluation_report"},
    "production_model": {"leaderboard", "trained_model"},
    "production_picks": {"production_model", "located_picks"},
}


def test_definitions_load() -> None:
    dg.Definitions.validate_loadable(defs)


def test_there_are_twenty_assets_of_which_fifteen_are_made_here() -> None:
    assert len(SPECS) == 20
    materialisable = {key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys}
    assert materialisable == set(SPECS) - GROUPS["sources"] | {
        "published_data",
        "simulated_tomograms",
    }
    assert len(materialisable) == 15


def test_groups() -> None:
    found: dict[str, set[str]] = {}
    for name, spec in SPECS.items():
        found.setdefault(str(spec.group_name), set()).add(name)
    assert found == GROUPS


def test_parents() -> None:
    found = {name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in SPECS.items()}
    assert found == PARENTS


def test_partitions() -> None:
    assert {name: spec.partitions_def for name, spec in SPECS.items() if spec.partitions_def} == PARTITIONS


def test_jobs_and_sensors() -> None:
    assert {job.name for job in defs.jobs or ()} == {
        "prepare_data",
        "check_tomogram",
        "train_model",
        "pick_tomogram",
        "compare_models",
        "produce_picks",
        "fetch_published_data",
        "simulate_training_data",
        "promote_model",
        "reevaluate",
        "register_data_folder",
    }
    sensors = {sensor.name: sensor for sensor in defs.sensors or ()}
    assert sorted(sensors) == ["lost_runs", "new_data", "work"]
    assert all(sensor.default_status is dg.DefaultSensorStatus.RUNNING for sensor in sensors.values())
    assert [schedule.name for schedule in defs.schedules or ()] == ["reevaluate_models"]


def test_every_asset_says_what_it_is_and_whose() -> None:
    for name, spec in SPECS.items():
        assert spec.description, name
        assert spec.kinds, name
        assert list(spec.owners) == OWNERS, name


def test_networks_run_in_the_pool_of_the_gpu() -> None:
    pools = {
        definition.key.to_user_string()
        for definition in defs.resolve_asset_graph().assets_defs
        if definition.is_executable and "gpu" in {getattr(definition.op, "pool", None)}
    }
    # A similarity map too: it embeds the tomogram where the embedding is not stored.
    # And simulated tomograms are computed where networks are.
    assert pools == {
        "simulated_tomograms",
        "trained_model",
        "reference_embeddings",
        "tomogram_embeddings",
        "similarity_map",
    }


def test_stages_paths_and_formats_cover_all_products() -> None:
    products = {asset for stage in STAGES for asset in stage.assets}
    assert products == set(SPECS) - GROUPS["sources"] == set(SUFFIXES)
    # Those that write their files themselves have none.
    assert set(FORMATS) == products - {"picked_coordinates", "production_model", "production_picks"}


def test_several_partitions_a_run_where_assets_are_called_for_each() -> None:
    """A backfill of eight tomograms is one run; Dagster's own way would give an asset all of them at once."""
    for stage in STAGES:
        for asset in stage.assets:
            definition = defs.resolve_assets_def(asset)
            called = getattr(definition.op.compute_fn.decorated_fn, "_each_partition", False)  # type: ignore[union-attr]
            policy = definition.backfill_policy
            assert called == stage.several_a_run, asset
            assert (policy is not None and policy.max_partitions_per_run == 8) == stage.several_a_run, asset


@pytest.mark.parametrize(
    ("asset", "name"), [(a, n) for a, (_, c) in CONFIGS.items() if a in SPECS for n in c.model_fields]
)
def test_the_launchpad_explains_every_setting(asset: str, name: str) -> None:
    config = defs.resolve_assets_def(asset).op.config_schema.config_type  # type: ignore[union-attr]
    field = config.fields[name]  # type: ignore[union-attr]
    assert not field.is_required
    model = CONFIGS[asset][1].model_fields[name]
    text, _, facts = str(field.description).rstrip("]").rpartition(" [")
    assert len(text) > 20 and text.endswith(".")
    *rest, default = facts.split("; ")
    assert default.startswith("default ")
    if isinstance(model.default, int | float) and not isinstance(model.default, bool):
        assert json.loads(default.removeprefix("default ")) == model.default
        assert any(word.split()[0] in ("at", "more", "less") for word in rest), "no range"
    if is_number(model):
        assert str((model.json_schema_extra or {})["unit"]) in [*rest, "none"]  # type: ignore[index]


def test_a_setting_without_description_or_unit_is_refused() -> None:
    class NoUnit(dg.Config):
        size: int = Field(default=3, description="How large.")

    class NoDescription(dg.Config):
        name: str = "x"

    for config, problem in ((NoUnit, "NoUnit.size has no unit"), (NoDescription, "name has no description")):
        with pytest.raises(TypeError, match=problem):
            explained(config)


def test_the_launchpad_of_a_job_opens_with_its_settings() -> None:
    for stage in STAGES:
        job = defs.resolve_job_def(stage.job)
        filled = job.partitioned_config
        given = filled.get_run_config_for_partition_key("any") if filled else job.run_config
        ops = dict(given or {}).get("ops", {})
        assert set(ops) == set(stage.assets) & set(CONFIGS), stage.job
        for asset, shown in ops.items():
            assert shown["config"] == recorded(CONFIGS[asset][1]())
        assert job.description
