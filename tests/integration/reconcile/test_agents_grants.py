"""What agents' Roles and RoleBindings grant when things go wrong around them, on a real API server."""

import asyncio

from kagenti_devcluster.testing.platform import RBAC, Object, Platform, always, eventually
from tests.support.agents import MLFLOW_ONLY, OPT_OUT, Agents, environment
from tests.support.expectations import expect_unchanged
from tests.support.mlflow import MLflow
from tests.support.mlflow_proxy import run_mlflow_proxy
from tests.support.operator_process import OperatorProcess, StartOperator

KINDS = ("Deployment", "StatefulSet")


def granted_names(role: Object) -> list[list[str]]:
    # The API server leaves out an empty list, which means all.
    return [rule.get("resourceNames", []) for rule in role["rules"]]


async def test_an_agent_that_goes_while_mlflow_is_asked_leaves_no_right_behind(
    agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow
) -> None:
    """Its twin of another kind, about which MLflow has said nothing yet, is not granted anything either."""
    marked = f"{agents.namespace}-marker"
    await platform.namespace(marked)
    held, refused, seen, let_go = (asyncio.Event() for _ in range(4))

    async def intercept(workspace: str, call: str) -> int | None:
        del call
        if workspace == marked:
            seen.set()
        elif not held.is_set():
            held.set()
            await let_go.wait()
        elif workspace == agents.namespace:
            refused.set()
            return 403
        return None

    async with run_mlflow_proxy(mlflow.server) as proxy:
        proxy.intercept = intercept
        await platform.managed_and_ready(proxy.url)
        start_with_mlflow(features=MLFLOW_ONLY)
        await agents.create("twin")
        await held.wait()
        await agents.create("twin", kind="StatefulSet")
        await refused.wait()
        await agents.delete("twin")
        # A watch keeps the order: who asks about this Deployment knows that the other is gone.
        await platform.workload(marked, "marker")
        await seen.wait()
        let_go.set()

        async def asked() -> None:
            assert "create" in proxy.calls

        await eventually(asked)

        async def nothing_granted() -> None:
            role = await agents.role("twin")
            assert role is None or granted_names(role) == [["twin"]]
            assert await agents.binding("twin") is None

        await always(nothing_granted, seconds=3)


async def test_an_agent_that_opts_out_while_mlflow_is_asked_is_not_granted_everything_on_its_way_out(
    agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow
) -> None:
    marked = f"{agents.namespace}-marker"
    await platform.namespace(marked)
    held, seen, let_go = (asyncio.Event() for _ in range(3))

    async def intercept(workspace: str, call: str) -> int | None:
        if workspace == marked:
            seen.set()
        elif call == "get":
            held.set()
            await let_go.wait()
        return None

    async with run_mlflow_proxy(mlflow.server) as proxy:
        proxy.intercept = intercept
        await platform.managed_and_ready(proxy.url)
        operator = start_with_mlflow(features=MLFLOW_ONLY)
        await agents.create("weather")

        async def granted() -> None:
            assert await agents.role("weather") is not None
            assert await agents.binding("weather") is not None

        await eventually(granted)
        await held.wait()
        await agents.patch("weather", OPT_OUT)
        await platform.workload(marked, "marker")
        await seen.wait()
        let_go.set()
        await agents.expect_no_grant("weather")
    written = [
        line["kind"] for line in operator.logged("Applied") if line["name"] == "kagenti-mlflow-weather"
    ]
    assert written == ["Role", "RoleBinding"]


async def test_what_an_author_writes_on_a_workload_while_the_operator_is_down_is_not_granted(
    agents: Agents,
    operator: OperatorProcess,
    start_with_mlflow: StartOperator,
    platform: Platform,
    mlflow: MLflow,
) -> None:
    payroll = await mlflow.call("POST", "create", agents.namespace, {"name": "Payroll"})
    await agents.create_configured("weather")
    operator.stop()
    forged = {
        "mlflow.kagenti.io/experiment-id": payroll["experiment_id"],
        "mlflow.kagenti.io/experiment-name": "Payroll",
    }
    template = {"metadata": {"annotations": forged}}
    before = await agents.patch("weather", {"spec": {"template": template}})
    start_with_mlflow(features=MLFLOW_ONLY)

    async def never_granted() -> None:
        role = await agents.role("weather")
        assert role is not None
        assert granted_names(role) == [["weather"]]

    # It is polled several times in this while.
    await always(never_granted, seconds=5)
    role = await agents.expect_granted("weather")
    after = await agents.expect_configured("weather")
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    found = await mlflow.experiment(agents.namespace, "weather")
    assert found is not None
    cr = await platform.mlflow()
    assert cr is not None
    assert role["metadata"]["annotations"] == {
        "mlflow.kagenti.io/experiment-id": found["experiment_id"],
        "mlflow.kagenti.io/experiment-creation-time": str(found["creation_time"]),
        "mlflow.kagenti.io/mlflow-uid": cr["metadata"]["uid"],
    }


async def test_a_grant_follows_its_account_while_mlflow_refuses_the_operator(
    agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow
) -> None:
    refused = asyncio.Event()

    async def intercept(workspace: str, call: str) -> int | None:
        del workspace
        if call != "get":
            return None
        refused.set()
        return 403

    async with run_mlflow_proxy(mlflow.server) as proxy:
        await platform.managed_and_ready(proxy.url)
        start_with_mlflow(features=MLFLOW_ONLY)
        await agents.create("weather")
        await agents.expect_granted("weather")
        proxy.intercept = intercept
        await refused.wait()
        await agents.patch_pod("weather", serviceAccountName="second")
        await agents.expect_granted("weather", account="second")


def binding_to_view(namespace: str, labels: dict[str, str]) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "kagenti-mlflow-weather", "namespace": namespace, "labels": labels},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    }


async def test_a_binding_of_ours_to_another_role_is_replaced(
    agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow
) -> None:
    labels = {"app.kubernetes.io/managed-by": "kagenti-operator"}
    await platform.put(agents.binding_path("weather"), binding_to_view(agents.namespace, labels))
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await agents.create_configured("weather")
    binding = await agents.binding("weather")
    assert binding is not None
    assert binding["roleRef"]["name"] == "kagenti-mlflow-weather"


async def test_a_binding_of_somebody_else_stays_and_the_agent_is_not_configured_without_its_grant(
    agents: Agents, operator: OperatorProcess, platform: Platform
) -> None:
    await platform.put(agents.binding_path("weather"), binding_to_view(agents.namespace, {}))
    await agents.create("weather")

    async def reported() -> None:
        failed = operator.logged("Reconciling failed, retrying")
        assert any("kagenti-mlflow-weather" in line["error"] for line in failed)

    await eventually(reported)
    assert not environment(await agents.get("weather"))
    await platform.delete(agents.binding_path("weather"))
    await agents.expect_configured("weather")


async def test_a_role_whose_owners_are_removed_gets_them_back(
    agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow
) -> None:
    await platform.managed_and_ready(mlflow.url)
    # Polled so rarely that nothing but the Role itself wakes the operator.
    start_with_mlflow("--mlflow-poll-interval=1000", features=MLFLOW_ONLY)
    configured = await agents.create_configured("weather")
    paths = (agents.role_path("weather"), agents.binding_path("weather"))
    for path in paths:
        await platform.patch(path, {"metadata": {"ownerReferences": None}})

    async def owned() -> None:
        for path in paths:
            owners = (await platform.request("GET", path))["metadata"].get("ownerReferences", [])
            assert [owner["uid"] for owner in owners] == [configured["metadata"]["uid"]]

    await eventually(owned)


async def test_a_role_that_two_agents_share_is_not_written_when_the_operator_is_restarted(
    agents: Agents, operator: OperatorProcess, start_with_mlflow: StartOperator, platform: Platform
) -> None:
    for kind in KINDS:
        await agents.create("twin", kind=kind)

    async def shared() -> None:
        role = await agents.role("twin")
        assert role is not None
        assert len(role["metadata"]["ownerReferences"]) == 2
        assert role["metadata"]["annotations"]["mlflow.kagenti.io/experiment-id"]

    await eventually(shared)
    for kind in KINDS:
        await agents.expect_configured("twin", kind=kind)
    operator.stop()
    # One agent's turn may have written what the other's had just written: the same, as a new version.
    before = await platform.request("GET", agents.role_path("twin"))
    start_with_mlflow(features=MLFLOW_ONLY)
    await agents.create_configured("late")
    await expect_unchanged(platform, agents.role_path("twin"), before, seconds=3)


async def test_a_role_that_others_grant_too_grants_nothing_until_they_are_gone(
    agents: Agents, operator: OperatorProcess, platform: Platform
) -> None:
    """An empty Role may be granted by anybody who may write RoleBindings: they would wait in it."""
    del operator
    role = {"metadata": {"name": "kagenti-mlflow-weather"}}
    eves = {
        "metadata": {"name": "system:eves"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": "kagenti-mlflow-weather",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}],
    }
    folder = f"{RBAC}/namespaces/{agents.namespace}"
    await platform.request("POST", f"{folder}/roles", role)
    await platform.request("POST", f"{folder}/rolebindings", eves)
    await agents.create("weather")

    async def told() -> None:
        path = f"/apis/events.k8s.io/v1/namespaces/{agents.namespace}/events"
        events = (await platform.request("GET", path))["items"]
        found = {
            (event["regarding"]["kind"], event["regarding"]["name"]): event["note"]
            for event in events
            if event["reason"] == "MLflowRoleGrantedToOthers"
        }
        assert found.keys() == {("Deployment", "weather"), ("RoleBinding", "system:eves")}
        cure = f"kubectl delete rolebinding -n {agents.namespace} system:eves"
        assert all(cure in note for note in found.values())

    await eventually(told)
    assert not (await platform.request("GET", agents.role_path("weather")))["rules"]
    await platform.delete(f"{folder}/rolebindings/system:eves")
    await agents.expect_configured("weather")
    await agents.expect_granted("weather")

    async def emptied() -> None:
        assert not (await platform.request("GET", agents.role_path("weather")))["rules"]

    await platform.request("POST", f"{folder}/rolebindings", eves)
    await eventually(emptied)
    await platform.delete(f"{folder}/rolebindings/system:eves")
    await agents.expect_granted("weather")


async def test_a_binding_of_an_agents_name_is_put_right_whoever_made_it(
    agents: Agents, operator: OperatorProcess, platform: Platform
) -> None:
    del operator
    await agents.create_configured("weather")
    path = agents.binding_path("weather")
    await platform.delete(path)
    await agents.expect_granted("weather")
    eve = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}
    label = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}, "subjects": [eve]}
    await platform.patch(path, label)
    await agents.expect_granted("weather")

    async def labelled() -> None:
        binding = await agents.binding("weather")
        assert binding is not None
        assert binding["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kagenti-operator"

    await eventually(labelled)
