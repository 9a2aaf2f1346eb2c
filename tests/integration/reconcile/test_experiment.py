"""The collector's experiment and the headers that carry it, with a real MLflow, as on OpenShift."""

from collections.abc import Awaitable, Callable

import pytest

from kagenti_devcluster.testing.platform import (
    INTEGRATION,
    OPENSHIFT_CRD,
    RBAC,
    SYSTEM,
    Object,
    Platform,
    always,
    eventually,
    workload_path,
)
from tests.support.agents import Agents, environment
from tests.support.chart_permissions import ACCOUNT
from tests.support.collector import CONFIG, expect_binding, expect_headers
from tests.support.expectations import expect_event, expect_unchanged
from tests.support.mlflow import MLflow
from tests.support.operator_process import StartOperator


@pytest.fixture(autouse=True)
async def openshift(platform: Platform, mlflow: MLflow) -> None:
    """OpenShift, with an MLflow that is ready."""
    await platform.install_crd(OPENSHIFT_CRD)
    await platform.managed_and_ready(mlflow.url)


async def test_workspace_and_experiment_reach_the_configuration_and_stay_while_mlflow_is_away(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    flags = (f"--mlflow-workspace={team}", "--mlflow-experiment-name=kagenti-traces")
    first = start_with_mlflow(*flags)
    line = await first.expect_log("Created/found MLflow experiment")
    experiment = await mlflow.expect_experiment(team)
    expected = {"name": "kagenti-traces", "workspace": team, "experimentID": experiment["experiment_id"]}
    assert {key: line[key] for key in expected} == expected
    before = await expect_headers(platform, team, experiment["experiment_id"])

    # Neither an MLflow that is away, nor an operator that starts meanwhile, makes it worse.
    await platform.set_mlflow_endpoint(ready=False)
    await platform.set_mlflow_status(available=False, address=None)
    first.stop()
    second = start_with_mlflow(*flags)
    await second.expect_log("OTel collector bootstrap complete")
    await expect_unchanged(platform, CONFIG, before, seconds=2)


async def test_the_grant_comes_before_the_configuration_that_needs_it(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.workload(team, "weather")
    start_with_mlflow(f"--mlflow-workspace={team}")
    experiment = await mlflow.expect_experiment(team)
    config = await expect_headers(platform, team, experiment["experiment_id"])
    binding = await expect_binding(platform, team)
    assert int(binding["metadata"]["resourceVersion"]) < int(config["metadata"]["resourceVersion"])


async def test_the_collectors_experiment_is_no_agents_though_it_is_renamed_and_the_operator_restarted(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str, agents: Agents
) -> None:
    await agents.create("weather")
    first = start_with_mlflow(f"--mlflow-workspace={team}")
    experiment_id = (await mlflow.expect_experiment(team))["experiment_id"]
    await agents.expect_configured("weather")

    async def recorded() -> Object:
        binding = await expect_binding(platform, team)
        assert experiment_id in binding["metadata"]["annotations"]["mlflow.kagenti.io/collector-experiments"]
        return await expect_headers(platform, team, experiment_id)

    before = await eventually(recorded)
    first.stop()
    await mlflow.rename(team, experiment_id, "news")
    await agents.create("news")
    second = start_with_mlflow(f"--mlflow-workspace={team}")
    await second.expect_log("OTel collector bootstrap complete")
    taken = "is the collector's, which no"
    await expect_event(platform, team, "news", "ExperimentNotAvailable", taken)
    assert await agents.role("news") is None
    assert "MLFLOW_EXPERIMENT_ID" not in environment(await agents.get("news"))
    # Nor is another one made for the collector, which would roll it.
    await expect_unchanged(platform, CONFIG, before, seconds=1)


async def the_cluster_role_appears(platform: Platform) -> None:
    await platform.cluster_role(INTEGRATION)


async def somebody_else_manages_it(platform: Platform) -> None:
    await platform.set_state("Unmanaged")


@pytest.mark.parametrize("settle", [the_cluster_role_appears, somebody_else_manages_it])
async def test_a_grant_of_an_earlier_installation_counts_as_soon_as_nothing_speaks_against_it(
    start_with_mlflow: StartOperator,
    platform: Platform,
    mlflow: MLflow,
    team: str,
    settle: Callable[[Platform], Awaitable[None]],
) -> None:
    await platform.workload(team, "weather")
    await allow_operator(platform, team)
    first = start_with_mlflow(f"--mlflow-workspace={team}", features=("--enable-mlflow",))
    await first.expect_log("Created/found MLflow experiment")
    await expect_binding(platform, team)
    first.stop()
    await platform.delete(f"{RBAC}/clusterroles/{INTEGRATION}")
    second = start_with_mlflow(f"--mlflow-workspace={team}")
    await second.expect_log("Created/found MLflow experiment")
    await second.expect_log("OTel collector bootstrap complete")

    async def held_back() -> None:
        found = await platform.get(CONFIG)
        assert found is not None
        assert "x-mlflow" not in found["data"]["base.yaml"]

    await always(held_back, seconds=2)
    # The binding stays as it is: no event of it wakes anybody.
    await settle(platform)
    experiment = await mlflow.expect_experiment(team)
    await expect_headers(platform, team, experiment["experiment_id"])


async def allow_operator(platform: Platform, workspace: str) -> None:
    """Let it use that workspace's experiments, whether MLflow's own ClusterRole exists or not."""
    meta = {"name": "experiments-for-the-operator", "namespace": workspace}
    rule = {"apiGroups": ["mlflow.kubeflow.org"], "resources": ["experiments"], "verbs": ["*"]}
    role: Object = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta}
    await platform.put(f"{RBAC}/namespaces/{workspace}/roles/{meta['name']}", {**role, "rules": [rule]})
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": meta["name"]}
    binding = {**role, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]}
    await platform.put(f"{RBAC}/namespaces/{workspace}/rolebindings/{meta['name']}", binding)


async def test_access_to_the_workspace_ends_with_mlflow_only_and_that_is_reported(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.workload(team, "weather")
    start_with_mlflow(f"--mlflow-workspace={team}")

    async def reported(*expected: str) -> None:
        events = await platform.events("default", "mlflow")
        reasons = {e["reason"] for e in events if "refuses spans" in e["note"] and team in e["note"]}
        assert reasons == set(expected)

    experiment = await mlflow.expect_experiment(team)
    before = await expect_headers(platform, team, experiment["experiment_id"])
    await reported()
    # The last agent leaves, and the configured workspace stays granted.
    await platform.delete(workload_path(team, "weather"))
    await always(reported, seconds=2)
    await expect_binding(platform, team)
    await platform.set_state("Removed")
    await eventually(lambda: reported("MLflowNotManaged"))
    # All the while the collector goes on to send there.
    after = await platform.get(CONFIG)
    assert after is not None
    assert after["data"] == before["data"]


async def test_a_workspace_that_does_not_exist_yet_is_reported_and_awaited(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    later = f"{team}-later"
    start_with_mlflow(f"--mlflow-workspace={later}")

    await expect_event(platform, "default", "mlflow", "ExperimentNotAvailable", later)
    found = await platform.get(CONFIG)
    assert found is not None
    assert "x-mlflow" not in found["data"]["base.yaml"]
    await platform.namespace(later)
    experiment = await mlflow.expect_experiment(later)
    await expect_headers(platform, later, experiment["experiment_id"])


async def test_a_deleted_experiment_is_restored(
    start_with_mlflow: StartOperator, mlflow: MLflow, team: str
) -> None:
    start_with_mlflow(f"--mlflow-workspace={team}")
    experiment = await mlflow.expect_experiment(team)
    await mlflow.delete(team, experiment["experiment_id"])
    again = await mlflow.expect_experiment(team)
    assert again["experiment_id"] == experiment["experiment_id"]
