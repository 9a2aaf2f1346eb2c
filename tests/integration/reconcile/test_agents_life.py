"""What happens to agents in the course of their life, beside the changes of test_agents.py."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kagenti_devcluster.testing.platform import (
    FOREIGN_MANAGER,
    SYSTEM,
    Object,
    Platform,
    always,
    config_map_path,
    eventually,
    workload_path,
)
from kagenti_operator.kube.client import KubeClient
from tests.support.agents import (
    MLFLOW_ONLY,
    binding_path,
    environment,
    expect_configured,
    expect_granted,
    expect_no_grant,
    expect_released,
    role_path,
)
from tests.support.cluster import Cluster
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
    path = workload_path(namespace, name).rpartition("/")[0]
    await platform.request("POST", path, kept | {"metadata": metadata}, params=FOREIGN_MANAGER)


async def test_a_copy_of_an_agent_has_an_experiment_of_its_own(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    source = await expect_configured(platform, mlflow, team, "weather")
    await copy_workload(platform, source, "weather-two")
    await expect_configured(platform, mlflow, team, "weather-two")
    await expect_granted(platform, team, "weather-two", "weather-two", "default")
    await expect_granted(platform, team, "weather", "weather", "default")


async def test_a_renamed_agent_begins_anew_and_its_former_experiment_stays(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    source = await expect_configured(platform, mlflow, team, "weather")
    # A name cannot be changed: the old workload goes and another one comes, with what was in the old one.
    await platform.delete(workload_path(team, "weather"))
    await copy_workload(platform, source, "forecast")
    await expect_configured(platform, mlflow, team, "forecast")
    await expect_granted(platform, team, "forecast", "forecast", "default")

    await expect_no_grant(platform, team, "weather")
    former = await mlflow.experiment(team, "weather")
    assert former is not None
    assert former["lifecycle_stage"] == "active"


async def test_an_agent_that_is_made_again_has_its_experiment_and_its_grant_again(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    before = await expect_configured(platform, mlflow, team, "weather")
    await platform.delete(workload_path(team, "weather"))
    await platform.workload(team, "weather")
    after = await expect_configured(platform, mlflow, team, "weather")
    assert environment(after) == environment(before)

    async def owned_by_the_new_one() -> None:
        # The garbage collector may take the old one's Role first.
        role = await platform.get(role_path(team, "weather"))
        assert role is not None
        assert [o["uid"] for o in role["metadata"]["ownerReferences"]] == [after["metadata"]["uid"]]
        assert await platform.get(binding_path(team, "weather")) is not None

    await eventually(owned_by_the_new_one)
    await always(owned_by_the_new_one, seconds=3)


async def test_an_agent_that_opted_out_from_the_beginning_has_nothing(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "private", annotations={"mlflow.kagenti.io/inject": "disabled"})
    await platform.workload(team, "weather")
    await expect_configured(platform, mlflow, team, "weather")
    await expect_released(platform, team, "private")
    assert await mlflow.experiment(team, "private") is None


async def test_a_statefulset_is_followed_through_its_changes(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "news", kind="StatefulSet")
    path = workload_path(team, "news", "StatefulSet")
    await expect_configured(platform, mlflow, team, "news", path=path)
    late = {"name": "late", "image": "example.org/late:1"}
    change = [
        {"op": "add", "path": "/spec/template/spec/containers/-", "value": late},
        {"op": "add", "path": "/spec/template/spec/serviceAccountName", "value": "other"},
    ]
    await platform.request("PATCH", path, change, content_type="application/json-patch+json")
    await expect_granted(platform, team, "news", "news", "other")
    await expect_configured(platform, mlflow, team, "news", path=path)
    await platform.patch(path, {"metadata": {"labels": {"kagenti.io/type": None}}})
    await expect_released(platform, team, "news", path=path)


async def test_what_is_no_container_of_the_pod_is_left_alone(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    first = {"name": "prepare", "image": "example.org/prepare:1"}
    await platform.workload(team, "weather", pod={"initContainers": [first]})
    configured = await expect_configured(platform, mlflow, team, "weather")
    [prepare] = configured["spec"]["template"]["spec"]["initContainers"]
    assert "env" not in prepare


async def test_the_gateway_is_the_tracking_uri_and_a_gap_in_the_status_rolls_nobody(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    await platform.set_mlflow_status(address=mlflow.url, url=GATEWAY)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")

    async def expect_uri(uri: str) -> None:
        async def found() -> None:
            workload = await platform.request("GET", workload_path(team, "weather"))
            assert environment(workload).get("MLFLOW_TRACKING_URI") == uri
            annotations = workload["spec"]["template"]["metadata"]["annotations"]
            assert annotations["mlflow.kagenti.io/tracking-uri"] == uri

        await eventually(found)

    async def kept() -> None:
        workload = await platform.request("GET", workload_path(team, "weather"))
        assert environment(workload)["MLFLOW_TRACKING_URI"] == GATEWAY

    await expect_uri(GATEWAY)
    await platform.set_mlflow_status(address=mlflow.url)
    await always(kept, seconds=2)
    await platform.set_mlflow_status(address=mlflow.url, url="https://elsewhere.example")
    await always(kept, seconds=2)
    await platform.set_mlflow_status(address=mlflow.url, url=GATEWAY)
    await always(kept, seconds=2)


async def test_the_user_interface_is_told_where_the_dashboard_is_if_it_is_there(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    await platform.set_mlflow_status(address=mlflow.url, url=GATEWAY)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")

    async def configured() -> None:
        workload = await platform.request("GET", workload_path(team, "weather"))
        assert "MLFLOW_TRACKING_URI" in environment(workload)

    await eventually(configured)
    assert await platform.get(UI_CONFIG) is None

    async def expect_url(url: str) -> None:
        async def told() -> None:
            found = await platform.request("GET", UI_CONFIG)
            assert found["data"] == {"THEME": "dark", "MLFLOW_DASHBOARD_URL": url}

        await eventually(told)

    await platform.config_map(SYSTEM, "kagenti-ui-config", {"THEME": "dark"})
    await expect_url(f"{GATEWAY}/")
    await platform.set_mlflow_status(address=mlflow.url, url="https://elsewhere.example/")
    await expect_url("https://elsewhere.example/")


@asynccontextmanager
async def frozen(
    platform: Platform, namespace: str, operator: KubeClient, workload: str
) -> AsyncGenerator[None]:
    """A policy of the platform's forbids the operator to change the namespace's Deployments."""

    async def probe() -> bytes:
        return await operator.raw(
            "PATCH",
            workload_path(namespace, workload),
            params={"dryRun": "All"},
            body=b'{"metadata":{"annotations":{"probe":"1"}}}',
            content_type="application/merge-patch+json",
        )

    async with forbidden(
        platform,
        f"frozen-{namespace}",
        group="apps",
        resource="deployments",
        operations=["UPDATE"],
        when=f"object.metadata.namespace == '{namespace}' && "
        "request.userInfo.username.endsWith(':controller-manager')",
        probe=probe,
    ):
        yield


async def test_a_workload_that_may_not_be_changed_loses_the_right_all_the_same(
    start_with_mlflow: StartOperator,
    cluster: Cluster,
    operator_kubeconfig: Path,
    platform: Platform,
    mlflow: MLflow,
    team: str,
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    await expect_configured(platform, mlflow, team, "weather")
    async with cluster.connect(operator_kubeconfig) as operator, frozen(platform, team, operator, "weather"):
        await platform.patch(
            workload_path(team, "weather"), {"metadata": {"labels": {"kagenti.io/type": None}}}
        )

        async def withdrawn() -> None:
            assert await platform.get(binding_path(team, "weather")) is None
            notes = [
                e["note"]
                for e in await platform.events(team, "weather")
                if e["reason"] == "MLflowNotConfigured"
            ]
            assert any(MESSAGE in note for note in notes)

        await eventually(withdrawn)
        workload = await platform.request("GET", workload_path(team, "weather"))
        assert "MLFLOW_EXPERIMENT_ID" in environment(workload)
    # It is tried again at least once in a minute.
    await expect_released(platform, team, "weather", seconds=120)
