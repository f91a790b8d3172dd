"""What is asked for, in cases small enough to be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tomotwin_assets.definitions import defs
from tomotwin_assets.graph import Graph
from tomotwin_assets.history import Attempt
from tomotwin_assets.launching import Launch, launches
from tomotwin_assets.plan import Task, plan
from tomotwin_assets.snapshot import Snapshot
from tomotwin_assets.stages import CHECK, COMPARE, PICK, PREPARE, STAGES, TRAIN, Stage

GRAPH = Graph.of(defs.get_repository_def().asset_graph)
SOURCES = ("subvolumes", "references", "models", "tomograms", "ground_truth")
PAIR_ASSETS = PICK.assets


class State:
    """A platform at work, to be changed and looked at: what was made when, as numbers of events.

    Sources have number 1; products 10, 20, … in the order of the stages.
    """

    def __init__(self, tomograms: str = "ab", models: str = "M", benchmark: str = "", production: str = "M"):
        self.made: dict[str, dict[str | None, int]] = {asset: {} for asset in GRAPH.dimensions}
        self.there: dict[str, set[tuple[str, ...]]] = {asset: set() for asset in GRAPH.dimensions}
        self.attempts: dict[str, dict[str | None, Attempt]] = {}
        self.now = Snapshot(
            GRAPH,
            models=list(models),
            tomograms=list(tomograms),
            benchmark=frozenset(benchmark),
            production=production or None,
            promoted=40 if "production_model" in COMPARE.assets and production else None,
            expected=frozenset({"models", "tomograms", "references"}),
            order=list(tomograms),
        )
        self.report("references")
        for model in models:
            self.report("models", model)
        for tomogram in tomograms:
            self.report("tomograms", tomogram)
        for tomogram in benchmark:
            self.report("ground_truth", tomogram)

    def report(self, source: str, key: str | None = None, number: int = 1) -> None:
        self.made[source][key] = number

    def make(self, stage: Stage, *keys: str, number: int, only: tuple[str, ...] = ()) -> None:
        """All assets of a stage, for a partition, one event after the other."""
        for index, asset in enumerate(stage.assets):
            if asset == "training_data" or (only and asset not in only):
                continue
            dimensions = GRAPH.dimensions[asset]
            self.made[asset]["|".join(keys) if dimensions else None] = number + index
            self.there[asset].add(tuple(keys))

    def make_all(self) -> State:
        """Everything that is wanted."""
        self.make(PREPARE, number=10)
        for tomogram in self.now.tomograms:
            self.make(CHECK, tomogram, number=10)
        for model in self.now.models:
            self.make(TRAIN, model, number=20)
            for tomogram in self.now.tomograms:
                if model == self.now.production or tomogram in self.now.benchmark:
                    self.make(PICK, model, tomogram, number=30)
        self.make(COMPARE, number=40)
        for stage in STAGES[5:]:
            for tomogram in self.now.tomograms:
                self.make(stage, tomogram, number=50)
        return self

    def fail(self, stage: Stage, key: str | None, number: int, **how: bool) -> None:
        """A run of all assets of a stage that made nothing."""
        for asset in stage.assets:
            self.attempts.setdefault(asset, {})[key] = Attempt(number, **how)

    def snapshot(self, **changes: object) -> Snapshot:
        return replace(
            self.now,
            made=self.made,
            there=self.there,
            attempts=self.attempts,
            **changes,  # type: ignore[arg-type]
        )

    def asked(self, **changes: object) -> list[str]:
        """What is asked for, as ``job partition``, but for stages that this file knows nothing of."""
        tasks = plan(self.snapshot(**changes)).tasks
        return [f"{t.stage.job} {t.key or ''}".strip() for t in tasks if t.stage in STAGES[:5]]

    def task(self, stage: Stage, key: str | None = None) -> Task:
        (found,) = [t for t in plan(self.snapshot()).tasks if (t.stage, t.key) == (stage, key)]
        return found


def test_first_things_first() -> None:
    state = State(benchmark="a")
    assert state.asked() == ["prepare_data", "train_model M", "check_tomogram a", "check_tomogram b"]
    # The network can be trained before there are references, which then are embedded.
    assert state.task(TRAIN, "M").assets == ("trained_model",)
    state.make(PREPARE, number=10)
    state.make(CHECK, "b", number=11)
    state.make(TRAIN, "M", number=12)
    assert [key for key in state.asked() if "pick" in key] == ["pick_tomogram M|b"]


def test_when_everything_is_there_nothing_is_asked_for() -> None:
    assert State(benchmark="a", models="MN").make_all().asked() == []


def test_the_model_in_production_picks_all_and_others_the_benchmark() -> None:
    state = State(tomograms="abc", models="MNO", benchmark="b", production="N").make_all()
    for asset in PAIR_ASSETS:
        state.made[asset].clear()
    pairs = [key for key in state.asked() if "pick" in key]
    assert pairs == [f"pick_tomogram {pair}" for pair in ("N|a", "N|b", "N|c", "M|b", "O|b")]


def test_without_a_model_in_production_only_the_benchmark_is_picked() -> None:
    state = State(benchmark="b", production="").make_all()
    for asset in PAIR_ASSETS:
        state.made[asset].clear()
    assert [key for key in state.asked() if "pick" in key] == ["pick_tomogram M|b"]


@pytest.mark.parametrize(
    ("source", "key", "expected"),
    [
        ("tomograms", "a", ["check_tomogram a"]),
        ("models", "N", ["train_model N"]),
        ("references", None, ["prepare_data"]),
        ("ground_truth", "a", ["pick_tomogram M|a", "pick_tomogram N|a"]),
    ],
)
def test_what_a_changed_source_asks_for_at_first(source: str, key: str | None, expected: list[str]) -> None:
    state = State(benchmark="a", models="MN").make_all()
    state.report(source, key, number=100)
    assert state.asked() == expected


def test_what_is_made_from_something_newer_is_made_again_and_nothing_else() -> None:
    state = State(benchmark="a").make_all()
    state.made["reference_embeddings"]["M"] = 60
    task = state.task(PICK, "M|a")
    assert task.assets == ("similarity_map", "located_picks", "picked_coordinates", "evaluation_report")
    assert task.why == "reference_embeddings is newer"
    state.make(PICK, "M", "a", number=70)
    state.make(PICK, "M", "b", number=70)
    assert state.asked() == ["compare_models"]


def test_reports_of_tomograms_without_truth_do_not_start_the_comparison() -> None:
    state = State(benchmark="a").make_all()
    state.made["evaluation_report"]["M|b"] = 90
    assert state.asked() == []
    state.made["evaluation_report"]["M|a"] = 90
    assert state.asked() == ["compare_models"]


def test_a_lost_file_is_made_again() -> None:
    state = State().make_all()
    state.there["picked_coordinates"].remove(("M", "b"))
    task = state.task(PICK, "M|b")
    assert (task.assets, task.why) == (("picked_coordinates",), "the file of picked_coordinates is gone")


def test_a_source_that_has_not_been_reported_yet_is_waited_for() -> None:
    state = State(tomograms="ab").make_all()
    del state.made["tomograms"]["a"], state.made["tomogram"]["a"]
    assert state.asked() == []
    # Subvolumes that are still being copied are no reason to train on half of them.
    trained = State(production="", tomograms="")
    trained.make(PREPARE, number=10)
    expected = frozenset({"models", "tomograms", "references"})
    train = {"to_train": frozenset("M")}
    assert trained.asked(**train, expected=expected | {"subvolumes"}) == []
    assert trained.asked(**train, expected=expected) == ["prepare_data"]


def test_a_failed_check_blocks_what_comes_after_it() -> None:
    state = State().make_all()
    for asset in PAIR_ASSETS:
        state.made[asset].clear()
    assert state.asked(blocked=frozenset({("tomogram", "a")})) == ["pick_tomogram M|b"]


def test_what_failed_is_left_until_its_input_changes() -> None:
    state = State().make_all()
    for asset in PAIR_ASSETS:
        del state.made[asset]["M|a"]
    assert state.asked() == ["pick_tomogram M|a"]
    state.fail(PICK, "M|a", number=60)
    assert state.asked() == []
    assert plan(state.snapshot()).left == 1
    # What the failed run itself has made is no change of input.
    state.made["tomogram_embeddings"]["M|a"] = 61
    state.there["tomogram_embeddings"].add(("M", "a"))
    del state.attempts["tomogram_embeddings"]
    assert state.asked() == []
    state.made["reference_embeddings"]["M"] = 62
    assert state.asked()[0] == "pick_tomogram M|a"


def test_members_of_a_failed_batch_are_tried_once_more_each_alone() -> None:
    state = State(tomograms="abc").make_all()
    for asset in PAIR_ASSETS:
        for key in ("M|a", "M|b"):
            del state.made[asset][key]
    before = state.task(PICK, "M|a")
    for key in ("M|a", "M|b"):
        state.fail(PICK, key, number=60, alone=False)
    tasks = plan(state.snapshot()).tasks
    assert [(task.key, task.alone) for task in tasks] == [("M|a", True), ("M|b", True)]
    assert Launch((before,)).run_key != Launch((tasks[0],)).run_key
    state.fail(PICK, "M|a", number=70)
    assert [task.key for task in plan(state.snapshot()).tasks] == ["M|b"]


def test_what_somebody_cancelled_or_what_runs_is_not_asked_for() -> None:
    state = State(tomograms="abc")
    state.make(PREPARE, number=10)
    state.make(TRAIN, "M", number=20)
    state.fail(CHECK, "a", number=60, cancelled=True, alone=False)
    state.fail(CHECK, "b", number=60, running=True)
    found = plan(state.snapshot())
    assert [task.key for task in found.tasks if task.stage is CHECK] == ["c"]
    assert (found.left, found.running) == (1, 1)


def test_trainings_go_one_at_a_time_and_imports_do_not_wait() -> None:
    state = State(models="MNOP", tomograms="", production="")
    state.make(PREPARE, number=10)
    state.made["training_data"][None] = 10
    state.there["training_data"].add(())
    trained = {"to_train": frozenset("MN")}
    assert state.asked(**trained) == ["train_model O", "train_model P", "train_model M"]
    state.fail(TRAIN, "M", number=20, running=True)
    assert state.asked(**trained) == ["train_model O", "train_model P"]


def test_new_things_come_first_then_production_then_the_benchmark() -> None:
    state = State(tomograms="abc", models="MNO", benchmark="a", production="N").make_all()
    for asset in PAIR_ASSETS:
        state.made[asset].clear()
    state.report("tomograms", "c", number=100)
    state.report("models", "O", number=100)
    assert state.asked() == [
        "train_model O", "check_tomogram c", "pick_tomogram N|a", "pick_tomogram N|b", "pick_tomogram M|a"
    ]  # fmt: skip


def test_the_same_state_has_the_same_run_key_and_another_state_another() -> None:
    state = State().make_all()
    state.report("tomograms", "a", number=100)
    first = Launch((state.task(CHECK, "a"),)).run_key
    assert Launch((state.task(CHECK, "a"),)).run_key == first
    state.report("tomograms", "a", number=101)
    assert Launch((state.task(CHECK, "a"),)).run_key != first


def pick(tomogram: str, model: str = "M", alone: bool = False, assets: tuple[str, ...] = PAIR_ASSETS) -> Task:
    return Task(PICK, model, tomogram, assets, "new tomogram", -4, tomogram, alone)


def grouped(
    tasks: list[Task], order: str = "abcdefgh", most: int = 3, room: int = 9, limit: int | None = None
):  # type: ignore[no-untyped-def]
    graph = Graph({}, {}, dict.fromkeys(PAIR_ASSETS, limit))
    runs = launches(tasks, list(order), graph, most, room)
    return [" ".join(str(task.key) for task in run.tasks) for run in runs]


def test_neighbours_of_one_model_share_a_run() -> None:
    assert grouped([pick(t) for t in "abcdefg"]) == ["M|a M|b M|c", "M|d M|e M|f", "M|g"]
    assert grouped([pick(t) for t in "abdf"]) == ["M|a M|b", "M|d", "M|f"]
    # Dagster's order counts, not the alphabet's.
    assert grouped([pick(t) for t in "abc"], order="abxc") == ["M|a M|b", "M|c"]
    assert grouped([pick("a"), pick("b", model="N")]) == ["M|a", "N|b"]
    assert grouped([pick("a"), pick("b", assets=PAIR_ASSETS[1:])]) == ["M|a", "M|b"]
    assert grouped([pick("a"), pick("b", alone=True), pick("c")]) == ["M|a", "M|b", "M|c"]


def test_runs_are_limited_in_number_and_size() -> None:
    tasks = [pick(t) for t in "abcdefg"]
    assert grouped(tasks, room=1) == ["M|a M|b M|c"]
    assert grouped(tasks, room=0) == grouped(tasks, room=-3) == []
    assert grouped(tasks[:3], limit=2) == ["M|a M|b", "M|c"]
    assert grouped(tasks[:2], limit=1) == ["M|a", "M|b"]
    models = [Task(TRAIN, model, None, TRAIN.assets, "", -2, "") for model in "MN"]
    assert grouped(models, limit=None) == ["M", "N"]
