"""What is wanted and not there: pure functions of a snapshot, asked again at every look.

Wanted are every tomogram checked, every model trained, every tomogram picked with the model in production,
every tomogram with ground truth picked with every model, and the comparison of them all. As in
:mod:`.currency`, a product is out of date if it has not been made, its file is gone, or something that it is
made from is newer; settings are not looked at, so that changing a default does not start thousands of runs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from tomotwin_assets.assets.sources import GROUND_TRUTH, MODELS, REFERENCES, SUBVOLUMES, TOMOGRAMS
from tomotwin_assets.freshness import NEVER, Place, Products
from tomotwin_assets.partitions import MODEL, TOMOGRAM
from tomotwin_assets.snapshot import Snapshot
from tomotwin_assets.stages import CHECK, COMPARE, PICK, PREPARE, STAGES, TRAIN, Stage

SOURCES = (SUBVOLUMES, REFERENCES, MODELS, TOMOGRAMS, GROUND_TRUTH)
# Runs that people start have priority 0 and come first.
_PREPARE, _IMPORT, _NEW, _COMPARE, _PRODUCTION, _BENCHMARK = -1, -2, -3, -4, -5, -6


@dataclass(frozen=True)
class Task:
    """What one run, or a part of one, has to make.

    Attributes
    ----------
    model, tomogram : the partition, as far as the stage has such.
    assets : of the stage, those that are to be made, in their order.
    why : the reason, in words.
    state : changes with what the task would be made from, and with what is there already.
    alone : it is tried again after a run of several has failed, and must not share its run.
    """

    stage: Stage
    model: str | None
    tomogram: str | None
    assets: tuple[str, ...]
    why: str
    priority: int
    state: str
    alone: bool = False

    @property
    def key(self) -> str | None:
        """The partition as Dagster names it."""
        return Place(self.model, self.tomogram).pair or self.model or self.tomogram


@dataclass(frozen=True)
class Plan:
    """What to ask for, most urgent first; how many partitions are left after failing, and are in progress."""

    tasks: list[Task]
    left: int
    running: int

    @property
    def summary(self) -> str:
        """One line that says what there is to do."""
        failed = f", {self.left} left after failing until their input changes" if self.left else ""
        return f"{len(self.tasks)} partitions to be made, {self.running} in progress{failed}"


def plan(snapshot: Snapshot) -> Plan:
    """Everything that is wanted, not there, not in progress, and whose inputs are ready."""
    planner = _Planner(snapshot, Products(snapshot))
    planner.run()
    # Sorting keeps the order of what is equally urgent: that of Dagster's partitions.
    return Plan(
        sorted(planner.tasks, key=lambda task: -task.priority),
        planner.outcomes[_Outcome.LEFT],
        planner.outcomes[_Outcome.RUNNING],
    )


class _Outcome(Enum):
    """What there is to be done about one partition of a stage."""

    CURRENT = "everything is there and current"
    ASKED = "it is to be made now"
    RUNNING = "it is being made"
    LEFT = "it has failed, and nothing it is made from has changed since"
    WAITS = "something that it is made from is not ready"


@dataclass
class _Planner:
    """Goes through the stages in their order, so that what comes first is known when it is needed.

    ``unready`` holds (asset, key) of what is to be made, is being made, or cannot be made.
    """

    snapshot: Snapshot
    products: Products
    tasks: list[Task] = field(default_factory=list)
    outcomes: Counter[_Outcome] = field(default_factory=Counter)
    unready: set[tuple[str, str | None]] = field(default_factory=set)

    def run(self) -> None:
        now = self.snapshot
        trains = any(model in now.to_train for model in now.models)
        self._consider(PREPARE, Place(), _PREPARE, "new data", leave_out=() if trains else ("training_data",))
        for tomogram in now.tomograms:
            self._consider(CHECK, Place(None, tomogram), _NEW, "new tomogram")
        for model in now.models:
            # Importing takes a moment, and all picking waits for it.
            urgency = _NEW if model in now.to_train else _IMPORT
            self._consider(TRAIN, Place(model), urgency, "new model")
        self._one_training()
        evaluating = self._pick()
        # Once all reports that can be made are there, and not after each of them.
        if not evaluating and now.made.get("trained_model"):
            self._consider(COMPARE, Place(), _COMPARE, "new results")
        if now.production is not None:
            for stage in (stage for stage in STAGES if "production_picks" in stage.assets):
                for tomogram in now.tomograms:
                    self._consider(stage, Place(now.production, tomogram), _PRODUCTION, "new picks")

    def _one_training(self) -> None:
        """Trainings take hours: one at a time, so that they do not fill the queue."""
        now = self.snapshot
        attempts = now.attempts.get("trained_model", {})
        at_work = any(attempt.running and key in now.to_train for key, attempt in attempts.items())
        trainings = [
            task for task in self.tasks if "trained_model" in task.assets and task.model in now.to_train
        ]
        for task in trainings if at_work else trainings[1:]:
            self.tasks.remove(task)

    def _pick(self) -> bool:
        """The model in production on all tomograms, the others on the benchmark.

        Returns whether anything on the benchmark is going on.
        """
        now = self.snapshot
        going_on = {_Outcome.ASKED, _Outcome.RUNNING}
        evaluating = False
        if now.production is not None:
            for tomogram in now.tomograms:
                place = Place(now.production, tomogram)
                outcome = self._consider(PICK, place, _PRODUCTION, "new tomogram")
                evaluating |= tomogram in now.benchmark and outcome in going_on
        for model in (model for model in now.models if model != now.production):
            for tomogram in (tomogram for tomogram in now.tomograms if tomogram in now.benchmark):
                outcome = self._consider(PICK, Place(model, tomogram), _BENCHMARK, "not evaluated yet")
                evaluating |= outcome in going_on
        return evaluating

    def _consider(
        self, stage: Stage, place: Place, priority: int, new: str, leave_out: tuple[str, ...] = ()
    ) -> _Outcome:
        """Ask for one partition of a stage if there is something to be made of it that can be made."""
        outcome = self._outcome(stage, place, priority, new, leave_out)
        self.outcomes[outcome] += 1
        return outcome

    def _outcome(
        self, stage: Stage, place: Place, priority: int, new: str, leave_out: tuple[str, ...]
    ) -> _Outcome:
        todo: list[str] = []
        reason = ""
        running = waits = False
        for asset in stage.assets:
            if asset in leave_out:
                continue
            attempt = self.products.attempt(asset, place)
            running |= attempt is not None and attempt.running
            needs = self.products.needs(asset, place)
            why = f"made with {todo[0]}" if needs & set(todo) else self.products.why_not(asset, place)
            if why is None:
                continue
            self.unready.add((asset, self.products.key(asset, place)))
            if all(parent in todo or self._ready(parent, asset, place) for parent in needs):
                reason = reason or (new if why == NEVER else why)
                todo.append(asset)
            else:
                waits = True
        if not todo:
            return _Outcome.WAITS if waits else _Outcome.CURRENT
        if running:
            return _Outcome.RUNNING
        alone = False
        failed = self.products.failure(stage, todo, place)
        if failed is not None:
            if failed.alone or failed.cancelled:
                return _Outcome.LEFT
            alone, reason = True, f"alone, after a run of several has failed: {reason}"
        dimensions = self.snapshot.graph.dimensions[todo[0]]
        self.tasks.append(
            Task(
                stage,
                place.model if MODEL in dimensions else None,
                place.tomogram if TOMOGRAM in dimensions else None,
                tuple(todo),
                reason,
                priority,
                self.products.state(todo, place),
                alone,
            )
        )
        return _Outcome.ASKED

    def _ready(self, parent: str, asset: str, place: Place) -> bool:
        """Whether a product can be made from a parent as it is."""
        if self.products.gathers(asset, parent):
            return True  # it takes what there is
        key = self.products.key(parent, place)
        if parent in SOURCES:
            return parent not in self.snapshot.expected or self.products.made(parent, place) is not None
        if (parent, key) in self.unready or (parent, key) in self.snapshot.blocked:
            return False
        return self.products.made(parent, place) is not None
