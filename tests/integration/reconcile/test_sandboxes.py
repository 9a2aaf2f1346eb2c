"""Agents of kind `Sandbox`, whose CRD is installed, upgraded and removed while the operator runs."""

import copy
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest
import yaml

from kagenti_devcluster.testing.platform import CRDS, Object, Platform, eventually
from tests.support.agents import MLFLOW_ONLY, Agents, environment
from tests.support.collector import expect_binding, expect_no_binding
from tests.support.expectations import expect_event
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator

GROUP = "agents.x-k8s.io"
CRD = f"{CRDS}/sandboxes.{GROUP}"
CONTAINERS = [
    {"name": "agent", "image": "example.org/agent:1", "env": [{"name": "THEIRS", "value": "kept"}]},
    {"name": "proxy", "image": "example.org/proxy:1"},
]


def build_crd(*versions: str) -> Object:
    """The sandbox's CRD with other versions; the last one is stored."""
    manifest = files("kagenti_devcluster.standins").joinpath("manifests/agent-sandbox-crd.yaml")
    crd: Object = yaml.safe_load(manifest.read_text())
    [schema] = crd["spec"]["versions"]
    crd["spec"]["versions"] = [
        copy.deepcopy(schema) | {"name": version, "storage": version == versions[-1]} for version in versions
    ]
    return crd


def sandbox_path(namespace: str, name: str, version: str) -> str:
    return f"/apis/{GROUP}/{version}/namespaces/{namespace}/sandboxes/{name}"


async def put_sandbox(platform: Platform, namespace: str, name: str, version: str) -> Object:
    body = {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "Sandbox",
        "metadata": {"name": name, "namespace": namespace, "labels": {"kagenti.io/type": "agent"}},
        "spec": {"podTemplate": {"spec": {"serviceAccountName": f"{name}-sa", "containers": CONTAINERS}}},
    }
    return await platform.put(sandbox_path(namespace, name, version), body)


def without_variables(sandbox: Object) -> list[Any]:
    """The containers with none of the operator's variables."""
    containers = copy.deepcopy(sandbox["spec"]["podTemplate"]["spec"]["containers"])
    for container in containers:
        env = [var for var in container.pop("env", []) if not var["name"].startswith("MLFLOW_")]
        if env:
            container["env"] = env
    return containers


@pytest.fixture
async def platform(platform: Platform) -> AsyncIterator[Platform]:
    """One without the CRD, before and after."""
    await platform.remove_crd(build_crd("v1beta1"))
    yield platform
    await platform.remove_crd(build_crd("v1beta1"))


@pytest.mark.parametrize("version", ["v1beta1", "v1alpha1"])
async def test_the_crd_comes_and_goes_and_comes_back(
    agents: Agents, operator: OperatorProcess, platform: Platform, mlflow: MLflow, version: str
) -> None:
    team, other = agents.namespace, f"{agents.namespace}-other"
    await platform.namespace(other)
    await Agents(platform, mlflow, other).create_configured("weather")

    await platform.install_crd(build_crd(version))
    before = await put_sandbox(platform, team, "coder", version)
    path = sandbox_path(team, "coder", version)
    after = await agents.expect_configured("coder", path=path)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert without_variables(after) == CONTAINERS
    role = await agents.expect_granted("coder", account="coder-sa")
    [owner] = role["metadata"]["ownerReferences"]
    assert (owner["apiVersion"], owner["uid"]) == (f"{GROUP}/{version}", after["metadata"]["uid"])
    await expect_binding(platform, team)

    await expect_event(platform, team, "coder", "MLflowConfigured", "suspend and resume")

    await platform.patch(path, {"metadata": {"labels": {"kagenti.io/type": None}}})
    released = await agents.expect_released("coder", path=path)
    assert without_variables(released) == CONTAINERS
    await expect_no_binding(platform, team)

    await platform.patch(path, {"metadata": {"labels": {"kagenti.io/type": "agent"}}})
    await agents.expect_configured("coder", path=path)
    await platform.remove_crd(build_crd(version))
    await expect_no_binding(platform, team)

    await agents.expect_no_grant("coder")
    await expect_binding(platform, other)

    await platform.install_crd(build_crd(version))
    await put_sandbox(platform, team, "coder", version)
    await agents.expect_configured("coder", path=path)
    await expect_binding(platform, team)
    assert operator.process.poll() is None


async def migrate(platform: Platform, path: str) -> None:
    """As agent-sandbox upgrades from 0.4 over 0.5 to 1.0: both versions, objects stored anew, one version."""
    await platform.install_crd(build_crd("v1alpha1", "v1beta1"))

    async def stored_anew() -> None:
        assert await platform.get(path) is not None

    await eventually(stored_anew)
    await platform.patch(path, {"metadata": {"labels": {"migrated": "true"}}})
    await platform.patch(f"{CRD}/status", {"status": {"storedVersions": ["v1beta1"]}})
    await platform.install_crd(build_crd("v1beta1"))


async def test_an_upgrade_to_another_version_is_followed(
    agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow
) -> None:
    team = agents.namespace
    await platform.managed_and_ready(mlflow.url)
    await platform.install_crd(build_crd("v1alpha1"))
    start_with_mlflow(features=MLFLOW_ONLY)
    await put_sandbox(platform, team, "coder", "v1alpha1")
    old = sandbox_path(team, "coder", "v1alpha1")
    before = await agents.expect_configured("coder", path=old)

    path = sandbox_path(team, "coder", "v1beta1")
    await migrate(platform, path)
    await put_sandbox(platform, team, "tester", "v1beta1")
    later = sandbox_path(team, "tester", "v1beta1")
    await agents.expect_configured("tester", path=later)
    after = await agents.expect_configured("coder", path=path)
    assert after["metadata"]["generation"] == before["metadata"]["generation"]

    async def owned_at_the_new_version() -> None:
        role = await agents.role("coder")
        assert role is not None
        assert [o["apiVersion"] for o in role["metadata"]["ownerReferences"]] == [f"{GROUP}/v1beta1"]

    await eventually(owned_at_the_new_version)

    # The API server refuses every server-side apply to an object with a field manager at a version that is
    # gone (kubernetes issue 111937), so the environment stays; the right does not.
    await platform.patch(path, {"metadata": {"labels": {"kagenti.io/type": None}}})

    async def withdrawn() -> None:
        assert await agents.binding("coder") is None
        reasons = [e["reason"] for e in await platform.events(team, "coder")]
        assert "MLflowNotConfigured" in reasons

    await eventually(withdrawn)
    stuck = await platform.request("GET", path)
    assert "MLFLOW_EXPERIMENT_ID" in environment(stuck)

    # What docs/troubleshooting.md advises.
    for entry in stuck["metadata"]["managedFields"]:
        entry["apiVersion"] = f"{GROUP}/v1beta1"
    await platform.request("PUT", path, stuck)
    await agents.expect_released("coder", path=path, seconds=120)
