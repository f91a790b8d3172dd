"""What is measured, by name; adding a stage is a new file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.result import StageResult
from benchmarks.stages.dense import measure_dense
from benchmarks.stages.evaluation import measure_evaluation
from benchmarks.stages.gpu import measure_gpu
from benchmarks.stages.locating import measure_locating
from benchmarks.stages.memory import measure_large, measure_memory
from benchmarks.stages.refinement import measure_refinement
from benchmarks.stages.similarity import measure_map
from benchmarks.stages.windows import measure_windows
from benchmarks.timing import Settings

STAGES: dict[str, Callable[[Settings], list[StageResult]]] = {
    "dense": measure_dense,
    "windows": measure_windows,
    "map": measure_map,
    "refinement": measure_refinement,
    "locating": measure_locating,
    "evaluation": measure_evaluation,
    "memory": measure_memory,
    "gpu": measure_gpu,
    "large": measure_large,
}

#: Stages that run only where they are asked for: half an hour on two cores.
ONLY_IF_ASKED = ("large",)
