"""What agents' Roles and RoleBindings grant when things go wrong around them, on a real API server."""

import asyncio

from kagenti_devcluster.testing.platform import Object, Platform, always, eventually, workload_path
from tests.support.agents import (
    MLFLOW_ONLY,
    binding_path,
    environment,
    expect_configured,
    expect_granted,
    expect_no_grant,
    role_path,
)
from tests.support.mlflow import MLflow
from tests.support.mlflow_counter import counting
from tests.support.operator_process import StartOperator


def granted_names(role: Object) -> list[list[str]]:
    # The API server leaves out an empty list, which means all.
    return [rule.get("resourceNames", []) for rule in role["rules"]]


async def test_an_agent_that_goes_while_mlflow_is_asked_leaves_no_right_behind(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    """Its twin of another kind, about which MLflow has said nothing yet, is not granted anything either."""
    marked = f"{team}-marker"
    await platform.namespace(marked)
    held, refused, seen, let_go = (asyncio.Event() for _ in range(4))

    async def doorkeeper(workspace: str, doing: str, body: str) -> int | None:
        del doing, body
        if workspace == marked:
            seen.set()
        elif not held.is_set():
            held.set()
            await let_go.wait()
        elif workspace == team:
            refused.set()
            return 403
        return None

    async with counting(mlflow.server) as counter:
        counter.doorkeeper = doorkeeper
        await platform.managed_and_ready(counter.url)
        start_with_mlflow(features=MLFLOW_ONLY)
        await platform.workload(team, "twin")
        await held.wait()
        await platform.workload(team, "twin", kind="StatefulSet")
        await refused.wait()
        await platform.delete(workload_path(team, "twin"))
        # Deployments are told of in order: who asks about this one knows that the other is gone.
        await platform.workload(marked, "marker")
        await seen.wait()
        let_go.set()

        async def asked() -> None:
            assert "create" in counter.done

        await eventually(asked)

        async def nothing_granted() -> None:
            role = await platform.get(role_path(team, "twin"))
            assert role is None or granted_names(role) == [["twin"]]
            assert await platform.get(binding_path(team, "twin")) is None

        await always(nothing_granted, seconds=3)


async def test_an_agent_that_opts_out_while_mlflow_is_asked_is_not_granted_everything_on_its_way_out(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    marked = f"{team}-marker"
    await platform.namespace(marked)
    held, seen, let_go = (asyncio.Event() for _ in range(3))

    async def doorkeeper(workspace: str, doing: str, body: str) -> int | None:
        del body
        if workspace == marked:
            seen.set()
        elif doing == "get":
            held.set()
            await let_go.wait()
        return None

    async with counting(mlflow.server) as counter:
        counter.doorkeeper = doorkeeper
        await platform.managed_and_ready(counter.url)
        operator = start_with_mlflow(features=MLFLOW_ONLY)
        await platform.workload(team, "weather")

        async def granted() -> Object:
            role = await platform.get(role_path(team, "weather"))
            assert role is not None
            assert await platform.get(binding_path(team, "weather")) is not None
            return role

        await eventually(granted)
        await held.wait()
        opted_out = {"metadata": {"annotations": {"mlflow.kagenti.io/inject": "disabled"}}}
        await platform.patch(workload_path(team, "weather"), opted_out)
        await platform.workload(marked, "marker")
        await seen.wait()
        let_go.set()
        await expect_no_grant(platform, team, "weather")
    written = [
        line["kind"] for line in operator.logged("Applied") if line["name"] == "kagenti-mlflow-weather"
    ]
    assert written == ["Role", "RoleBinding"]


async def test_what_an_author_writes_on_a_workload_while_the_operator_is_away_is_not_granted(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    payroll = await mlflow.call("POST", "create", team, {"name": "Payroll"})
    operator = start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    await expect_configured(platform, mlflow, team, "weather")
    operator.stop()
    forged = {
        "mlflow.kagenti.io/experiment-id": payroll["experiment_id"],
        "mlflow.kagenti.io/experiment-name": "Payroll",
    }
    template = {"metadata": {"annotations": forged}}
    before = await platform.patch(workload_path(team, "weather"), {"spec": {"template": template}})
    start_with_mlflow(features=MLFLOW_ONLY)

    async def never_granted() -> None:
        role = await platform.get(role_path(team, "weather"))
        assert role is not None
        assert granted_names(role) == [["weather"]]

    # It is polled several times in this while.
    await always(never_granted, seconds=5)
    role = await expect_granted(platform, team, "weather", "weather", "default")
    after = await expect_configured(platform, mlflow, team, "weather")
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    found = await mlflow.experiment(team, "weather")
    assert found is not None
    assert role["metadata"]["annotations"] == {"mlflow.kagenti.io/experiment-id": found["experiment_id"]}


async def test_a_grant_follows_its_account_while_mlflow_refuses_the_operator(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    refused = asyncio.Event()

    async def doorkeeper(workspace: str, doing: str, body: str) -> int | None:
        del workspace, body
        if doing != "get":
            return None
        refused.set()
        return 403

    async with counting(mlflow.server) as counter:
        await platform.managed_and_ready(counter.url)
        start_with_mlflow(features=MLFLOW_ONLY)
        await platform.workload(team, "weather")
        await expect_granted(platform, team, "weather", "weather", "default")
        counter.doorkeeper = doorkeeper
        await refused.wait()
        template = {"spec": {"serviceAccountName": "second"}}
        await platform.patch(workload_path(team, "weather"), {"spec": {"template": template}})
        await expect_granted(platform, team, "weather", "weather", "second")


def binding_to(namespace: str, kind: str, role: str, labels: dict[str, str]) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "kagenti-mlflow-weather", "namespace": namespace, "labels": labels},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
    }


async def test_a_binding_of_ours_to_another_role_is_made_anew(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    labels = {"app.kubernetes.io/managed-by": "kagenti-operator"}
    await platform.put(binding_path(team, "weather"), binding_to(team, "ClusterRole", "view", labels))
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    await expect_configured(platform, mlflow, team, "weather")
    binding = await platform.request("GET", binding_path(team, "weather"))
    assert binding["roleRef"]["name"] == "kagenti-mlflow-weather"


async def test_a_binding_of_somebody_else_stays_and_the_agent_is_not_configured_without_its_grant(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.put(binding_path(team, "weather"), binding_to(team, "ClusterRole", "view", {}))
    await platform.managed_and_ready(mlflow.url)
    operator = start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")

    async def told() -> None:
        failed = operator.logged("Reconciling failed, retrying")
        assert any("kagenti-mlflow-weather" in line["error"] for line in failed)

    await eventually(told)
    assert not environment(await platform.request("GET", workload_path(team, "weather")))
    await platform.delete(binding_path(team, "weather"))
    await expect_configured(platform, mlflow, team, "weather")


async def test_a_role_whose_owners_are_taken_away_gets_them_back(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    # Polled so rarely that nothing but the Role itself wakes the operator.
    start_with_mlflow("--mlflow-poll-interval=1000", features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    configured = await expect_configured(platform, mlflow, team, "weather")
    await platform.patch(role_path(team, "weather"), {"metadata": {"ownerReferences": None}})
    await platform.patch(binding_path(team, "weather"), {"metadata": {"ownerReferences": None}})

    async def owned() -> None:
        for path in (role_path(team, "weather"), binding_path(team, "weather")):
            owners = (await platform.request("GET", path))["metadata"].get("ownerReferences", [])
            assert [owner["uid"] for owner in owners] == [configured["metadata"]["uid"]]

    await eventually(owned)


async def test_a_role_that_two_agents_share_is_not_written_when_the_operator_is_started_anew(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    operator = start_with_mlflow(features=MLFLOW_ONLY)
    for kind in ("Deployment", "StatefulSet"):
        await platform.workload(team, "twin", kind=kind)

    async def shared() -> Object:
        role = await platform.get(role_path(team, "twin"))
        assert role is not None
        assert len(role["metadata"]["ownerReferences"]) == 2
        assert role["metadata"]["annotations"]["mlflow.kagenti.io/experiment-id"]
        return role

    before = await eventually(shared)
    for kind in ("Deployment", "StatefulSet"):
        await expect_configured(platform, mlflow, team, "twin", kind=kind)
    operator.stop()
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "late")
    await expect_configured(platform, mlflow, team, "late")

    async def untouched() -> None:
        role = await platform.request("GET", role_path(team, "twin"))
        assert role["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    await always(untouched, seconds=3)
