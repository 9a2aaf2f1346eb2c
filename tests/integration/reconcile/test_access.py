"""The collector's access, on a real API server and through the operator's own process."""

import pytest

from kagenti_devcluster.testing.platform import (
    BINDING,
    EDIT,
    INTEGRATION,
    MLFLOW_NAMESPACE,
    MLFLOWS,
    RBAC,
    Object,
    Platform,
    always,
    workload_path,
)
from tests.support.agents import MLFLOW_ONLY, NO_LABEL
from tests.support.collector import COLLECTOR, expect_binding, expect_no_binding, install_collector
from tests.support.expectations import expect_event, expect_unchanged
from tests.support.operator_process import StartOperator


@pytest.fixture
async def granted(start_operator: StartOperator, platform: Platform, team: str) -> Object:
    """The RoleBinding in the namespace of an agent, with the operator at work."""
    await platform.managed_and_ready()
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    return await expect_binding(platform, team)


@pytest.mark.usefixtures("granted")
async def test_every_namespace_with_an_agent_is_granted_and_so_is_mlflows(
    platform: Platform, team: str
) -> None:
    await expect_binding(platform, MLFLOW_NAMESPACE)
    second = f"{team}-b"
    await platform.namespace(second)
    await platform.workload(second, "news", kind="StatefulSet")
    await expect_binding(platform, second)


async def test_the_last_agent_that_leaves_takes_the_grant_along(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.workload(team, "one")
    await platform.workload(team, "two", kind="StatefulSet")
    start_operator(features=MLFLOW_ONLY)
    await expect_binding(platform, team)
    await platform.delete(workload_path(team, "one"))
    await expect_binding(platform, team)
    # No longer an agent is as good as gone.
    await platform.patch(workload_path(team, "two", "StatefulSet"), NO_LABEL)
    await expect_no_binding(platform, team)
    await expect_binding(platform, MLFLOW_NAMESPACE)


async def test_mlflows_own_namespace_keeps_its_grant_when_the_operator_starts_without_a_cr(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    """Where MLflow is, only its CR says: nothing is revoked for not knowing."""
    await platform.managed_and_ready(f"https://mlflow.{team}.svc:8443/mlflow")
    await platform.set_mlflow_endpoint(ready=True, namespace=team)
    left = f"{team}-left"
    await platform.namespace(left)
    await platform.workload(left, "weather")
    first = start_operator(features=MLFLOW_ONLY)
    before = await expect_binding(platform, team)
    await expect_binding(platform, left)
    first.stop()
    await platform.delete(f"{MLFLOWS}/mlflows/mlflow")
    second = start_operator("--mlflow-create-operand=false", features=MLFLOW_ONLY)
    await second.expect_log("Caches are complete, starting the controllers")
    # It is at work, and revokes where it knows that nobody is left.
    await platform.delete(workload_path(left, "weather"))
    await expect_no_binding(platform, left)
    path = f"{RBAC}/namespaces/{team}/rolebindings/{BINDING}"
    await expect_unchanged(platform, path, before, seconds=2)


@pytest.mark.usefixtures("granted")
async def test_removed_takes_every_grant_of_ours_and_managed_brings_them_back(
    platform: Platform, team: str
) -> None:
    await platform.set_state("Removed")
    await expect_no_binding(platform, team)
    await expect_no_binding(platform, MLFLOW_NAMESPACE)
    await platform.set_state("Managed")
    await expect_binding(platform, team)
    await expect_binding(platform, MLFLOW_NAMESPACE)


@pytest.mark.usefixtures("granted")
async def test_the_account_that_the_collector_runs_as_is_granted_and_followed(
    platform: Platform, team: str
) -> None:
    await install_collector(platform, account="telemetry")
    await expect_binding(platform, team, account="telemetry")
    await expect_binding(platform, MLFLOW_NAMESPACE, account="telemetry")
    await platform.patch(
        COLLECTOR, {"spec": {"template": {"spec": {"serviceAccountName": "otel-collector"}}}}
    )
    await expect_binding(platform, team)


@pytest.mark.usefixtures("granted")
async def test_a_collector_that_is_replaced_keeps_its_grant(platform: Platform, team: str) -> None:
    await install_collector(platform, account="telemetry")
    granted = await expect_binding(platform, team, account="telemetry")
    await platform.delete(COLLECTOR)
    path = f"{RBAC}/namespaces/{team}/rolebindings/{BINDING}"
    await expect_unchanged(platform, path, granted, seconds=2)


async def test_a_flapping_mlflow_costs_no_grant(granted: Object, platform: Platform, team: str) -> None:
    await platform.set_mlflow_endpoint(ready=False)
    path = f"{RBAC}/namespaces/{team}/rolebindings/{BINDING}"
    await expect_unchanged(platform, path, granted, seconds=2)


async def test_nothing_is_granted_before_mlflow_is_ready(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.set_mlflow_endpoint(ready=False)
    await platform.workload(team, "weather")
    running = start_operator(features=MLFLOW_ONLY)
    await running.expect_log("Found available MLflow CR")

    async def nothing() -> None:
        assert await platform.binding(team) is None

    await always(nothing, seconds=1)
    await platform.set_mlflow_endpoint(ready=True)
    await expect_binding(platform, team)


async def test_a_missing_clusterrole_is_reported_once_and_used_when_it_comes(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.delete(f"{RBAC}/clusterroles/{INTEGRATION}")
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    event = await expect_event(platform, "default", "mlflow", "ClusterRoleMissing", INTEGRATION)
    assert event["type"] == "Warning"
    assert await platform.binding(team) is None
    await platform.cluster_role(EDIT)
    await expect_binding(platform, team, EDIT)
    await expect_event(platform, "default", "mlflow", "ClusterRoleMissing", INTEGRATION)


async def test_another_clusterrole_replaces_the_binding(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.delete(f"{RBAC}/clusterroles/{INTEGRATION}")
    await platform.cluster_role(EDIT)
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    before = await expect_binding(platform, team, EDIT)
    await platform.cluster_role(INTEGRATION)
    after = await expect_binding(platform, team, INTEGRATION)
    assert before["metadata"]["uid"] != after["metadata"]["uid"]


async def put_binding(platform: Platform, team: str, *, kind: str = "ClusterRole", role: str) -> Object:
    """A RoleBinding of somebody else under the collector's name, for another account."""
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": BINDING, "namespace": team, "labels": {"kept": "yes"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "somebody", "namespace": team}],
    }
    return await platform.put(f"{RBAC}/namespaces/{team}/rolebindings/{BINDING}", body)


async def test_a_binding_of_somebody_else_is_taken_over(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await put_binding(platform, team, role=INTEGRATION)
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    taken = await expect_binding(platform, team)
    assert taken["metadata"]["labels"]["kept"] == "yes"


@pytest.mark.parametrize(("kind", "role"), [("ClusterRole", EDIT), ("Role", INTEGRATION)])
async def test_a_binding_of_somebody_else_to_another_role_is_replaced(
    start_operator: StartOperator, platform: Platform, team: str, kind: str, role: str
) -> None:
    await platform.managed_and_ready()
    before = await put_binding(platform, team, kind=kind, role=role)
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    after = await expect_binding(platform, team)
    # A roleRef cannot be changed.
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


@pytest.mark.usefixtures("granted")
async def test_a_deleted_or_edited_binding_is_restored(platform: Platform, team: str) -> None:
    path = f"{RBAC}/namespaces/{team}/rolebindings/{BINDING}"
    await platform.delete(path)
    await expect_binding(platform, team)
    await platform.patch(path, {"subjects": []})
    await expect_binding(platform, team)


async def test_a_terminating_namespace_is_left_in_peace(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.workload(team, "weather")
    # An agent that cannot go yet keeps its namespace terminating.
    held = workload_path(team, "weather")
    await platform.patch(held, {"metadata": {"finalizers": ["example.org/hold"]}})
    await platform.delete(f"/api/v1/namespaces/{team}")
    running = start_operator(features=MLFLOW_ONLY)
    await expect_binding(platform, MLFLOW_NAMESPACE)
    await running.expect_log(
        "Namespace does not exist or is going away, no access granted",
        matching=lambda line: line["namespace"] == team,
    )
    assert not running.logged("Reconciling failed, retrying")
    assert await platform.binding(team) is None
    await platform.patch(held, {"metadata": {"finalizers": None}})
