"""The graph as Dagster loads it: a change of any name shows here."""

from __future__ import annotations

import dagster as dg

from tomotwin_assets.definitions import OWNERS, defs
from tomotwin_assets.io_managers import FORMATS
from tomotwin_assets.partitions import models, pairs, tomograms
from tomotwin_assets.resources import SUFFIXES
from tomotwin_assets.stages import STAGES

SPECS = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}

GROUPS = {
    "sources": {"published_data", "subvolumes", "references", "models", "tomograms", "ground_truth"},
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
    "subvolumes": {"published_data"},
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


def test_there_are_nineteen_assets_of_which_fourteen_are_made_here() -> None:
    assert len(SPECS) == 19
    materialisable = {key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys}
    assert materialisable == set(SPECS) - GROUPS["sources"] | {"published_data"}
    assert len(materialisable) == 14


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
    assert pools == {"trained_model", "reference_embeddings", "tomogram_embeddings", "similarity_map"}


def test_stages_paths_and_formats_cover_all_products() -> None:
    products = {asset for stage in STAGES for asset in stage.assets}
    assert products == set(SPECS) - GROUPS["sources"] == set(SUFFIXES)
    # Those that write their files themselves have none.
    assert set(FORMATS) == products - {"picked_coordinates", "production_model", "production_picks"}


def test_the_launchpad_explains_every_setting() -> None:
    for name in (
        "trained_model",
        "tomogram_embeddings",
        "similarity_map",
        "located_picks",
        "production_model",
        "production_picks",
    ):
        fields = defs.resolve_assets_def(name).op.config_schema.config_type.fields  # type: ignore[union-attr]
        assert fields
        for field in fields.values():
            assert field.description
            assert not field.is_required
