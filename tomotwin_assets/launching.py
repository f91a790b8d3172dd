"""From what is wanted to runs: several tomograms of one model in one run, each state asked for once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PRIORITY_TAG,
)

from tomotwin_assets.configs import op_config
from tomotwin_assets.graph import Graph
from tomotwin_assets.plan import Task
from tomotwin_assets.settings import Settings
from tomotwin_assets.snapshot import WHY_TAG


@dataclass(frozen=True)
class Launch:
    """One run: tasks of one stage and model that make the same assets, of tomograms next to each other."""

    tasks: tuple[Task, ...]

    @property
    def why(self) -> str:
        """The reasons of its tasks."""
        reasons = sorted({task.why for task in self.tasks})
        return "; ".join(reasons[:3]) + ("; …" if len(reasons) > 3 else "")

    @property
    def run_key(self) -> str:
        """Names the run by what it makes and from what, so that one state is asked for once."""
        digest = hashlib.sha256()
        for task in self.tasks:
            digest.update(f"{task.key} {task.assets} {task.state} {task.alone}\n".encode())
        first = self.tasks[0]
        return f"{first.stage.job}:{first.key or ''}:{len(self.tasks)}:{digest.hexdigest()[:24]}"


def launches(tasks: Iterable[Task], order: list[str], graph: Graph, most: int, room: int) -> list[Launch]:
    """Put tasks into runs, in their order.

    Dagster gives several partitions to one run as a range, so only neighbours in its order can share one.

    Parameters
    ----------
    order : all tomograms that are partitions, in Dagster's order.
    most : partitions in a run; less where an asset takes less, 1 where it says nothing.
    room : runs wanted at most.
    """
    place = {key: index for index, key in enumerate(order)}
    found: list[list[Task]] = []
    for task in tasks:
        previous = found[-1] if found else None
        if previous and len(previous) < _most(task, graph, most) and _follows(previous[-1], task, place):
            previous.append(task)
        elif len(found) < room:
            found.append([task])
        else:
            break
    return [Launch(tuple(group)) for group in found]


def run_request(launch: Launch, settings: Settings) -> dg.RunRequest:
    """The run as a sensor asks for it, with the settings as they are now.

    Raises
    ------
    InputError
        If a settings file has an unknown name or a value out of range.
    """
    first, last = launch.tasks[0], launch.tasks[-1]
    tags = {WHY_TAG: launch.why, PRIORITY_TAG: str(first.priority)}
    if len(launch.tasks) > 1:
        tags |= range_tags(str(first.key), str(last.key))
    return dg.RunRequest(
        run_key=launch.run_key,
        job_name=first.stage.job,
        partition_key=first.key if len(launch.tasks) == 1 else None,
        asset_selection=[dg.AssetKey(asset) for asset in first.assets],
        run_config={"ops": op_config(first.assets, settings)},
        tags=tags,
    )


def range_tags(first: str, last: str) -> dict[str, str]:
    """The tags by which Dagster gives a run all partitions from one to another, in its order."""
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def _follows(previous: Task, task: Task, place: Mapping[str, int]) -> bool:
    if task.tomogram is None or previous.tomogram is None or previous.alone or task.alone:
        return False
    alike = (task.stage, task.model, task.assets) == (previous.stage, previous.model, previous.assets)
    return alike and place[task.tomogram] == place[previous.tomogram] + 1


def _most(task: Task, graph: Graph, most: int) -> int:
    limits = [graph.most_partitions.get(asset, 1) for asset in task.assets]
    return min([most, *(limit for limit in limits if limit is not None)])
