"""The shape of the graph, read from Dagster's: what is made from what, for which partitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from tomotwin_assets.partitions import MODEL, TOMOGRAM, models


@dataclass(frozen=True)
class Graph:
    """The shape of the graph.

    Attributes
    ----------
    parents : asset → what it is made from.
    dimensions : asset → the names of its partitions' dimensions, in the order of the folders.
    most_partitions : asset → most partitions in one run, ``None`` where there is no limit.
    blocking_checks : checks that stop what comes after them.
    """

    parents: Mapping[str, frozenset[str]]
    dimensions: Mapping[str, tuple[str, ...]]
    most_partitions: Mapping[str, int | None] = field(default_factory=dict)
    blocking_checks: tuple[dg.AssetCheckKey, ...] = ()

    @classmethod
    def of(cls, graph: AssetGraph) -> Graph:
        """Read it from Dagster's."""
        nodes = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}
        return cls(
            parents={
                name: frozenset(parent.to_user_string() for parent in node.parent_keys)
                for name, node in nodes.items()
            },
            dimensions={name: _dimensions(node.partitions_def) for name, node in nodes.items()},
            most_partitions={
                name: node.backfill_policy.max_partitions_per_run if node.backfill_policy else 1
                for name, node in nodes.items()
            },
            blocking_checks=tuple(
                key for key in sorted(graph.asset_check_keys, key=str) if graph.get_check_spec(key).blocking
            ),
        )


def _dimensions(partitions: dg.PartitionsDefinition | None) -> tuple[str, ...]:
    if partitions is None:
        return ()
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return (MODEL, TOMOGRAM)
    return (MODEL,) if partitions == models else (TOMOGRAM,)
