"""What the checks say, of good products and of each kind of bad one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from dagster._core.storage.event_log.base import PartitionKeyFilter
from tiny_platform import Platform

from tomotwin_assets import checks, verdicts
from tomotwin_assets.definitions import defs
from tomotwin_assets.instance import open_instance
from tomotwin_assets.io_managers import FORMATS
from tomotwin_assets.partitions import pair_key
from tomotwin_assets.production import Promotion, write_promotion
from tomotwin_assets.verdicts import Subject
from tomotwin_lib.files import write_json
from tomotwin_lib.formats import frames
from tomotwin_lib.formats.volumes import read_volume, write_volume


def latest(platform: Platform, asset: str, partition: str) -> dict[str, tuple[str, str]]:
    """Check → (status, description) of the last evaluation of each check of a product."""
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), check.name) for check in checks.CHECKS[asset][1]]
    with open_instance(platform.data) as instance:
        records = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            keys, partition_filter=PartitionKeyFilter(key=partition)
        )
    return {
        key.name: (record.status.value, (record.evaluation.description or "") if record.event else "")
        for key, record in records.items()
        if record.status.value != "PLANNED"
    }


def subject(platform: Platform, asset: str, *keys: str, **told: Any) -> Subject:
    return Subject(platform.folder, asset, keys, **told)


def test_every_check_of_a_finished_partition_has_been_evaluated(finished: Platform) -> None:
    partitions = {"tomogram": "one", "production_picks": "one", "reference_embeddings": "net"}
    for asset, (_, of_asset) in checks.CHECKS.items():
        found = latest(finished, asset, partitions.get(asset, "net|one"))
        assert set(found) == {check.name for check in of_asset}, asset
        for name, (status, text) in found.items():
            assert text.endswith(".")
            if name in {check.name for check in of_asset if check.blocking}:
                assert status == "SUCCEEDED", (asset, name, text)
    # What is wrong with the tiny platform is told: it is thin, and its network learnt nothing.
    assert latest(finished, "tomogram", "one")["large_enough"][0] == "FAILED"
    assert latest(finished, "reference_embeddings", "net")["references_differ"][0] == "FAILED"
    assert latest(finished, "similarity_map", "net|one")["references_stand_out"][0] == "FAILED"


def test_descriptions_say_what_to_do() -> None:
    specs = [spec for definition in checks.definitions for spec in definition.check_specs]
    assert len(specs) == sum(len(of_asset) for _, of_asset in checks.CHECKS.values())
    for spec in specs:
        assert spec.description and len(spec.description) > 60, spec.name
        assert ":" in spec.description, f"{spec.name} does not say what to do"
        assert spec.partitions_def is not None
    blocking = {(spec.asset_key.to_user_string(), spec.name) for spec in specs if spec.blocking}
    assert blocking == {
        ("tomogram", "readable"),
        ("tomogram", "has_density"),
        ("reference_embeddings", "finite_and_of_unit_norm"),
        ("tomogram_embeddings", "finite_and_of_unit_norm"),
    }


def test_only_the_preview_warning_of_partitions_is_silenced() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", dg.PreviewWarning)
        checks._checks_of("tomogram")
        with pytest.raises(dg.PreviewWarning):
            dg.AssetCheckSpec("x", asset="tomogram", partitions_def=checks.tomograms)


@pytest.mark.parametrize(
    ("name", "content", "check", "words"),
    [
        ("cut", None, "readable", "truncated"),
        ("text", b"this is no volume\n" * 100, "readable", "text.mrc"),
        ("flat", np.full((24, 40, 44), 3, np.float32), "has_density", "all voxels have the value 3"),
        ("holes", np.full((24, 40, 44), np.nan, np.float32), "has_density", "not a number"),
    ],
)
def test_a_bad_file_is_a_failed_check(
    bad_tomograms: Platform, name: str, content: Any, check: str, words: str
) -> None:
    found = latest(bad_tomograms, "tomogram", name)
    assert set(found) == {check}
    assert found[check][0] == "FAILED"
    with open_instance(bad_tomograms.data) as instance:
        problem = checks.blocking_failure(instance, "tomogram", name)
    assert problem is not None and problem.startswith(f"check {check}: ")
    if name != "text":
        assert words in problem
    assert not bad_tomograms.folder.product("tomogram", name).exists()


@pytest.fixture(scope="module")
def bad_tomograms(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Platform]:
    """A data folder with tomograms of which none is fit, on which the graph has been run."""
    from tiny_platform import make_platform

    with pytest.MonkeyPatch.context() as monkeypatch:
        platform = make_platform(tmp_path_factory.mktemp("bad"), monkeypatch)
        folder = platform.data / "tomograms"
        whole = platform.add_tomogram("cut")
        whole.write_bytes(whole.read_bytes()[:3000])
        (folder / "text.mrc").write_bytes(b"this is no volume\n" * 100)
        write_volume(folder / "flat.mrc", np.full((24, 40, 44), 3, np.float32), 10.0)
        write_volume(folder / "holes.mrc", np.full((24, 40, 44), np.nan, np.float32), 10.0)
        names = [option for name in ("cut", "text", "flat", "holes") for option in ("--tomogram", name)]
        assert platform.call("run", *names) == 1
        yield platform


def test_a_blocking_failure_stops_the_next_run_as_well(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(path: Path, embedding: Any) -> None:
        write(path, replace(embedding, vectors=embedding.vectors.astype(np.float32) * 2))

    write = frames.write_tomogram_embedding
    monkeypatch.setattr(frames, "write_tomogram_embedding", broken)
    assert platform.call("run", "--tomogram", "two") == 1
    out = capsys.readouterr().out
    (failure,) = [line for line in out.splitlines() if "✗" in line]
    assert "norms differ from 1 by up to 1" in failure and "import another checkpoint" in failure
    assert not platform.folder.product("similarity_map", "net", "two").exists()
    assert latest(platform, "tomogram_embeddings", "net|two")["finite_and_of_unit_norm"][0] == "FAILED"

    assert platform.call("run", "--tomogram", "two") == 1
    out = capsys.readouterr().out
    assert "check finite_and_of_unit_norm" in out
    assert not platform.folder.product("similarity_map", "net", "two").exists()

    monkeypatch.setattr(frames, "write_tomogram_embedding", write)
    assert platform.call("run", "--tomogram", "two", "--force") == 0
    assert platform.folder.product("similarity_map", "net", "two").exists()


def test_one_run_of_several_partitions_has_a_result_for_each(finished: Platform) -> None:
    """The checks alone, as the UI's button does it, over a range of partitions."""
    keys = [dg.AssetCheckKey(dg.AssetKey("tomogram"), name) for name in ("readable", "contrast_is_dark")]
    job = dg.define_asset_job("checks_alone", selection=dg.AssetSelection.checks(*keys))
    resolved = dg.Definitions.merge(defs, dg.Definitions(jobs=[job])).resolve_job_def("checks_alone")
    with open_instance(finished.data) as instance:
        result = resolved.execute_in_process(
            instance=instance,
            tags={"dagster/asset_partition_range_start": "one", "dagster/asset_partition_range_end": "two"},
        )
    found = [
        (event.asset_check_evaluation_data.check_name, event.asset_check_evaluation_data.partition)
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    assert sorted(found) == [
        (name, key) for name in ("contrast_is_dark", "readable") for key in ("one", "two")
    ]


def test_an_evaluation_points_at_the_product_it_is_about(finished: Platform) -> None:
    with open_instance(finished.data) as instance:
        (found,) = checks.evaluate("located_picks", finished.folder, instance, "net|one")
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("located_picks"), asset_partitions=["net|one"])
        record = instance.fetch_materializations(wanted, limit=1).records[0]
    assert found.target_materialization_data is not None
    assert found.target_materialization_data.storage_id == record.storage_id


def test_voxel_sizes_are_held_to_those_of_the_references(finished: Platform) -> None:
    platform = finished
    data = read_volume(platform.data / "tomograms" / "one.mrc").data
    for size, words in ((10.5, "10.5 Å"), (13.0, "of 13 Å"), (None, "does not say its voxel size")):
        write_volume(platform.data / "tomograms" / "spare.mrc", data, size)
        verdict = verdicts.voxel_size_like_the_models(subject(platform, "tomogram", "spare"))
        assert verdict.passed == (size == 10.5)
        assert words in verdict.text
    (platform.data / "tomograms" / "spare.mrc").unlink()


def test_bright_particles_are_told_and_uncertain_ones_pass(finished: Platform) -> None:
    path = finished.data / "tomograms" / "spare.mrc"
    rng = np.random.default_rng(0)
    bright = rng.gamma(1.0, size=(96, 144, 144)).astype(np.float32)
    write_volume(path, bright, 10.0)
    verdict = verdicts.contrast_is_dark(subject(finished, "tomogram", "spare"))
    assert not verdict.passed and not verdict.serious
    assert "multiply the tomogram by −1" in verdict.text
    write_volume(path, -bright, 10.0)
    assert verdicts.contrast_is_dark(subject(finished, "tomogram", "spare")).passed
    verdict = verdicts.contrast_is_dark(subject(finished, "tomogram", "one"))
    assert verdict.passed and "uncertain" in verdict.text
    path.unlink()


def stored(platform: Platform, asset: str, *keys: str) -> tuple[Path, Any]:
    path = platform.folder.product(asset, *keys)
    return path, FORMATS[asset].read(platform.folder, path)


def test_embeddings_that_are_alike_or_not_of_unit_norm(finished: Platform) -> None:
    _, embedding = stored(finished, "tomogram_embeddings", "net", "one")
    path = finished.folder.product("tomogram_embeddings", "spare", "one")
    where = subject(finished, "tomogram_embeddings", "spare", "one")
    alike = np.broadcast_to(np.eye(1, embedding.vectors.shape[1]), embedding.vectors.shape)
    frames.write_tomogram_embedding(path, replace(embedding, vectors=alike.astype(np.float16)))
    assert verdicts.vectors_are_unit(where).passed
    assert not verdicts.vectors_differ(where).passed
    long = embedding.vectors.astype(np.float32) * 1.5
    frames.write_tomogram_embedding(path, replace(embedding, vectors=long))
    assert "norms differ from 1 by up to 0.5" in verdicts.vectors_are_unit(where).text
    path.unlink()


def test_a_reference_that_background_resembles_is_named(finished: Platform) -> None:
    _, similarity = stored(finished, "similarity_map", "net", "one")
    path = finished.folder.product("similarity_map", "spare", "one")
    values = np.array(similarity.values, dtype=np.float32)
    values[:, 0], values[:, 1] = 0.1, 0.95
    frames.write_similarity_map(path, replace(similarity, values=values))
    verdict = verdicts.references_stand_out(subject(finished, "similarity_map", "spare", "one"))
    assert not verdict.passed
    assert "Do not trust picks of 2xyz.mrc:" in verdict.text
    path.unlink()


def test_references_that_are_alike_are_named(finished: Platform) -> None:
    _, references = stored(finished, "reference_embeddings", "net")
    path = finished.folder.product("reference_embeddings", "spare")
    frames.write_reference_embedding(
        path, replace(references, vectors=np.tile(references.vectors[:1], (2, 1)))
    )
    verdict = verdicts.references_differ(subject(finished, "reference_embeddings", "spare"))
    assert not verdict.passed and "1abc.mrc and 2xyz.mrc" in verdict.text
    path.unlink()


def test_no_pick_and_more_than_there_is_room_for(finished: Platform) -> None:
    _, picks = stored(finished, "located_picks", "net", "one")
    path = finished.folder.product("located_picks", "spare", "one")
    where = subject(finished, "located_picks", "spare", "one")
    # By volume 14 balls of 30 voxels, or 10 of 37; candidates may be ten times as many.
    for count, words in (
        (0, "there is no pick"),
        (50, "50 picks would take"),
        (150, "Most of them are background"),
    ):
        frames.write_picks(path, picks.iloc[[0] * count])
        verdict = verdicts.candidates_are_plausible(where)
        assert verdict.passed == (count == 50)
        assert words in verdict.text
    path.unlink()


def test_production_picks_have_to_fit(finished: Platform) -> None:
    _, picks = stored(finished, "located_picks", "net", "one")
    path = finished.folder.product("located_picks", "net", "one")
    before = path.read_bytes()
    where = subject(finished, "production_picks", "one")
    for count in (5, 15):
        many = picks.iloc[[0] * count].assign(metric_best=2.0)
        frames.write_picks(path, many)
        verdict = verdicts.production_picks_fit(where)
        assert verdict.passed == (count == 5)
        assert f"{count} picks would take" in verdict.text
    path.write_bytes(before)


def test_f1_is_compared_with_the_report_before_and_with_production(finished: Platform) -> None:
    row = {"reference": "1abc", "F1": 0.5, "Recall": 0.5, "Precision": 0.5}

    def report(model: str, f1: float) -> None:
        path = finished.folder.product("evaluation_report", model, "one")
        rows = [{**row, "F1": f1}]
        write_json(
            path, {"model": model, "tomogram": "one", "picks": 3, "as_picked": rows, "best_case": rows}
        )

    report("new", 0.5)
    record = finished.folder.product("production_model").read_bytes()
    finished.folder.product("production_model").unlink()

    def verdict(**told: Any) -> verdicts.Verdict:
        return verdicts.f1_is_not_worse(subject(finished, "evaluation_report", "new", "one", **told))

    assert verdict().passed and "the first" in verdict().text
    assert verdict(told_before={"mean_best_case_f1": 0.54}).passed
    worse = verdict(told_before={"mean_best_case_f1": 0.56})
    assert not worse.passed and not worse.serious
    assert "0.500, against 0.560 before" in worse.text
    report("old", 0.7)
    promotion = Promotion("old", "md5", "me", "2026-01-01T00:00:00Z", "first", None, {}, ["one"], None)
    write_promotion(finished.folder, promotion)
    assert "against 0.700 of old" in verdict().text and not verdict().passed
    for model in ("new", "old"):
        finished.folder.product("evaluation_report", model, "one").unlink()
    finished.folder.product("production_model").write_bytes(record)


def test_a_product_that_is_gone_is_said(finished: Platform) -> None:
    with open_instance(finished.data) as instance:
        found = checks.evaluate("similarity_map", finished.folder, instance, pair_key("gone", "one"))
    assert [evaluation.passed for evaluation in found] == [False]
    assert json.dumps(found[0].description)
