"""Several partitions in one run: an asset is written for one, and called for each in turn.

::

    @dg.asset(partitions_def=pairs, backfill_policy=SEVERAL_A_RUN)
    @each_partition
    def located_picks(context, similarity_map: SimilarityMap, …) -> dg.MaterializeResult[pd.DataFrame]:
        …  # of context.partition_key

A run of eight partitions starts one process and loads the network once. Each partition's inputs are read
when its turn comes and its value is written before the next; each has its own metadata and data version. One
that fails does not stop the others: it gets an observation with the reason, later steps of the run leave it
out, and the last ones fail and name it. A second try, of a step or of a run that was killed, makes only what
is missing.
"""

from __future__ import annotations

import functools
import inspect
import traceback
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import dagster as dg
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.execution.plan.objects import TypeCheckData
from dagster._core.execution.plan.outputs import StepOutputData, StepOutputHandle

from tomotwin_assets import one_partition
from tomotwin_assets.batch_records import BatchRecords, note_failure
from tomotwin_assets.progress import partition_text
from tomotwin_assets.retries import MAX_RETRIES, reason, second_tries
from tomotwin_lib.errors import InputError

# Set before any asset is defined. It has been the way to say it since 2023; the version is pinned.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)

PARTITIONS_PER_RUN = 8
SEVERAL_A_RUN = dg.BackfillPolicy.multi_run(max_partitions_per_run=PARTITIONS_PER_RUN)
"""For assets under :func:`each_partition`: a backfill starts one run for so many partitions."""

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "_each_partition"


class _Later:
    """Stands for an input of a run with several partitions, which is read when its partition's turn comes."""

    def __repr__(self) -> str:
        return "read when its turn comes"


LATER = _Later()


def each_partition(function: F) -> F:
    """Decorator below ``@dg.asset`` (or ``@dg.asset_check``): one call a partition of the run.

    The function is written for one partition, takes ``context`` first, and returns one result (no generator).
    Failures that a second try may mend (:mod:`tomotwin_assets.retries`) ask for one.

    Raises
    ------
    TypeError
        If the function's first parameter is not ``context``, or it is a generator.
    """
    signature = inspect.signature(function)
    if next(iter(signature.parameters), None) != "context" or inspect.isgeneratorfunction(function):
        raise TypeError(f"{function.__name__} must take context first, and return its result")

    @functools.wraps(function)
    def call(context: Any, **arguments: Any) -> Any:
        def one(context: Any, inputs: Mapping[str, Any]) -> Any:
            with second_tries():
                return function(context, **{**arguments, **inputs})

        if not context.op_execution_context.has_partition_key_range or len(context.partition_keys) == 1:
            return one(context, {})
        return _in_turn(
            context.op_execution_context.get_step_execution_context(), context.partition_keys, one
        )

    hints = {name: _or_later(hint) for name, hint in typing.get_type_hints(function).items()}
    parameters = [one.replace(annotation=hints.get(one.name)) for one in signature.parameters.values()]
    call.__annotations__ = hints
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=hints.get("return", signature.empty)
    )
    return cast("F", tells(call))


def tells(function: F) -> F:
    """Decorator for steps that see to the partitions of their run, and name those that have failed."""
    setattr(function, _MARK, True)
    return function


def is_batch(step: StepExecutionContext) -> bool:
    """Whether a step makes several partitions in turn, and so reads its inputs later."""
    if not (_marked(step, step.step.key) and step.has_partition_key_range):
        return False
    return step.partition_key_range.start != step.partition_key_range.end


def _in_turn(
    step: StepExecutionContext, keys: typing.Sequence[str], call: one_partition.Call
) -> Iterator[dg.DagsterEvent]:
    """Make the partitions of a step in turn.

    Raises
    ------
    dagster.Failure
        At the end, if some could not be made and no later step of the run will say so: names each and why.
    dagster.RetryRequested
        At the end, if a second try may mend some of them.
    """
    for name in step.selected_output_names:
        step.observe_output(name)  # Dagster looks for one value, but there is one for each partition
    records = BatchRecords.of(step)
    bad, again = dict(records.failed), {}
    for number, key in enumerate(keys, start=1):
        name = f"{partition_text(key)} ({number} of {len(keys)})"
        if key in records.made:
            step.log.info(f"{name} was made before the interruption")
            continue
        if key in bad:
            step.log.warning(f"{name} is left out: {bad[key]}")
            continue
        step.log.info(name)
        try:
            yield from one_partition.make(one_partition.step_of(step, key), call)
        except dg.RetryRequested as error:
            again[key] = error
            step.log.warning(f"{name} could not be made now: {reason(error)}")
        except Exception as error:  # the other partitions have nothing to do with it
            yield _failed(step, key, error)
            bad[key] = reason(error)
    if again and step.previous_attempt_count < MAX_RETRIES:
        raise next(iter(again.values()))
    for key, retry in again.items():
        yield _failed(step, key, retry)
        bad[key] = reason(retry)
    if bad and (len(bad) == len(keys) or not later_steps_tell(step)):
        raise failure(bad, len(keys))
    for name in step.selected_output_names:
        # Those of a second try that has nothing left to make have not been told yet.
        checked = TypeCheckData(success=True, label=name)
        handle = StepOutputHandle(step.step.key, name)
        yield dg.DagsterEvent.step_output_event(step, StepOutputData(handle, type_check_data=checked))


def _failed(step: StepExecutionContext, key: str, error: Exception) -> dg.DagsterEvent:
    told = reason(error)
    step.log.error(f"{partition_text(key)} could not be made: {told}")
    if InputError.__name__ not in "".join(traceback.format_exception_only(error)):
        step.log.debug("".join(traceback.format_exception(error)))
    return note_failure(step, key, told)


def failure(bad: Mapping[str, str], count: int) -> dg.Failure:
    lines = [f"{partition_text(key)}: {why}" for key, why in bad.items()]
    table = dg.MetadataValue.table(
        [dg.TableRecord({"partition": key, "reason": why}) for key, why in bad.items()],
        schema=dg.TableSchema([dg.TableColumn("partition"), dg.TableColumn("reason")]),
    )
    return dg.Failure(
        "\n".join([f"{len(bad)} of {count} partitions could not be made", *lines]),
        metadata={"could_not_be_made": table},
        allow_retries=False,
    )


def later_steps_tell(step: StepExecutionContext) -> bool:
    """Whether steps that come later in this run leave out what has failed here, and fail in its place.

    A check that is not called for each partition says what it finds; it does not make anything.
    """
    later = _later(step, step.step.key)
    marked = [_marked(step, key) for key in later]
    return any(marked) and all(
        mark or _only_checks(step, key) for mark, key in zip(marked, later, strict=True)
    )


def more_is_made(step: StepExecutionContext, made_by: str) -> bool:
    """Whether this run makes something from what the step ``made_by`` makes."""
    return not all(_only_checks(step, key) for key in _later(step, made_by))


def _later(step: StepExecutionContext, than: str) -> list[str]:
    chosen = step.dagster_run.step_keys_to_execute
    deps = step.execution_plan.get_all_step_deps()
    return [key for key, needs in deps.items() if than in needs and (chosen is None or key in chosen)]


def _only_checks(step: StepExecutionContext, key: str) -> bool:
    handle = step.execution_plan.get_step_by_key(key).node_handle
    made = step.job_def.asset_layer.get_selected_entity_keys_for_node(handle)
    return bool(made) and not any(isinstance(one, dg.AssetKey) for one in made)


def _marked(step: StepExecutionContext, key: str) -> bool:
    handle = step.execution_plan.get_step_by_key(key).node_handle
    compute = getattr(step.job_def.get_op(handle).definition, "compute_fn", None)
    return getattr(getattr(compute, "decorated_fn", None), _MARK, False)


@functools.cache  # Dagster wants one type of a name
def _or_later(hint: Any) -> Any:
    """A type of inputs that admits :data:`LATER`; other annotations as they are."""
    if not isinstance(hint, type) or issubclass(hint, dg.Config | dg.ConfigurableResource):
        return hint
    if hint.__module__.partition(".")[0] == "dagster" or hint in (Any, type(None)):
        return hint
    return dg.DagsterType(
        type_check_fn=lambda _, value: isinstance(value, hint | _Later),
        name=f"{hint.__name__}_of_a_partition",
        typing_type=hint,
    )
