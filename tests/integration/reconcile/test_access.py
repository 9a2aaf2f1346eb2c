"""The collector's access, on a real API server and through the operator's own process."""

import asyncio

import pytest

from kagenti_devcluster.testing.platform import (
    BINDING,
    EDIT,
    INTEGRATION,
    MLFLOW_NAMESPACE,
    RBAC,
    SYSTEM,
    Object,
    Platform,
    always,
    eventually,
    workload_path,
)
from tests.support.operator_process import StartOperator

MLFLOW_ONLY = ("--enable-mlflow",)


async def expect_binding(platform: Platform, namespace: str, role: str = INTEGRATION) -> Object:
    async def granted() -> Object:
        found = await platform.binding(namespace)
        assert found is not None
        assert (found["roleRef"]["kind"], found["roleRef"]["name"]) == ("ClusterRole", role)
        assert found["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "kagenti-operator"
        assert found.get("subjects") == [
            {"kind": "ServiceAccount", "name": "otel-collector", "namespace": SYSTEM}
        ]
        return found

    return await eventually(granted)


async def expect_no_binding(platform: Platform, namespace: str) -> None:
    async def gone() -> None:
        assert await platform.binding(namespace) is None

    await eventually(gone)


async def test_every_namespace_with_an_agent_is_granted_and_so_is_mlflows(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    await expect_binding(platform, team)
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
    await platform.patch(
        workload_path(team, "two", "StatefulSet"), {"metadata": {"labels": {"kagenti.io/type": None}}}
    )
    await expect_no_binding(platform, team)
    await expect_binding(platform, MLFLOW_NAMESPACE)


async def test_removed_takes_every_grant_of_ours_and_managed_brings_them_back(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    await expect_binding(platform, team)
    await platform.set_state("Removed")
    await expect_no_binding(platform, team)
    await expect_no_binding(platform, MLFLOW_NAMESPACE)
    await platform.set_state("Managed")
    await expect_binding(platform, team)
    await expect_binding(platform, MLFLOW_NAMESPACE)


async def test_a_flapping_mlflow_costs_no_grant(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    before = await expect_binding(platform, team)
    await platform.set_mlflow_endpoint(ready=False)

    async def unchanged() -> None:
        now = await platform.binding(team)
        assert now is not None
        assert now["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    await always(unchanged, seconds=2)


async def test_nothing_is_granted_before_mlflow_is_ready(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.set_mlflow_endpoint(ready=False)
    await platform.workload(team, "weather")
    running = start_operator(features=MLFLOW_ONLY)
    await asyncio.to_thread(running.wait_for_log, "Found available MLflow CR")

    async def nothing() -> None:
        assert await platform.binding(team) is None

    await always(nothing, seconds=1)
    await platform.set_mlflow_endpoint(ready=True)
    await expect_binding(platform, team)


async def test_a_late_clusterrole_is_told_once_and_then_used(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.delete(f"{RBAC}/clusterroles/{INTEGRATION}")
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)

    async def told() -> None:
        events = [
            e for e in await platform.events("default", "mlflow") if e["reason"] == "ClusterRoleMissing"
        ]
        assert len(events) == 1
        assert events[0]["type"] == "Warning"
        assert INTEGRATION in events[0]["note"]

    await eventually(told)
    assert await platform.binding(team) is None
    await platform.cluster_role(EDIT)
    await expect_binding(platform, team, EDIT)
    await told()


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


async def test_a_foreign_binding_of_that_name_is_taken_over(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    foreign = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": BINDING, "namespace": team, "labels": {"kept": "yes"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": INTEGRATION},
        "subjects": [{"kind": "ServiceAccount", "name": "somebody", "namespace": team}],
    }
    await platform.put(f"{RBAC}/namespaces/{team}/rolebindings/{BINDING}", foreign)
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    taken = await expect_binding(platform, team)
    assert taken["metadata"]["labels"]["kept"] == "yes"


@pytest.mark.parametrize(("kind", "name"), [("ClusterRole", EDIT), ("Role", INTEGRATION)])
async def test_a_foreign_binding_to_another_role_is_replaced(
    start_operator: StartOperator, platform: Platform, team: str, kind: str, name: str
) -> None:
    await platform.managed_and_ready()
    foreign = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": BINDING, "namespace": team},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "otel-collector", "namespace": SYSTEM}],
    }
    before = await platform.put(f"{RBAC}/namespaces/{team}/rolebindings/{BINDING}", foreign)
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    after = await expect_binding(platform, team, INTEGRATION)
    # A roleRef cannot be changed.
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


async def test_a_deleted_or_edited_binding_is_restored(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.workload(team, "weather")
    path = f"{RBAC}/namespaces/{team}/rolebindings/{BINDING}"
    start_operator(features=MLFLOW_ONLY)
    await expect_binding(platform, team)
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
    await asyncio.to_thread(
        running.wait_for_log,
        "Namespace is going away, no access granted",
        matching=lambda line: line["namespace"] == team,
    )
    assert not running.logged("Reconciling failed, retrying")
    assert await platform.binding(team) is None
    await platform.patch(held, {"metadata": {"finalizers": None}})
