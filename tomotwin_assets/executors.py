"""Where the steps of a run are computed: in the run's own process, or by workers on other machines.

Set by the environment variable ``TOMOTWIN_EXECUTOR``, the same for all processes of an installation:

``in_process``
    (default) one step after the other in the run's process; runs are parallel.
``celery``
    each step by one of the workers of Celery, which take them from the broker ``CELERY_BROKER_URL`` and leave
    results in ``CELERY_RESULT_BACKEND``.
``k8s``
    each step in a pod of its own; those that use a network get a GPU.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import dagster as dg

from tomotwin_lib.errors import InputError

EXECUTOR_VARIABLE = "TOMOTWIN_EXECUTOR"
BROKER_VARIABLE = "CELERY_BROKER_URL"
BACKEND_VARIABLE = "CELERY_RESULT_BACKEND"

LONGEST_STEP_SECONDS = 7 * 24 * 3600
"""A step that has waited longer in a worker is given to another one as well, as if the worker had died."""

GPU_STEPS = (
    "simulated_tomograms", "trained_model", "reference_embeddings", "tomogram_embeddings", "similarity_map",
)  # fmt: skip
"""Assets that evaluate a network: those of the pool ``gpu``."""

_GPU_POD = {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}
# The package that brings an executor, and the extra of this one that brings the package.
_PACKAGES = {"celery": ("dagster_celery", "celery"), "k8s": ("dagster_k8s", "k8s")}


def step_executor() -> dg.ExecutorDefinition:
    """The executor that the environment asks for.

    Raises
    ------
    InputError
        If there is no such executor, or its package is not installed.
    """
    name = os.environ.get(EXECUTOR_VARIABLE) or "in_process"
    if name == "in_process":
        # Work is parallel over partitions, each a run of its own; inside one, a step needs the last.
        return dg.in_process_executor
    if name not in _PACKAGES:
        raise InputError(EXECUTOR_VARIABLE, f"there is no executor {name!r}", "Use in_process, celery or k8s")
    package = _package(name)
    if name == "celery":
        return package.celery_executor.configured(celery_configuration(), name="celery")  # type: ignore[no-any-return]
    return package.k8s_job_executor.configured(kubernetes_configuration(), name="k8s")  # type: ignore[no-any-return]


def celery_configuration() -> dict[str, Any]:
    """Configuration of Dagster's Celery executor; ``deploy/celery.yaml`` gives the workers the same."""
    return {
        "broker": {"env": BROKER_VARIABLE},
        "backend": {"env": BACKEND_VARIABLE},
        # Redis hands a task out again after an hour without word of it. Trainings take longer.
        "config_source": {"broker_transport_options": {"visibility_timeout": LONGEST_STEP_SECONDS}},
    }


def kubernetes_configuration() -> dict[str, Any]:
    """Configuration of Dagster's executor for Kubernetes: pods of steps with a network ask for a GPU."""
    return {"per_step_k8s_config": dict.fromkeys(GPU_STEPS, _GPU_POD)}


def _package(name: str) -> Any:
    package, extra = _PACKAGES[name]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"{EXECUTOR_VARIABLE}={name}",
            f"{error.name or package} is not installed",
            f"Run pip install 'tomotwin-assets[{extra}]'",
        ) from error
