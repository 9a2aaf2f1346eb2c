"""Beside the platform's own operator, and in its place: with its Deployment, and what it leaves behind."""

from typing import Any

import pytest

from kagenti_devcluster.testing.platform import (
    SYSTEM,
    Object,
    Platform,
    always,
    workload_path,
)
from kagenti_devcluster.testing.ports import free_port
from tests.support.agents import Agents
from tests.support.collector import (
    CONFIG,
    expect_binding,
    expect_config,
    install_collector,
)
from tests.support.expectations import ask_ready, expect_event
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator

OTHERS = workload_path(SYSTEM, "kagenti-controller-manager")
OURS = workload_path(SYSTEM, "kagenti-traces-operator")
# As controller-runtime's client writes: by update, under the name of its binary.
GO = {"fieldManager": "manager"}
MLFLOW, CONFIGURATION = "--enable-mlflow=true", "--enable-otel-bootstrap=true"


async def run_other(platform: Platform, *flags: str, replicas: int = 1) -> Object:
    """The Deployment of the platform's own operator, as its chart has it."""
    labels = {"control-plane": "controller-manager", "app.kubernetes.io/name": "kagenti-operator"}
    container = {
        "name": "manager",
        "image": "ghcr.io/example/operator:1",
        "command": ["/manager"],
        "args": ["--leader-elect", "--metrics-bind-address=:8443", *flags],
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "kagenti-controller-manager", "namespace": SYSTEM, "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }
    return await platform.put(OTHERS, body)


async def run_ours(platform: Platform) -> None:
    """Our own Deployment, of the chart with values-beside.yaml; the test runs the process."""
    await platform.workload(SYSTEM, "kagenti-traces-operator", agent=False)


@pytest.fixture
async def beside(
    platform: Platform, mlflow: MLflow, start_with_mlflow: StartOperator, agents: Agents
) -> StartOperator:
    """A platform with MLflow, a collector, an agent, and both operators' Deployments."""
    await platform.managed_and_ready(mlflow.url)
    await install_collector(platform)
    await run_ours(platform)
    await agents.create("weather")

    def start(*flags: str, **options: Any) -> OperatorProcess:
        known = ("--operator-name=kagenti-traces-operator", f"--mlflow-workspace={agents.namespace}")
        return start_with_mlflow(*known, *flags, **options)

    return start


async def test_what_the_platforms_operator_writes_is_left_to_it_until_it_is_switched_off(
    beside: StartOperator, agents: Agents, platform: Platform
) -> None:
    await run_other(platform, MLFLOW, CONFIGURATION)
    port = free_port()
    running = beside(f"--health-probe-bind-address=127.0.0.1:{port}")
    for reason, flag in (
        ("MLflowWrittenByPlatform", "--enable-mlflow"),
        ("CollectorWrittenByPlatform", "--enable-otel-bootstrap"),
    ):
        await expect_event(platform, SYSTEM, "kagenti-traces-operator", reason, flag)

    async def untouched() -> None:
        assert await platform.binding(agents.namespace) is None
        assert await platform.get(CONFIG) is None
        assert await agents.role("weather") is None
        assert (await agents.get("weather"))["metadata"]["generation"] == 1
        assert running.logged("Applied") == []

    await always(untouched, seconds=3)
    status, text = await ask_ready(port)
    assert (status, text.partition("\n")[0]) == (200, "ok")
    assert "kagenti-system/kagenti-controller-manager" in text

    # One after the other, each by itself, and without a restart.
    await run_other(platform, CONFIGURATION)
    await agents.expect_configured("weather")
    await expect_binding(platform, agents.namespace)
    assert await platform.get(CONFIG) is None
    await run_other(platform, CONFIGURATION, replicas=0)
    await expect_config(platform, "traces/mlflow")
    await expect_event(platform, SYSTEM, "kagenti-traces-operator", "CollectorWrittenByPlatformResolved")
    assert await ask_ready(port) == (200, "ok")


async def test_it_steps_back_when_the_other_is_switched_on_and_goes_on_when_that_is_removed(
    beside: StartOperator, agents: Agents, platform: Platform
) -> None:
    await run_other(platform)
    running = beside()
    await agents.expect_configured("weather")
    await run_other(platform, MLFLOW)
    await expect_event(platform, SYSTEM, "kagenti-traces-operator", "MLflowWrittenByPlatform")
    await agents.create("news")

    async def left_alone() -> None:
        assert await agents.role("news") is None

    await always(left_alone, seconds=3)
    await platform.delete(OTHERS)
    await agents.expect_configured("news")
    assert running.process.poll() is None
