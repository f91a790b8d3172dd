"""The files of ``deploy/`` fit one another, the platform and Dagster; nothing is started here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config_schema
from facility import CHECKOUT, DEPLOY, unit_command

from tomotwin_assets.definitions import defs
from tomotwin_assets.executors import (
    BACKEND_VARIABLE,
    BROKER_VARIABLE,
    EXECUTOR_VARIABLE,
    GPU_STEPS,
    celery_configuration,
    kubernetes_configuration,
    step_executor,
)
from tomotwin_lib.errors import InputError

UNITS = sorted(path.name for path in (DEPLOY / "systemd").glob("*.service"))
ENVIRONMENT = dict(
    line.removeprefix("#").split("=", 1)
    for line in (DEPLOY / "platform.env").read_text(encoding="utf-8").splitlines()
    if re.match(r"#?[A-Z_]+=", line)
)


def read(name: str) -> dict[str, Any]:
    """A YAML file of ``deploy/``."""
    content = yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def variables(content: Any) -> set[str]:
    """The environment variables that a configuration refers to as ``{env: NAME}``."""
    if isinstance(content, dict):
        own = {content["env"]} if list(content) == ["env"] else set()
        return own.union(*map(variables, content.values()))
    return set().union(*map(variables, content)) if isinstance(content, list) else set()


def test_dagster_takes_the_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    result = process_config(dagster_instance_config_schema(), read("dagster.yaml"))
    assert result.success, result.errors
    assert result.value is not None
    storage = result.value["storage"]["postgres"]["postgres_db"]
    assert storage["password"] == ENVIRONMENT["DAGSTER_POSTGRES_PASSWORD"]
    assert storage["port"] == 5432


@pytest.mark.parametrize("name", ["dagster.yaml", "workspace.yaml", "celery.yaml"])
def test_every_variable_stands_in_the_template(name: str) -> None:
    assert variables(read(name))
    assert variables(read(name)) <= set(ENVIRONMENT)


def test_nothing_secret_is_written_down() -> None:
    for path in DEPLOY.rglob("*.yaml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"password|secret_access_key", line, flags=re.IGNORECASE) and ":" in line:
                value = line.partition("#")[0].partition(":")[2].strip()
                assert not value or value[0] in "{$" or value in ("false", "true"), line


@pytest.mark.parametrize("unit", UNITS)
def test_units_start_programs_that_are_there(unit: str) -> None:
    if "worker" in unit:
        pytest.importorskip("dagster_celery", reason="make install-services")
    command = unit_command(unit, ENVIRONMENT)
    assert Path(command[0]).is_file()
    for argument in command[1:]:
        assert "/" not in argument or Path(argument).is_file()
    text = (DEPLOY / "systemd" / unit).read_text(encoding="utf-8")
    for line in ("User=tomotwin", "Restart=always", "EnvironmentFile=/etc/tomotwin/platform.env"):
        assert line in text


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong(unit: str, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd here")
    text = (DEPLOY / "systemd" / unit).read_text(encoding="utf-8")
    # Programs must exist for systemd to be content.
    text = re.sub(r"/opt/tomotwin/\.venv/bin/[\w-]+", sys.executable, text)
    for part in UNITS:
        (tmp_path / part).write_text(text if part == unit else "[Service]\nExecStart=/bin/true\n")
    done = subprocess.run(
        [program, "verify", str(tmp_path / unit)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert unit not in done.stderr


def test_containers_run_what_the_units_run() -> None:
    services = read("compose/docker-compose.yaml")["services"]
    for name in ("code", "daemon", "web", "worker"):
        with_defaults = unit_command(f"tomotwin-{name}.service", ENVIRONMENT)
        of_unit = [Path(with_defaults[0]).name, *with_defaults[1:]]
        in_container = [part.replace("/opt/tomotwin", str(CHECKOUT)) for part in services[name]["command"]]
        # Inside a container all addresses are listened to; which are reached is said by its ports.
        assert [part if part != "0.0.0.0" else "127.0.0.1" for part in in_container] == of_unit
    assert services["web"]["ports"] == ["127.0.0.1:3000:3000"]
    for name in variables([read("dagster.yaml"), read("workspace.yaml"), read("celery.yaml")]):
        assert name in services["worker"]["environment"], name


def test_the_chart_is_of_this_version_of_dagster_and_has_the_same_rules() -> None:
    text = (DEPLOY / "helm" / "values.yaml").read_text(encoding="utf-8")
    pins = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8")
    (version,) = re.findall(r"^dagster==(.*)$", pins, flags=re.MULTILINE)
    assert f"--version {version} " in text
    chart, instance = read("helm/values.yaml"), read("dagster.yaml")
    assert chart["postgresql"]["postgresqlScheme"] == instance["storage"]["postgres"]["postgres_db"]["scheme"]
    assert chart["concurrency"]["pools"]["granularity"] == instance["concurrency"]["pools"]["granularity"]
    retries = chart["dagsterDaemon"]["runRetries"]
    assert retries["maxRetries"] == instance["run_retries"]["max_retries"]
    assert retries["retryOnAssetOrOpFailure"] == instance["run_retries"]["retry_on_asset_or_op_failure"]
    (code,) = chart["dagster-user-deployments"]["deployments"]
    images = [chart[service]["image"] for service in ("dagsterWebserver", "dagsterDaemon")]
    assert images == [code["image"]] * 2
    assert code["env"][EXECUTOR_VARIABLE] == "k8s"


def test_workers_and_executor_have_the_same_settings() -> None:
    assert read("celery.yaml")["execution"]["config"] == celery_configuration()


def test_the_steps_that_get_a_gpu_are_those_of_its_pool() -> None:
    pool = {
        definition.key.to_user_string()
        for definition in defs.resolve_asset_graph().assets_defs
        if definition.is_executable and getattr(definition.op, "pool", None) == "gpu"
    }
    assert pool == set(GPU_STEPS)


def test_the_environment_chooses_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EXECUTOR_VARIABLE, raising=False)
    assert step_executor().name == "in_process"
    monkeypatch.setenv(EXECUTOR_VARIABLE, "ray")
    with pytest.raises(InputError, match="no executor 'ray'"):
        step_executor()


def test_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dagster_celery", reason="make install-services")
    monkeypatch.setenv(EXECUTOR_VARIABLE, "celery")
    monkeypatch.setenv(BROKER_VARIABLE, "redis://here/0")
    monkeypatch.setenv(BACKEND_VARIABLE, "redis://here/1")
    executor = step_executor()
    result = executor.apply_config_mapping({"config": {}})
    assert result.success, result.errors
    assert result.value is not None
    assert result.value["config"]["broker"] == "redis://here/0"


def test_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXECUTOR_VARIABLE, "k8s")
    try:
        executor = step_executor()
    except InputError as error:
        assert "tomotwin-assets[k8s]" in str(error)
        pytest.skip("dagster-k8s is not installed")
    result = executor.apply_config_mapping({"config": {}})
    assert result.success, result.errors
    assert result.value is not None
    pods = result.value["config"]["per_step_k8s_config"]
    for step, pod in kubernetes_configuration()["per_step_k8s_config"].items():
        assert pods[step]["container_config"] == pod["container_config"]
    from dagster_k8s import K8sRunLauncher

    launcher = read("helm/values.yaml")["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    given = {"run_k8s_config": {"job_spec_config": launcher["jobSpecConfig"]}}
    assert process_config(
        K8sRunLauncher.config_type(),
        {"service_account_name": "x", "instance_config_map": "x", "dagster_home": "/x", **given},
    ).success
