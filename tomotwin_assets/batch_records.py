"""What the events of a run say about its partitions: which are made, which could not be made, and why.

Steps of one run may be processes on several machines, so they tell each other by the record of events alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.storage.tags import RESUME_RETRY_TAG

REASON = "could_not_be_made"
"""In the metadata of an observation: why a partition could not be made in a run with others."""


@dataclass
class BatchRecords:
    """What is known when a step starts.

    Attributes
    ----------
    made : partitions that an earlier try of this step has made.
    failed : partition → why it cannot be made: it, or what it is made from, has failed before.
    """

    made: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, step: StepExecutionContext) -> BatchRecords:
        """Read them: from the events of this run, and of the run that it goes on with, if any."""
        records, own = cls(), step.step.key
        before, now = _ancestors(step), set(step.dagster_run.step_keys_to_execute or ())
        for run_id, resumed in _runs(step):
            # Failures of this very step count in the same run; what a new run makes again has another chance.
            counted = before - now if resumed else before | {own}
            for event in _events(step.instance, run_id, dg.DagsterEventType.ASSET_OBSERVATION):
                seen = event.asset_observation_data.asset_observation
                if REASON in seen.metadata and seen.partition is not None and event.step_key in counted:
                    name = seen.asset_key.to_user_string()
                    why = str(seen.metadata[REASON].value)
                    records.failed[seen.partition] = why if event.step_key == own else f"{name}: {why}"
            # Materialisations carry pictures: they are read only where there may be some.
            if resumed or step.previous_attempt_count:
                for event in _events(step.instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION):
                    made = event.step_materialization_data.materialization
                    if event.step_key == own and made.partition is not None:
                        records.made.add(made.partition)
        return records


def note_failure(step: StepExecutionContext, key: str, why: str) -> dg.DagsterEvent:
    """Record that a partition could not be made: an observation of its asset, which the UI shows there."""
    assets = step.job_def.asset_layer.get_selected_entity_keys_for_node(step.node_handle)
    first = min(assets, key=lambda one: (not isinstance(one, dg.AssetKey), str(one)))
    asset = first if isinstance(first, dg.AssetKey) else first.asset_key
    return dg.DagsterEvent.asset_observation(
        step, dg.AssetObservation(asset, partition=key, metadata={REASON: why})
    )


def _runs(step: StepExecutionContext) -> Iterator[tuple[str, bool]]:
    """This run, and those that it goes on with (second value)."""
    yield step.run_id, False
    run: dg.DagsterRun | None = step.dagster_run
    while run is not None and run.parent_run_id and run.tags.get(RESUME_RETRY_TAG) == "true":
        yield run.parent_run_id, True
        run = step.instance.get_run_by_id(run.parent_run_id)


def _ancestors(step: StepExecutionContext) -> set[str]:
    """The steps of the run that this one is made from, directly or not."""
    needs = step.execution_plan.get_all_step_deps()
    found, todo = set(), [step.step.key]
    while todo:
        for key in needs.get(todo.pop(), ()):
            if key not in found:
                found.add(key)
                todo.append(key)
    return found


def _events(
    instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType
) -> Iterator[dg.DagsterEvent]:
    for entry in instance.all_logs(run_id, of_type=kind):
        if entry.dagster_event is not None:
            yield entry.dagster_event
