"""The asset that simulates data to train on: off unless switched on, and noticed as any other data are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tomotwin_assets.assets import simulated
from tomotwin_assets.currency import Currency
from tomotwin_assets.definitions import defs
from tomotwin_assets.registration import register
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.settings import DATA_VARIABLE, read_settings
from tomotwin_assets.stages import STAGES
from tomotwin_lib.errors import InputError
from tomotwin_lib.simulation.dataset import SimulatedDataset
from tomotwin_lib.simulation.recipe import Recipe
from tomotwin_lib.simulation.training_part import simulate_training_part

SMALL = {
    "enabled": True,
    "made_up": 0,
    "tomograms": 1,
    "tomogram_size": [60, 64, 48],
    "subvolumes_per_class": 1,
    "distractors": False,
}
EMPTY = {"enabled": False}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv(DATA_VARIABLE, str(data))

    def small(folder: Path, recipe: Recipe, **options: Any) -> SimulatedDataset:
        # The tomograms that subvolumes are cut from are large by default.
        return simulate_training_part(folder, replace(recipe, cut_shape=(40, 60, 60)), **options)

    monkeypatch.setattr(simulated, "simulate_training_part", small)
    return DataFolder(root=str(data))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def simulate(
    instance: dg.DagsterInstance, config: dict[str, Any], **options: Any
) -> dg.ExecuteInProcessResult:
    """Materialise the asset as the launchpad does."""
    return defs.resolve_job_def("simulate_training_data").execute_in_process(
        instance=instance, run_config={"ops": {"simulated_tomograms": {"config": config}}}, **options
    )


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return dict(event.materialization.metadata)


def test_it_comes_before_training_data_and_no_stage_runs_it() -> None:
    graph = defs.resolve_asset_graph()
    asset = dg.AssetKey("simulated_tomograms")
    assert asset in graph.get_ancestor_asset_keys(dg.AssetKey("training_data"))
    assert asset not in graph.get_ancestor_asset_keys(dg.AssetKey("tomogram"))
    assert not any("simulated_tomograms" in stage.assets for stage in STAGES)


def test_nothing_is_simulated_unless_switched_on(folder: DataFolder, instance: dg.DagsterInstance) -> None:
    metadata = told(simulate(instance, EMPTY))
    assert str(metadata["summary"].value).startswith("switched off")
    assert list(folder.path.iterdir()) == []


def test_what_it_makes_is_trained_on(folder: DataFolder, instance: dg.DagsterInstance) -> None:
    def why_not() -> str | None:
        register(folder, instance)
        return Currency(defs, instance, folder, read_settings()).why_not("training_data", None)

    metadata = told(simulate(instance, SMALL))
    rows = [record.data for record in metadata["particles_by_class"].records]
    assert [row["class"] for row in rows] == ["1bar", "1rng", "1rod", "1shl", "1two"]
    assert all(row["training_subvolumes"] == 1 for row in rows)
    assert sum(row["particles"] for row in rows) == metadata["dagster/row_count"].value > 0
    assert metadata["size_in_mb"].value > 0 and metadata["seconds"].value > 0
    assert "data:image/png;base64," in metadata["slices"].value
    assert (folder.path / "simulated" / "tomograms" / "simulated_01.mrc").is_file()
    # Not among the tomograms to be picked.
    assert not (folder.path / "tomograms").exists()

    assert why_not() == "not made yet"
    prepared = defs.resolve_job_def("prepare_data").execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey("training_data")]
    )
    (event,) = prepared.get_asset_materialization_events()
    assert event.materialization.metadata["summary"].value == "5 subvolumes of 5 classes, 5 to validate"
    assert why_not() is None
    assert str(told(simulate(instance, SMALL))["summary"].value).startswith("there already")
    assert why_not() is None
    simulate(instance, {**SMALL, "seed": 1})
    assert why_not() == "subvolumes is newer"


def test_settings_that_cannot_be_used(folder: DataFolder, instance: dg.DagsterInstance) -> None:
    result = simulate(instance, {**SMALL, "snr": [0.5, 0.1]}, raise_on_error=False)
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    error = failure.step_failure_data.error
    assert error is not None and error.cause is not None
    assert error.cause.cls_name == InputError.__name__
    assert list(folder.path.iterdir()) == []
