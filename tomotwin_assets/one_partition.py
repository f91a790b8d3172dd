"""One partition's share of a step that has several: the same steps that Dagster takes for a run of it alone.

Dagster gives a step all partitions of its run at once: one value for all of them, one data version for all of
them. Here a partition gets a context of its own, as in a run of its own, and Dagster's own functions load its
inputs, store its value and record its materialisation. So its metadata, its data version and those of its
inputs are what they would be alone. It rests on parts of Dagster that are not public; the version is pinned,
and the tests compare a batch with runs of one partition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.errors import DagsterTypeCheckDidNotPass
from dagster._core.execution.context.compute import enter_execution_context
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.execution.plan.execute_step import (
    _process_asset_results_to_events,
    _step_output_error_checked_user_event_sequence,
    _type_check_and_store_output,
    do_type_check,
)
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    MULTIDIMENSIONAL_PARTITION_PREFIX,
    PARTITION_NAME_TAG,
)

Call = Callable[[Any, Mapping[str, Any]], Any]
"""Takes the context of one partition and its inputs by name; returns what the asset's function returns."""


class BlockedError(Exception):
    """A check that blocks has failed for this partition."""


def step_of(step: StepExecutionContext, key: str) -> StepExecutionContext:
    """The context that the step would have in a run of the partition ``key`` alone."""
    partitions = step.run_partitions_def
    if partitions is None:
        raise ValueError(f"{step.step.key} has no partitions")
    run = step.dagster_run
    ranged = (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG, PARTITION_NAME_TAG)
    tags = {
        name: value
        for name, value in run.tags.items()
        if name not in ranged and not name.startswith(MULTIDIMENSIONAL_PARTITION_PREFIX)
    }
    tags |= partitions.get_tags_for_partition_key(key)
    return StepExecutionContext(
        plan_data=step.plan_data._replace(dagster_run=run.with_tags(tags)),
        execution_data=step._execution_data,
        log_manager=step.log,
        step=step.step,
        output_capture=None,
        known_state=step._known_state,
        event_loop=step.event_loop,
    )


def make(step: StepExecutionContext, call: Call) -> Iterator[dg.DagsterEvent]:
    """Load the inputs of a partition, call the function, store its value and record what was made.

    Parameters
    ----------
    step : from :func:`step_of`.
    call : the asset's function.

    Raises
    ------
    BlockedError
        If a blocking check that comes with the result fails; the value is stored by then.
    """
    blocked = []
    with enter_execution_context(step) as context:
        if step.is_sda_step:
            step.fetch_external_input_asset_version_info()
        inputs: dict[str, Any] = {}
        for step_input in step.step.step_inputs:
            definition = step.op_def.input_def_named(step_input.name)
            if definition.dagster_type.is_nothing:
                continue
            for loaded in step_input.source.load_input_object(step, definition):
                if isinstance(loaded, dg.DagsterEvent):
                    yield loaded
                else:
                    inputs[step_input.name] = loaded
            _check_type(step, step_input.name, inputs[step_input.name])
        result = call(context, inputs)
        inputs.clear()  # what is stored below needs no second tomogram in memory
        # What the function has logged as events is stored already.
        yield from context.op_execution_context.consume_events()
        for event in _step_output_error_checked_user_event_sequence(
            step, _process_asset_results_to_events(step, iter([result]))
        ):
            if isinstance(event, dg.Output):
                yield from _type_check_and_store_output(step, event)
            elif isinstance(event, AssetCheckEvaluation):
                yield dg.DagsterEvent.asset_check_evaluation(step, event)
                if not event.passed and event.blocking and event.severity == dg.AssetCheckSeverity.ERROR:
                    blocked.append(event.check_name)
    if blocked:
        raise BlockedError(f"it did not pass {', '.join(blocked)}")


def _check_type(step: StepExecutionContext, name: str, value: Any) -> None:
    kind = step.op_def.input_def_named(name).dagster_type
    checked = do_type_check(step.for_type(kind), kind, value)
    if not checked.success:
        raise DagsterTypeCheckDidNotPass(
            description=f"the input {name} is a {type(value).__name__}, not a {kind.display_name}",
            metadata=checked.metadata,
            dagster_type=kind,
        )
