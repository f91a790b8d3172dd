"""What happens by itself: new files become partitions, and what is wanted and not there is run.

Both look at how things are, not at what has happened since the last look: missing a look, or being restarted,
changes nothing.
"""

import json
from dataclasses import asdict, dataclass, field
from time import time
from typing import Any

import dagster as dg

from tomotwin_assets.completeness import Arrivals
from tomotwin_assets.configs import ArrivalsConfig, resolve_section
from tomotwin_assets.graph import Graph
from tomotwin_assets.jobs import asset_jobs
from tomotwin_assets.launching import launches, run_request
from tomotwin_assets.partitions import models, tomograms
from tomotwin_assets.plan import plan
from tomotwin_assets.registration import EVENTS_A_TICK, retired, scan
from tomotwin_assets.resources import DataFolder
from tomotwin_assets.retirement import judge
from tomotwin_assets.settings import read_settings
from tomotwin_assets.snapshot import take_snapshot
from tomotwin_lib.errors import InputError

SECTION = "arrivals"
_TOLD = 10
"""Problems and waiting files that a tick names; of more it gives the number."""


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every half minute: complete new files in the data folder become partitions, and partitions "
    "whose files have been deleted are retired.",
)
def new_data(context: dg.SensorEvaluationContext, data_folder: DataFolder) -> dg.SensorResult:
    """Look into the data folder; add and retire partitions and report sources, launch nothing.

    The cursor remembers files that were seen changing, and those that are missed.
    """
    now = time()
    before = _Memory.read(context.cursor)
    try:
        config = resolve_section(SECTION, ArrivalsConfig, read_settings())
        arrivals = Arrivals(now, config.settle_seconds, before.files)
        found = scan(data_folder, context.instance, arrivals, EVENTS_A_TICK)
        folder = data_folder.path / "tomograms"
    except InputError as error:
        return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
    gone = judge(
        found.known_tomograms,
        set(found.known_tomograms) - set(found.gone_tomograms),
        before.missing,
        folder=str(folder),
        folder_exists=folder.is_dir(),
        now=now,
        retire_after_seconds=60 * config.retire_after_minutes,
    )
    requests: list[Any] = [
        partitions.build_add_request(keys)
        for partitions, keys in ((models, found.new_models), (tomograms, found.new_tomograms))
        if keys
    ]
    if gone.retire:
        requests.append(tomograms.build_delete_request(gone.retire))
    why = f"its file has been gone for {config.retire_after_minutes:g} minutes"
    told = [
        f"{data_folder.path}: {found.summary}",
        gone.warning,
        *_some("retired", [f"tomogram {key}, as {why}" for key in gone.retire]),
        *_some("waited for", [f"{path.name}: {why}" for path, why in arrivals.waiting.items()]),
        *_some("cannot be used", [str(problem) for problem in found.problems]),
    ]
    return dg.SensorResult(
        dynamic_partitions_requests=requests,
        asset_events=[*found.events, *(retired(key, why) for key in gone.retire)],
        skip_reason="\n".join(line for line in told if line),
        cursor=_Memory(arrivals.remembered, gone.missing).written(),
    )


@dg.sensor(
    jobs=asset_jobs,
    minimum_interval_seconds=20,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every 20 seconds: asks for runs of what is wanted and not there: new tomograms checked and "
    "picked with the model in production, new models trained and evaluated on the benchmark, all of them "
    "compared. What has failed is left until its input changes. `[arrivals] enabled = false` stops it.",
)
def work(context: dg.SensorEvaluationContext, data_folder: DataFolder) -> dg.SensorResult:
    """Compare what is wanted with what is there, and ask for the most urgent runs that there is room for."""
    if context.repository_def is None:
        return dg.SensorResult(skip_reason="The graph is not known here.")
    graph = Graph.of(context.repository_def.asset_graph)
    try:
        settings = read_settings()
        config = resolve_section(SECTION, ArrivalsConfig, settings)
        if not config.enabled:
            return dg.SensorResult(skip_reason=f"Switched off: [{SECTION}] enabled is false.")
        now = take_snapshot(graph, context.instance, data_folder)
        if now.shell:
            return dg.SensorResult(skip_reason="tomotwin-platform run is at work; nothing is asked for.")
        todo = plan(now)
        room = config.queue_ahead - now.own_runs
        runs = launches(todo.tasks, now.order, graph, config.tomograms_per_run, room)
        requests = [run_request(run, settings) for run in runs]
    except InputError as error:
        return dg.SensorResult(skip_reason=str(error))
    summary = (
        f"{todo.summary}; {now.own_runs} runs of this sensor in progress, {len(requests)} more asked for"
    )
    context.log.info(summary)
    return dg.SensorResult(run_requests=requests, skip_reason=None if requests else summary)


def _some(what: str, lines: list[str]) -> list[str]:
    """A heading with some of the lines, or nothing."""
    if not lines:
        return []
    more = [f"… and {len(lines) - _TOLD} more"] if len(lines) > _TOLD else []
    return [f"{len(lines)} {what}:", *lines[:_TOLD], *more]


@dataclass(frozen=True)
class _Memory:
    """What one look of ``new_data`` leaves to the next: see :class:`.Arrivals` and :func:`.judge`."""

    files: dict[str, tuple[str, float]] = field(default_factory=dict)
    missing: dict[str, tuple[float, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, cursor: str | None) -> "_Memory":
        """An empty one where the cursor is none of ours: then files are watched anew."""
        try:
            content = json.loads(cursor or "{}")
            return cls(
                {path: (str(state), float(since)) for path, (state, since) in content["files"].items()},
                {key: (float(since), int(looks)) for key, (since, looks) in content["missing"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def written(self) -> str:
        return json.dumps(asdict(self))
