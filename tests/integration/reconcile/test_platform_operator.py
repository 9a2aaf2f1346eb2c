"""Beside the platform's own operator, and in its place: with its Deployment, and what it leaves behind."""

import hashlib
from typing import Any

import pytest
import yaml

from kagenti_devcluster.testing.platform import (
    INTEGRATION,
    RBAC,
    SYSTEM,
    Object,
    Platform,
    always,
    eventually,
    workload_path,
)
from kagenti_devcluster.testing.ports import free_port
from tests.support.agents import NO_LABEL, Agents
from tests.support.collector import (
    COLLECTOR,
    CONFIG,
    HASH,
    expect_binding,
    expect_config,
    expect_rolled,
    install_collector,
)
from tests.support.expectations import ask_ready, expect_event
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator

OTHERS = workload_path(SYSTEM, "kagenti-controller-manager")
# As controller-runtime's client writes: by update, under the name of its binary.
GO = {"fieldManager": "manager"}
MLFLOW, CONFIGURATION = "--enable-mlflow=true", "--enable-otel-bootstrap=true"


async def run_other(platform: Platform, *flags: str, replicas: int = 1) -> Object:
    """The Deployment of the platform's own operator, as its chart has it."""
    labels = {"control-plane": "controller-manager", "app.kubernetes.io/name": "platform-operator"}
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


# --- in its place ----------------------------------------------------------------------------------------


async def write(platform: Platform, method: str, path: str, body: Object) -> Object:
    """Write as the other operator does, whose fields are its own."""
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    return await platform.request(method, path, body, content_type=kind, params=GO)


def named(name: str, namespace: str, **metadata: Any) -> Object:
    labels = {"app.kubernetes.io/managed-by": "platform-operator"}
    return {"name": name, "namespace": namespace, "labels": labels, **metadata}


async def leave_agent(platform: Platform, mlflow: MLflow, agents: Agents, name: str) -> None:
    """What the other operator leaves of an agent: environment, annotations, Role and RoleBinding."""
    namespace = agents.namespace
    made = await mlflow.call("POST", "create", namespace, {"name": name})
    values = {
        "MLFLOW_TRACKING_URI": mlflow.url,
        "MLFLOW_TRACKING_AUTH": "kubernetes-namespaced",
        "MLFLOW_EXPERIMENT_ID": made["experiment_id"],
        "MLFLOW_EXPERIMENT_NAME": name,
    }
    annotations = {
        "mlflow.kagenti.io/experiment-id": made["experiment_id"],
        "mlflow.kagenti.io/experiment-name": name,
        "mlflow.kagenti.io/tracking-uri": mlflow.url,
        "mlflow.kagenti.io/tracking-auth": "kubernetes-namespaced",
    }
    env = [{"name": key, "value": value} for key, value in values.items()]
    container = {"name": name, "image": "example.org/agent:1", "env": env}
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}
    await write(platform, "PATCH", agents.path(name), {"spec": {"template": template}})
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["mlflow.kubeflow.org"], "resources": ["experiments"], "verbs": ["get", "update"]}
    metadata = named(f"kagenti-mlflow-{name}", namespace)
    role = {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata}
    rules = [{**rule, "resourceNames": [name]}]
    await write(platform, "POST", f"{RBAC}/namespaces/{namespace}/roles", {**role, "rules": rules})
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }
    await write(platform, "POST", f"{RBAC}/namespaces/{namespace}/rolebindings", binding)


async def leave_collector(platform: Platform, mlflow: MLflow, namespace: str) -> None:
    """What it leaves of the collector: a configuration that delivers, hash on the pod template, access."""
    made = await mlflow.call("POST", "create", namespace, {"name": "kagenti-traces"})
    headers = {"x-mlflow-workspace": namespace, "x-mlflow-experiment-id": made["experiment_id"]}
    exporter = {"traces_endpoint": f"{mlflow.url}/v1/traces", "headers": headers}
    text = yaml.safe_dump({"exporters": {"otlphttp/mlflow": exporter}})
    hashed = {HASH: hashlib.sha256(text.encode()).hexdigest()}
    metadata = named("otel-collector-config", SYSTEM, annotations=hashed)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"base.yaml": text}}
    await write(platform, "POST", f"/api/v1/namespaces/{SYSTEM}/configmaps", body)
    template = {"metadata": {"annotations": hashed}}
    await write(platform, "PATCH", COLLECTOR, {"spec": {"template": template}})
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": named("otel-collector-mlflow", namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": INTEGRATION},
        "subjects": [{"kind": "ServiceAccount", "name": "otel-collector", "namespace": SYSTEM}],
    }
    await write(platform, "POST", f"{RBAC}/namespaces/{namespace}/rolebindings", binding)


async def expect_taken_over(platform: Platform, *paths: str) -> None:
    async def ours() -> None:
        for path in paths:
            labels = (await platform.request("GET", path))["metadata"]["labels"]
            assert labels["app.kubernetes.io/managed-by"] == "kagenti-operator"

    await eventually(ours)


async def generation(platform: Platform, path: str) -> int:
    return (await platform.request("GET", path))["metadata"]["generation"]


async def test_what_the_other_leaves_is_taken_over_and_released_with_one_roll_each(
    beside: StartOperator, agents: Agents, platform: Platform, mlflow: MLflow
) -> None:
    weather, namespace = agents.path("weather"), agents.namespace
    await leave_agent(platform, mlflow, agents, "weather")
    await leave_collector(platform, mlflow, namespace)
    before = {path: await generation(platform, path) for path in (weather, COLLECTOR)}
    running = beside()
    await agents.expect_configured("weather")
    await agents.expect_granted("weather")
    await expect_binding(platform, namespace)
    await expect_rolled(platform, await expect_config(platform, "traces/mlflow"))

    async def rolled_once() -> None:
        for path, generation_before in before.items():
            assert await generation(platform, path) <= generation_before + 1

    await always(rolled_once, seconds=15)
    await expect_taken_over(platform, CONFIG, agents.role_path("weather"), agents.binding_path("weather"))
    taken = await generation(platform, weather)
    await agents.patch("weather", NO_LABEL)
    await agents.expect_released("weather")
    assert await generation(platform, weather) == taken + 1
    await running.expect_log("Released workload from MLflow")
    assert len(running.logged("Released workload from MLflow")) == 1


async def test_an_agent_that_is_as_it_should_be_is_not_rolled_when_it_is_taken_over(
    beside: StartOperator, agents: Agents, platform: Platform, mlflow: MLflow
) -> None:
    await leave_agent(platform, mlflow, agents, "weather")
    container = (await agents.get("weather"))["spec"]["template"]["spec"]["containers"][0]
    workspace = {"name": "MLFLOW_WORKSPACE", "value": agents.namespace}
    env = [*container["env"], workspace]
    template = {"spec": {"containers": [{"name": "weather", "image": container["image"], "env": env}]}}
    await write(platform, "PATCH", agents.path("weather"), {"spec": {"template": template}})
    before = await generation(platform, agents.path("weather"))
    beside()
    await expect_taken_over(platform, agents.role_path("weather"), agents.binding_path("weather"))

    async def untouched() -> None:
        assert await generation(platform, agents.path("weather")) == before

    await always(untouched, seconds=3)
    await agents.patch("weather", NO_LABEL)
    await agents.expect_released("weather")
    assert await generation(platform, agents.path("weather")) == before + 1
