"""From files in a folder to picks, by the sensors alone: new, changed, broken, deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator

import dagster as dg
import pytest
from sensing import Sensing, settle
from tiny_platform import TRUTH, Platform, make_platform

from tomotwin_assets.sensors import work
from tomotwin_assets.stages import COMPARE


@pytest.fixture(scope="module")
def sensing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sensing]:
    """A platform on which the sensors have done all there was to do. The tests below follow each other."""
    root = tmp_path_factory.mktemp("arrivals")
    (root / "history").mkdir()
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        dg.DagsterInstance.local_temp(str(root / "history")) as instance,
    ):
        platform = make_platform(root, monkeypatch)
        if "production_model" not in COMPARE.assets:
            promote(platform, "net")
        settle(platform.data)
        yield Sensing(platform, instance, monkeypatch)


def promote(platform: Platform, model: str) -> None:
    record = {"model": model, "md5": "", "by": "test", "when": "2026-01-01T00:00:00+00:00", "why": "a test",
              "replaced": None, "thresholds": {}, "tomograms": [], "mean_honest_f1": None}  # fmt: skip
    path = platform.data / "products" / "production_model.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record), encoding="utf-8")


def asked(runs: list[tuple[str, str, str]]) -> set[str]:
    """The jobs and their partitions."""
    return {f"{job} {partitions}".strip() for job, partitions, _ in runs}


def test_everything_is_made_and_then_nothing_is_asked_for(sensing: Sensing) -> None:
    runs = sensing.until_idle()
    assert {job for job, _, _ in runs} >= {"prepare_data", "check_tomogram", "train_model", "pick_tomogram"}
    folder = sensing.platform.folder
    for tomogram in ("one", "two"):
        assert folder.product("located_picks", "net", tomogram).is_file()
        assert folder.product("picked_coordinates", "net", tomogram).is_dir()
    assert folder.product("leaderboard").is_file()
    # Imported networks need no subvolumes, and there are none.
    assert not folder.product("training_data").exists()
    assert len(runs) == len(sensing.keys)


def test_a_restarted_sensor_asks_for_nothing(sensing: Sensing) -> None:
    sensing.cursor = None
    sensing.keys.clear()
    told = sensing.look()
    assert not told.dynamic_partitions_requests and not told.asset_events
    assert sensing.requests() == []


def test_what_a_new_tomogram_and_a_new_model_start(sensing: Sensing) -> None:
    sensing.platform.add_tomogram("three", seed=3)
    sensing.platform.add_checkpoint("other", seed=1)
    settle(sensing.platform.data)
    runs = sensing.until_idle()
    # The tomogram is picked with the model in production, the model is tried on the benchmark, and only that.
    assert asked(runs) >= {
        "check_tomogram three",
        "train_model other",
        "pick_tomogram net|three",
        "pick_tomogram other|one",
        "compare_models",
    }
    assert not {"two", "net|one", "net|two", "other|two", "other|three"} & {run[1] for run in runs}
    reasons = dict(zip([f"{job} {key}" for job, key, _ in runs], [why for _, _, why in runs], strict=True))
    assert reasons["pick_tomogram net|three"] == "new tomogram"
    assert reasons["train_model other"] == "new model"
    assert sensing.platform.folder.product("located_picks", "net", "three").is_file()


def test_a_changed_tomogram_and_a_lost_file_are_made_again_and_no_other(sensing: Sensing) -> None:
    folder = sensing.platform.folder
    before = folder.product("located_picks", "net", "two").read_bytes()
    sensing.platform.add_tomogram("two", seed=22)
    folder.product("picked_coordinates", "net", "three").joinpath("1abc.coords").unlink()
    folder.product("located_picks", "net", "three").unlink()
    settle(sensing.platform.data)
    runs = sensing.until_idle()
    assert ("check_tomogram", "two", "changed tomogram") in runs
    assert ("pick_tomogram", "net|three", "the file of located_picks is gone") in runs
    assert "pick_tomogram net|two" in asked(runs)
    assert not any("one" in partitions or "other" in partitions for _, partitions, _ in runs)
    assert folder.product("located_picks", "net", "two").read_bytes() != before
    assert folder.product("picked_coordinates", "net", "three").joinpath("1abc.coords").is_file()


def test_a_broken_tomogram_fails_once_and_hinders_nothing(sensing: Sensing) -> None:
    whole = sensing.platform.add_tomogram("broken", seed=4).read_bytes()
    path = sensing.platform.data / "tomograms" / "broken.mrc"
    path.write_bytes(whole[:-100])
    # Meanwhile another one becomes a benchmark.
    (sensing.platform.data / "ground_truth" / "two.txt").write_text(TRUTH, encoding="utf-8")
    settle(sensing.platform.data)
    runs = sensing.until_idle()
    assert {"pick_tomogram net|two", "pick_tomogram other|two", "compare_models"} <= asked(runs)
    assert [partitions for _, partitions, _ in runs].count("broken") == 1
    assert not any("|broken" in partitions for _, partitions, _ in runs)
    (failed,) = sensing.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    assert failed.tags["dagster/partition"] == "broken"
    # Not again, not even by a restarted sensor, until the file changes.
    sensing.cursor = None
    sensing.keys.clear()
    assert sensing.until_idle() == []
    path.write_bytes(whole)
    settle(sensing.platform.data)
    assert {"check_tomogram broken", "pick_tomogram net|broken"} <= asked(sensing.until_idle())


def test_a_deleted_tomogram_is_retired_and_its_products_stay(sensing: Sensing) -> None:
    path = sensing.platform.data / "tomograms" / "three.mrc"
    content = path.read_bytes()
    path.unlink()
    sensing.look()
    assert sensing.requests() == []
    sensing.look(seconds_later=599)
    assert "three" in sensing.partitions("tomograms")
    told = sensing.look(seconds_later=1)
    assert "three" not in sensing.partitions("tomograms")
    assert "1 retired" in str(told.skip_message)
    assert sensing.requests() == []
    assert sensing.platform.folder.product("located_picks", "net", "three").is_file()
    record = sensing.instance.fetch_observations(dg.AssetKey("tomograms"), limit=1).records[0]
    assert record.asset_observation is not None and record.asset_observation.partition == "three"
    assert "gone for 10 minutes" in str(record.asset_observation.metadata["retired"].value)

    path.write_bytes(content)
    settle(sensing.platform.data)
    sensing.until_idle()
    assert "three" in sensing.partitions("tomograms")


def test_nothing_is_asked_for_where_it_is_switched_off_or_the_settings_are_wrong(sensing: Sensing) -> None:
    settings = sensing.platform.data / "tomotwin.toml"
    before = settings.read_text(encoding="utf-8")
    sensing.platform.folder.product("leaderboard").unlink()
    for text, message in (
        ("[arrivals]\nenabled = false\n", "Switched off"),
        ("[arrivals]\nqueue_ahead = 0\n", "queue_ahead is 0"),
        ("[arrivals\n", "cannot be read"),
    ):
        settings.write_text(text, encoding="utf-8")
        told = sensing.tick(work, None)
        assert not told.run_requests and message in str(told.skip_message)
    settings.write_text(before, encoding="utf-8")
    assert [request.job_name for request in sensing.requests()] == ["compare_models"]


def test_nothing_is_asked_for_while_the_shell_is_at_work(sensing: Sensing) -> None:
    @dg.job
    def nothing() -> None:
        pass

    run = sensing.instance.create_run_for_job(
        nothing, status=dg.DagsterRunStatus.STARTED, tags={"tomotwin/shell": "true"}
    )
    assert sensing.requests() == []
    sensing.instance.report_run_canceled(run)
    assert len(sensing.requests()) == 1
