"""What happens to agents in the course of their life, beside the changes of test_agents.py."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kagenti_devcluster.testing.platform import (
    FOREIGN_MANAGER,
    SYSTEM,
    Object,
    Platform,
    always,
    config_map_path,
    eventually,
)
from kagenti_operator.kube.client import KubeClient
from tests.support.agents import MLFLOW_ONLY, NO_LABEL, Agents, environment
from tests.support.cluster import Cluster
from tests.support.expectations import expect_event
from tests.support.mlflow import MLflow
from tests.support.operator_process import StartOperator
from tests.support.policies import MESSAGE, forbidden

GATEWAY = "https://gateway.example/mlflow"
UI_CONFIG = config_map_path(SYSTEM, "kagenti-ui-config")


async def copy_workload(platform: Platform, source: Object, name: str) -> None:
    """As people do: what the API server shows, under another name, without what it says is its own."""
    namespace: str = source["metadata"]["namespace"]
    kept: dict[str, Any] = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": source["spec"]}
    metadata = {"name": name, "namespace": namespace, "labels": source["metadata"]["labels"]}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await platform.request("POST", path, kept | {"metadata": metadata}, params=FOREIGN_MANAGER)


@pytest.mark.usefixtures("operator")
async def test_a_copy_of_an_agent_has_an_experiment_of_its_own(agents: Agents, platform: Platform) -> None:
    source = await agents.create_configured("weather")
    await copy_workload(platform, source, "weather-two")
    await agents.expect_configured("weather-two")
    await agents.expect_granted("weather-two")
    await agents.expect_granted("weather")


@pytest.mark.usefixtures("operator")
async def test_a_renamed_agent_begins_anew_and_its_former_experiment_stays(
    agents: Agents, platform: Platform, mlflow: MLflow
) -> None:
    source = await agents.create_configured("weather")
    # A name cannot be changed: the old workload goes and another one comes, with what was in the old one.
    await agents.delete("weather")
    await copy_workload(platform, source, "forecast")
    await agents.expect_configured("forecast")
    await agents.expect_granted("forecast")

    await agents.expect_no_grant("weather")
    former = await mlflow.experiment(agents.namespace, "weather")
    assert former is not None
    assert former["lifecycle_stage"] == "active"


@pytest.mark.usefixtures("operator")
async def test_an_agent_that_is_made_again_has_its_experiment_and_its_grant_again(agents: Agents) -> None:
    before = await agents.create_configured("weather")
    await agents.delete("weather")
    after = await agents.create_configured("weather")
    assert environment(after) == environment(before)

    async def owned_by_the_new_one() -> None:
        # The garbage collector may take the old one's Role first.
        role = await agents.role("weather")
        assert role is not None
        assert [o["uid"] for o in role["metadata"]["ownerReferences"]] == [after["metadata"]["uid"]]
        assert await agents.binding("weather") is not None

    await eventually(owned_by_the_new_one)
    await always(owned_by_the_new_one, seconds=3)


@pytest.mark.usefixtures("operator")
async def test_an_agent_that_opted_out_from_the_beginning_has_nothing(agents: Agents, mlflow: MLflow) -> None:
    await agents.create("private", annotations={"mlflow.kagenti.io/inject": "disabled"})
    await agents.create_configured("weather")
    await agents.expect_released("private")
    assert await mlflow.experiment(agents.namespace, "private") is None


@pytest.mark.usefixtures("operator")
async def test_what_is_no_container_of_the_pod_is_left_alone(agents: Agents) -> None:
    first = {"name": "prepare", "image": "example.org/prepare:1"}
    configured = await agents.create_configured("weather", pod={"initContainers": [first]})
    [prepare] = configured["spec"]["template"]["spec"]["initContainers"]
    assert "env" not in prepare


@pytest.fixture
async def behind_the_gateway(
    agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow
) -> None:
    """The operator at work on an agent, with an MLflow that has an address at the gateway."""
    await platform.managed_and_ready(mlflow.url)
    await platform.set_mlflow_status(address=mlflow.url, url=GATEWAY)
    start_with_mlflow("--agents-mlflow-address=gateway", features=MLFLOW_ONLY)
    await agents.create("weather")


@pytest.mark.usefixtures("behind_the_gateway")
async def test_the_gateway_is_the_tracking_uri_and_a_gap_in_the_status_rolls_nobody(
    agents: Agents, platform: Platform, mlflow: MLflow
) -> None:
    async def at_the_gateway() -> None:
        workload = await agents.get("weather")
        assert environment(workload).get("MLFLOW_TRACKING_URI") == GATEWAY
        annotations = workload["spec"]["template"]["metadata"]["annotations"]
        assert annotations["mlflow.kagenti.io/tracking-uri"] == GATEWAY

    await eventually(at_the_gateway)
    for url in (None, "https://elsewhere.example", GATEWAY):
        await platform.set_mlflow_status(address=mlflow.url, url=url)
        await always(at_the_gateway, seconds=2)


@pytest.mark.usefixtures("behind_the_gateway")
async def test_the_user_interface_is_given_the_dashboards_address_where_it_is_installed(
    agents: Agents, platform: Platform, mlflow: MLflow
) -> None:
    async def configured() -> None:
        assert "MLFLOW_TRACKING_URI" in environment(await agents.get("weather"))

    await eventually(configured)
    assert await platform.get(UI_CONFIG) is None

    async def expect_url(url: str) -> None:
        async def written() -> None:
            found = await platform.request("GET", UI_CONFIG)
            assert found["data"] == {"THEME": "dark", "MLFLOW_DASHBOARD_URL": url}

        await eventually(written)

    await platform.config_map(SYSTEM, "kagenti-ui-config", {"THEME": "dark"})
    await expect_url(f"{GATEWAY}/")
    await platform.set_mlflow_status(address=mlflow.url, url="https://elsewhere.example/")
    await expect_url("https://elsewhere.example/")


@asynccontextmanager
async def frozen(agents: Agents, platform: Platform, operator: KubeClient) -> AsyncGenerator[None]:
    """A policy of the platform's forbids the operator to change the namespace's Deployments."""

    async def probe() -> bytes:
        return await operator.raw(
            "PATCH",
            agents.path("weather"),
            params={"dryRun": "All"},
            # The chart's own policy lets it pass.
            body=b'{"spec":{"template":{"metadata":{"annotations":{"mlflow.kagenti.io/probe":"1"}}}}}',
            content_type="application/merge-patch+json",
        )

    async with forbidden(
        platform,
        f"frozen-{agents.namespace}",
        group="apps",
        resource="deployments",
        operations=["UPDATE"],
        when=f"object.metadata.namespace == '{agents.namespace}' && "
        "request.userInfo.username.endsWith(':controller-manager')",
        probe=probe,
    ):
        yield


@pytest.mark.usefixtures("operator")
async def test_a_workload_that_may_not_be_changed_loses_the_right_all_the_same(
    agents: Agents, cluster: Cluster, operator_kubeconfig: Path, platform: Platform
) -> None:
    await agents.create_configured("weather")
    async with cluster.connect(operator_kubeconfig) as client, frozen(agents, platform, client):
        await agents.patch("weather", NO_LABEL)

        async def withdrawn() -> None:
            assert await agents.binding("weather") is None

        await eventually(withdrawn)
        await expect_event(platform, agents.namespace, "weather", "MLflowNotConfigured", MESSAGE)
        assert "MLFLOW_EXPERIMENT_ID" in environment(await agents.get("weather"))
    # It is tried again at least once in a minute.
    await agents.expect_released("weather", seconds=150)
