"""Promotion, roll-back and production picks, on records and files; the graph is not run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from tiny_platform import Platform, write_tomogram

from tomotwin_assets.assets.production import production_model, production_picks
from tomotwin_assets.benchmark import benchmark_tomograms, read_benchmark
from tomotwin_assets.configs import ProductionPicksConfig, PromotionConfig
from tomotwin_assets.production import (
    Promotion,
    mark_on_leaderboard,
    read_promotion,
    require_promotion,
    write_promotion,
)
from tomotwin_assets.promoting import Decision, decide, trained_models
from tomotwin_assets.values import read_report
from tomotwin_lib.errors import InputError
from tomotwin_lib.files import md5_of_file, write_json
from tomotwin_lib.formats.coordinates import read_coords
from tomotwin_lib.formats.frames import write_picks
from tomotwin_lib.picking import keep_picks

PERSON = "ada"


class Lab:
    """A data folder whose models and reports are made up: weights are a word, scores are wished for."""

    def __init__(self, platform: Platform) -> None:
        self.folder, self.data = platform.folder, platform.data
        for name in ("one", "two", "three"):
            write_tomogram(self.data, name)
            (self.data / "ground_truth" / f"{name}.txt").write_text("1abc 10 12 11\n", encoding="utf-8")
        for path in (self.data / "models").iterdir():
            path.unlink()

    def model(self, name: str, weights: str = "", scores: dict[str, float] | None = None) -> str:
        """A trained model with the same F1 for both references on each of the tomograms; its MD5."""
        (self.data / "models" / f"{name}.pth").write_text(weights or name)
        trained = self.folder.product("trained_model", name)
        trained.parent.mkdir(parents=True, exist_ok=True)
        trained.write_text(weights or name)
        md5 = md5_of_file(trained)
        for tomogram, f1 in (scores or {}).items():
            self.report(name, md5, tomogram, f1)
        return md5

    def report(self, model: str, md5: str, tomogram: str, f1: float, step: int = 6) -> None:
        """A report in which `f1` of 100 particles are found, with as many false picks as are missed."""
        found = round(100 * f1)
        rows, curves = [], []
        for name in ("1abc", "2xyz"):
            about = {"reference": f"{name}.mrc", "class": name}
            rows.append({**about, "TP": found, "FP": 100 - found, "FN": 100 - found, "F1": f1})
            curve = {"particles": 100, "step": 0.1, "first": step, "tp": [found, 0], "fp": [100 - found, 0]}
            curves.append(about | curve)
        content = {
            "model": model, "tomogram": tomogram, "picks": 100, "as_picked": rows, "best_case": rows,
            "curves": curves, "model_md5": md5, "date": "2026-01-01T00:00:00+00:00",
        }  # fmt: skip
        write_json(self.folder.product("evaluation_report", model, tomogram), content)

    def decide(self, **asked: Any) -> Decision:
        """Decide, and keep what is decided."""
        if asked.get("model") or asked.get("roll_back"):
            asked.setdefault("by", PERSON)
        decision = decide(self.folder, PromotionConfig(**asked))
        write_promotion(self.folder, decision.promotion, decision.outcome)
        assert read_promotion(self.folder) == decision.promotion
        return decision

    @property
    def current(self) -> Promotion:
        return require_promotion(self.folder)


@pytest.fixture
def lab(platform: Platform) -> Lab:
    return Lab(platform)


def same(f1: float) -> dict[str, float]:
    return {"one": f1, "two": f1, "three": f1}


def test_nothing_is_promoted_without_a_model_or_a_reason(lab: Lab) -> None:
    assert read_promotion(lab.folder) is None
    assert "no network is trained" in lab.decide().outcome
    assert json.loads(lab.folder.product("production_model").read_text())["model"] is None
    lab.model("a")
    lab.model("b")
    decision = lab.decide()
    assert decision.promotion is None and "2 networks" in decision.outcome
    assert "tomotwin-platform promote" in decision.recommendation
    with pytest.raises(InputError, match="no model is in production yet"):
        require_promotion(lab.folder)


def test_the_only_model_needs_no_benchmark(lab: Lab) -> None:
    md5 = lab.model("a")
    promotion = lab.decide().promotion
    assert promotion is not None
    assert (promotion.model, promotion.md5, promotion.by, promotion.replaced) == ("a", md5, "rule", None)
    assert promotion.thresholds == {} and promotion.tomograms == [] and promotion.history == []
    assert promotion.mean_honest_f1 is None


def test_the_first_is_the_best_with_the_thresholds_of_its_benchmark(lab: Lab) -> None:
    lab.model("a", scores=same(0.5))
    lab.model("b", scores=same(0.7))
    promotion = lab.decide().promotion
    assert promotion is not None and promotion.model == "b"
    assert promotion.thresholds == {"1abc.mrc": pytest.approx(0.6), "2xyz.mrc": pytest.approx(0.6)}
    assert promotion.tomograms == ["one", "three", "two"]
    assert promotion.mean_honest_f1 == pytest.approx(0.7)
    assert promotion.mean_best_case_f1 == pytest.approx(0.7)
    assert promotion.when.endswith("+00:00")


def test_after_the_first_a_person_decides(lab: Lab) -> None:
    lab.model("a", scores=same(0.5))
    lab.decide()
    lab.model("b", scores=same(0.7))
    decision = lab.decide()
    assert not decision.changed and lab.current.model == "a"
    assert "Promote b" in decision.recommendation and "0.700" in decision.recommendation
    decision = lab.decide(model="b", why="sharper")
    assert decision.changed
    assert (lab.current.model, lab.current.by, lab.current.why) == ("b", PERSON, "sharper")
    assert lab.current.replaced == "a" and [old["model"] for old in lab.current.history] == ["a"]
    # A person may decide against the benchmark, and the rule does not undo it.
    lab.decide(model="a", why="faster")
    assert not lab.decide().changed and lab.current.model == "a"


def test_the_rule_decides_where_it_may(lab: Lab) -> None:
    lab.model("a", scores=same(0.5))
    lab.decide(promotion="rule")
    lab.model("b", scores=same(0.505))
    decision = lab.decide(promotion="rule")
    assert not decision.changed and "not better by 0.01" in decision.outcome
    assert lab.decide(promotion="rule", margin=0.001).changed is False  # 50.5 of 100 are 50
    lab.model("c", scores=same(0.6))
    assert lab.decide(promotion="rule").changed
    assert (lab.current.model, lab.current.by, lab.current.replaced) == ("c", "rule", "a")
    assert "0.600" in lab.current.why and "0.500" in lab.current.why


def test_rolling_back_goes_down_the_chain_and_never_in_circles(lab: Lab) -> None:
    for name, f1 in (("a", 0.5), ("b", 0.6), ("c", 0.7)):
        lab.model(name, scores=same(f1))
        lab.decide(model=name, why=f"try {name}")
    lab.report("b", trained_models(lab.folder)["b"], "one", 0.9, step=2)
    old = next(entry for entry in lab.current.history if entry["model"] == "b")
    lab.decide(roll_back=True)
    assert (lab.current.model, lab.current.replaced, lab.current.by) == ("b", "c", PERSON)
    assert lab.current.why == "rolled back from c"
    assert lab.current.thresholds == old["thresholds"]  # those of then, not of today's benchmark
    lab.decide(roll_back=True, why="b was no better")
    assert (lab.current.model, lab.current.why) == ("a", "b was no better")
    with pytest.raises(InputError, match="no earlier promotion"):
        lab.decide(roll_back=True)
    assert [entry["model"] for entry in lab.current.history] == ["a", "b", "c", "b"]
    # From here on the chain grows again, and leads back to here.
    lab.decide(model="c", why="again")
    lab.decide(roll_back=True)
    assert lab.current.model == "a"


def test_the_rule_does_not_promote_again_what_was_rolled_back(lab: Lab) -> None:
    lab.model("a", scores=same(0.5))
    lab.decide()
    lab.model("b", scores=same(0.7))
    lab.decide(promotion="rule")
    lab.decide(roll_back=True, why="misses membranes")
    assert not lab.decide(promotion="rule").changed
    assert lab.current.model == "a"
    lab.model("b", weights="trained anew", scores=same(0.7))  # other weights are another chance
    assert lab.decide(promotion="rule").changed
    lab.decide(roll_back=True)
    lab.decide(model="b", why="it does not miss them")
    assert md5_of_file(lab.folder.product("trained_model", "b")) not in lab.current.turned_down


def test_what_cannot_be_promoted(lab: Lab) -> None:
    lab.model("a", scores=same(0.5))
    with pytest.raises(InputError, match=r"'b' is not trained.*There are a"):
        lab.decide(model="b")
    with pytest.raises(InputError, match="one of the two"):
        lab.decide(model="a", roll_back=True)
    with pytest.raises(InputError, match="no earlier promotion"):
        lab.decide(roll_back=True)
    lab.decide()
    lab.model("b", scores=same(0.6))
    lab.decide(model="b")
    lab.model("a", weights="other")
    with pytest.raises(InputError, match="weights of a are no longer those"):
        lab.decide(roll_back=True)
    assert lab.current.model == "b"


@pytest.mark.parametrize(("f1", "taken"), [(0.6, True), (0.46, True), (0.4, False), (None, False)])
def test_new_weights_of_the_production_model(lab: Lab, f1: float | None, taken: bool) -> None:
    lab.model("a", scores=same(0.5))
    lab.decide()
    md5 = lab.model("a", weights="new", scores=same(f1) if f1 is not None else None)
    decision = lab.decide()
    assert decision.changed == taken and (lab.current.md5 == md5) == taken
    assert "no longer those that were promoted" in decision.outcome
    if f1 is None:
        assert "no scores yet" in decision.outcome


def test_a_production_model_that_is_gone(lab: Lab) -> None:
    lab.model("a", scores=same(0.5))
    lab.decide()
    lab.model("b", scores=same(0.4))
    (lab.data / "models" / "a.pth").unlink()
    decision = lab.decide()
    assert not decision.changed and "no longer there" in decision.outcome
    assert lab.decide(promotion="rule").changed and lab.current.model == "b"


def test_thresholds_follow_the_benchmark_unless_a_person_promoted(lab: Lab) -> None:
    md5 = lab.model("a", scores={"one": 0.5, "two": 0.5})
    lab.decide()
    lab.report("a", md5, "three", 0.5, step=6)
    decision = lab.decide()
    assert decision.changed and lab.current.tomograms == ["one", "three", "two"]
    assert lab.current.before is None  # a step that nobody goes back
    assert not lab.decide().changed
    lab.decide(model="a", why="mine")
    for tomogram in same(0):
        lab.report("a", md5, tomogram, 0.5, step=3)
    decision = lab.decide()
    assert not decision.changed and "promote it again" in decision.recommendation
    assert lab.current.thresholds["1abc.mrc"] == pytest.approx(0.6)
    lab.decide(model="a", why="new thresholds")
    assert lab.current.thresholds["1abc.mrc"] == pytest.approx(0.3)


def test_reports_of_other_weights_and_of_lost_tomograms_do_not_count(lab: Lab) -> None:
    md5 = lab.model("a", scores=same(0.5))
    lab.report("a", "0" * 32, "two", 0.9)
    (lab.data / "ground_truth" / "three.txt").unlink()
    assert benchmark_tomograms(lab.folder) == ["one", "two"]
    found = read_benchmark(lab.folder, {"a": md5})
    assert [report.tomogram for report in found.reports] == ["one"] and found.left_out == 2
    assert len(read_benchmark(lab.folder).reports) == 2


def test_reports_of_earlier_versions_and_broken_ones(lab: Lab) -> None:
    lab.model("a", scores=same(0.5))
    path = lab.folder.product("evaluation_report", "a", "one")
    content = json.loads(path.read_text())
    for name in ("curves", "model_md5", "date"):
        del content[name]
    path.write_text(json.dumps(content))
    lab.folder.product("evaluation_report", "a", "two").write_text("{")
    assert read_report(path).curves == [] and read_report(path).fbeta == 1
    found = read_benchmark(lab.folder)
    assert [report.tomogram for report in found.reports] == ["one", "three"]
    assert len(found.problems) == 1 and found.scores["honest_f1"].isna().all()


def test_the_version_changes_with_weights_and_thresholds_alone(lab: Lab) -> None:
    lab.model("a", scores=same(0.5))
    lab.decide()
    first = lab.current
    assert replace(first, why="x", by="y", when="z", history=[{}]).version == first.version
    assert replace(first, md5="0").version != first.version
    assert replace(first, thresholds={"1abc.mrc": 0.61}).version != first.version


def test_a_record_that_is_none(lab: Lab) -> None:
    lab.folder.product("production_model").parent.mkdir(exist_ok=True)
    lab.folder.product("production_model").write_text('{"model": "a", "colour": "red"}')
    with pytest.raises(InputError, match="no record of a promotion"):
        read_promotion(lab.folder)


def test_the_leaderboard_says_which_one_it_is(lab: Lab) -> None:
    mark_on_leaderboard(lab.folder, "b")  # nothing to mark
    path = lab.folder.product("leaderboard")
    path.parent.mkdir(exist_ok=True)
    pd.DataFrame({"model": ["a", "b"], "production": [True, False], "tomograms": 1}).to_csv(path, index=False)
    mark_on_leaderboard(lab.folder, "b")
    board = pd.read_csv(path)
    assert board["production"].tolist() == [False, True] and list(board.columns)[1] == "production"
    mark_on_leaderboard(lab.folder, None)
    assert not pd.read_csv(path)["production"].any()


def located(folder: Path, md5: str) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    columns = {name: rng.uniform(5, 20, 40).round(2) for name in "XYZ"}
    frame = pd.DataFrame({**columns, "size": 9, "metric_best": rng.uniform(0.3, 0.9, 40).round(3)})
    frame = frame.assign(predicted_class=np.arange(40) % 2, width=7, height=7, depth=7)
    frame.attrs = {"references": ["1abc.mrc", "2xyz.mrc"], "modelmd5": md5}
    write_picks(folder, frame)
    return frame


def produce(lab: Lab, **settings: Any) -> dg.MaterializeResult[None]:
    with dg.build_asset_context(partition_key="one") as context:
        result = production_picks(
            context=context, config=ProductionPicksConfig(**settings), data_folder=lab.folder
        )
    assert isinstance(result, dg.MaterializeResult)
    return result


def test_production_picks_are_those_above_the_promoted_thresholds(lab: Lab) -> None:
    md5 = lab.model("a", scores=same(0.5))
    lab.decide()
    write_promotion(lab.folder, replace(lab.current, thresholds={"1abc.mrc": 0.7, "2xyz.mrc": 0.5}))
    picks = located(lab.folder.product("located_picks", "a", "one"), md5)
    result = produce(lab)
    folder = lab.folder.product("production_picks", "one")
    kept = 0
    for number, (name, limit) in enumerate((("1abc", 0.7), ("2xyz", 0.5))):
        own = keep_picks(picks[picks["predicted_class"] == number], minimum_metric=limit)
        assert 0 < len(own) < 20
        np.testing.assert_allclose(read_coords(folder / f"{name}.coords"), own[["X", "Y", "Z"]], atol=6e-4)
        kept += len(own)
    told = result.metadata or {}
    assert told["dagster/row_count"] == kept and told["model"] == "a"
    assert sorted(path.name for path in folder.iterdir()) == [
        "1abc.coords", "1abc_relion3.star", "2xyz.coords", "2xyz_relion3.star",
    ]  # fmt: skip
    produce(lab, formats=["cbox"])
    assert sorted(path.name for path in folder.iterdir()) == ["1abc.cbox", "2xyz.cbox"]


def test_a_reference_without_a_benchmark_keeps_all_and_says_so(lab: Lab) -> None:
    md5 = lab.model("a")
    lab.decide()
    write_promotion(lab.folder, replace(lab.current, thresholds={"1abc.mrc": 0.7}))
    located(lab.folder.product("located_picks", "a", "one"), md5)
    result = produce(lab)
    told = result.metadata or {}
    assert "no benchmark, so all as located: 2xyz.mrc" in str(told["summary"])
    assert len(read_coords(lab.folder.product("production_picks", "one") / "2xyz.coords")) == 20


def test_production_picks_want_the_promoted_weights(lab: Lab) -> None:
    with pytest.raises(InputError, match="no model is in production yet"):
        produce(lab)
    lab.model("a", scores=same(0.5))
    lab.decide()
    with pytest.raises(InputError, match=r"a, on one has not been made yet.*located_picks of a\|one"):
        produce(lab)
    located(lab.folder.product("located_picks", "a", "one"), "0" * 32)
    with pytest.raises(InputError, match="made with other weights of a"):
        produce(lab)


def test_the_asset_keeps_the_record_and_tells_it(lab: Lab) -> None:
    lab.model("a", scores=same(0.5))
    with dg.build_asset_context() as context:
        for asked in ({}, {"model": "a", "why": "to see", "by": PERSON}):
            result = production_model(
                context=context, config=PromotionConfig(**asked), data_folder=lab.folder
            )
    assert isinstance(result, dg.MaterializeResult)
    told = result.metadata or {}
    assert (told["model"], told["promoted_by"], told["why"]) == ("a", PERSON, "to see")
    assert told["mean_honest_f1"] == pytest.approx(0.5)
    assert result.data_version == dg.DataVersion(lab.current.version)
    # What a person asked for is no setting that a later run would miss.
    assert set(told["settings"].value) == {"promotion", "margin", "worst_class_drop"}  # type: ignore[union-attr]
