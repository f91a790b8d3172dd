"""Production from the shell and by the clock, on a data folder with two models and two scored tomograms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.schedule_definition import ScheduleExecutionData
from tiny_platform import TRUTH, Platform, make_platform

from tomotwin_assets.definitions import defs
from tomotwin_assets.instance import open_instance
from tomotwin_assets.partitions import pair_key
from tomotwin_assets.production import read_promotion, require_promotion
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.schedules import TAG, reevaluate_models
from tomotwin_assets.values import read_report
from tomotwin_lib.thresholds import curve_from_record, honest_scores, pooled_thresholds


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        platform = make_platform(tmp_path_factory.mktemp("lab"), monkeypatch)
        platform.add_checkpoint("other", seed=9)
        (platform.data / "ground_truth" / "two.txt").write_text(TRUTH, encoding="utf-8")
        assert platform.call("run") == 0
        yield platform


def made(lab: Platform, capsys: pytest.CaptureFixture[str]) -> set[str]:
    capsys.readouterr()
    assert lab.call("run") == 0
    return {line.split()[1] for line in capsys.readouterr().out.splitlines() if "✓" in line}


def test_the_leaderboard_follows_from_the_reports(lab: Platform) -> None:
    board = pd.read_csv(lab.folder.product("leaderboard")).set_index("model")
    assert sorted(board.index) == ["net", "other"] and board["tomograms"].tolist() == [2, 2]
    promotion = require_promotion(lab.folder)
    assert promotion.by == "rule" and board["production"][promotion.model]
    assert board["mean_honest_f1"][promotion.model] == board["mean_honest_f1"].max()
    for model in board.index:
        reports = [read_report(lab.folder.product("evaluation_report", model, key)) for key in ("one", "two")]
        curves = {one.tomogram: [curve_from_record(record) for record in one.curves] for one in reports}
        means = honest_scores(curves).groupby("tomogram")["F1"].mean()
        assert board["mean_honest_f1"][model] == pytest.approx(means.mean())
        assert board["positions_per_second"][model] > 0
        if model == promotion.model:
            assert promotion.thresholds == pooled_thresholds(curves.values())


def test_promoting_and_rolling_back_from_the_shell(lab: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    first = require_promotion(lab.folder)
    second = next(name for name in ("net", "other") if name != first.model)
    assert lab.call("promote", second, "--why", "sharper [on ribosomes]", "--by", "ada") == 0
    told = capsys.readouterr().out
    assert f"In production: {second}" in told and "by ada" in told and "sharper [on ribosomes]" in told
    assert require_promotion(lab.folder).replaced == first.model
    board = pd.read_csv(lab.folder.product("leaderboard")).set_index("model")
    assert board["production"].to_dict() == {first.model: False, second: True}
    # Only what the promotion concerns is made again, and a person's word stands.
    assert made(lab, capsys) == {"production_picks"}
    assert lab.metadata("production_picks", "one")["model"] == second
    assert made(lab, capsys) == set()

    assert lab.call("promote", "--roll-back", "--why", "it was not") == 0
    back = require_promotion(lab.folder)
    assert (back.model, back.thresholds, back.replaced) == (first.model, first.thresholds, second)
    assert made(lab, capsys) == {"production_picks"}
    assert lab.metadata("production_picks", "one")["model"] == first.model
    assert lab.call("status") == 0
    told = capsys.readouterr().out
    assert "honest F1" in told and "it was not" in told
    assert re.search(rf"{first.model} *│ yes", told)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nett"], "'nett' is not trained"),
        ([], "no model is named"),
        (["net", "--roll-back"], "together with --roll-back"),
    ],
)
def test_what_cannot_be_promoted_is_one_line(
    lab: Platform, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_promotion(lab.folder)
    assert lab.call("promote", *arguments) == 2
    (line,) = capsys.readouterr().out.strip().splitlines()
    assert problem in line
    assert read_promotion(lab.folder) == before


def partitions(request: dg.RunRequest) -> str | tuple[str, str] | None:
    """The partition of a run, or the first and the last of several."""
    ends = [request.tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end")]
    return (ends[0], ends[1]) if ends[0] and ends[1] else request.partition_key


def tick(folder: DataFolder, instance: dg.DagsterInstance) -> ScheduleExecutionData:
    """What the schedule asks for at three on a Monday."""
    with dg.build_schedule_context(
        instance=instance,
        repository_def=defs.get_repository_def(),
        scheduled_execution_time=datetime(2026, 1, 5, 3, tzinfo=UTC),
        resources={"data_folder": folder},
    ) as context:
        return reevaluate_models.evaluate_tick(context)


def test_the_schedule_asks_for_new_reports_and_a_comparison(lab: Platform) -> None:
    before = read_report(lab.folder.product("evaluation_report", "net", "two"))
    lab.folder.product("similarity_map", "other", "one").unlink()
    with open_instance(lab.data) as instance:
        requests = tick(lab.folder, instance).run_requests or []
        assert all(request.tags[TAG].startswith("2026-01-05T03:00") for request in requests)
        asked = {
            partitions(request): [key.to_user_string() for key in request.asset_selection or ()]
            for request in requests
        }
        *evaluations, comparison = requests
        assert asked == {
            ("net|one", "net|two"): ["evaluation_report"],
            pair_key("other", "one"): ["similarity_map", "located_picks", "evaluation_report"],
            pair_key("other", "two"): ["evaluation_report"],
            None: ["leaderboard", "production_model"],
        }
        assert len({request.run_key for request in requests}) == 4
        again = tick(lab.folder, instance).run_requests or []
        assert [request.run_key for request in again] == [one.run_key for one in requests]
        # The comparison waits behind the evaluations.
        assert comparison.partition_key is None
        assert int(comparison.tags["dagster/priority"]) < int(evaluations[0].tags["dagster/priority"]) < 0
        job = defs.resolve_job_def("reevaluate")
        for request in (evaluations[0], comparison):
            outcome = job.execute_in_process(
                instance=instance,
                partition_key=request.partition_key,
                asset_selection=request.asset_selection,
                tags=request.tags,
            )
            assert outcome.success
    after = read_report(lab.folder.product("evaluation_report", "net", "two"))
    assert after.best_case == before.best_case and after.date >= before.date


def test_the_schedule_says_why_there_is_nothing_to_do(platform: Platform) -> None:
    with open_instance(platform.data) as instance:
        nothing = tick(platform.folder, instance)
        assert not nothing.run_requests and "no trained model" in str(nothing.skip_message)
        lost = tick(DataFolder(root="/nowhere"), instance)
        assert not lost.run_requests and "does not exist" in str(lost.skip_message)
