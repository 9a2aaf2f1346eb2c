"""The platform by its other name, on a real API server: labels, annotations, Roles, Events."""

from pathlib import Path

import pytest

from kagenti_devcluster.testing.platform import RBAC, SYSTEM, Platform, eventually, workload_path
from tests.support.agents import environment
from tests.support.chart_permissions import grant, render_permissions
from tests.support.cluster import Cluster
from tests.support.expectations import expect_event
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator

ACCOUNT = "rossoctl-operator"
NAMES = ("platform.name=rossoctl", "fullnameOverride=kagenti-controller-manager")
FLAGS = ("--platform-name=rossoctl", f"--platform-namespace={SYSTEM}")


@pytest.fixture
async def kubeconfig(cluster: Cluster, platform: Platform) -> Path:
    """What the chart grants on that platform."""
    await grant(platform, render_permissions(account=ACCOUNT, more=NAMES), ACCOUNT)
    return await cluster.service_account_kubeconfig(SYSTEM, ACCOUNT)


@pytest.fixture
async def operator(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, kubeconfig: Path
) -> OperatorProcess:
    await platform.managed_and_ready(mlflow.url)
    return start_with_mlflow(*FLAGS, kubeconfig=kubeconfig)


@pytest.mark.usefixtures("operator")
async def test_an_agent_has_all_under_the_platforms_name(platform: Platform, team: str) -> None:
    await platform.workload(team, "theirs")
    await platform.workload(team, "weather", agent=False)
    path = workload_path(team, "weather", "Deployment")
    await platform.patch(path, {"metadata": {"labels": {"rossoctl.io/type": "agent"}}})

    async def configured() -> None:
        workload = await platform.request("GET", path)
        annotations = workload["spec"]["template"]["metadata"].get("annotations", {})
        assert set(annotations) == {
            f"mlflow.rossoctl.io/{name}"
            for name in ("experiment-id", "experiment-name", "tracking-uri", "tracking-auth")
        }
        assert environment(workload).get("MLFLOW_EXPERIMENT_NAME") == "weather"

    await eventually(configured)
    role = await platform.request("GET", f"{RBAC}/namespaces/{team}/roles/rossoctl-mlflow-weather")
    assert role["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "rossoctl-operator"}
    recorded = ("experiment-id", "experiment-creation-time", "mlflow-uid")
    assert set(role["metadata"]["annotations"]) == {f"mlflow.rossoctl.io/{name}" for name in recorded}
    assert {entry["manager"] for entry in role["metadata"]["managedFields"]} == {"rossoctl-operator"}
    written = (await platform.request("GET", path))["metadata"]["generation"]

    event = await expect_event(platform, team, "weather", "MLflowConfigured")
    assert event["reportingController"] == "rossoctl-operator"
    # It takes out what it wrote. The annotation makes a generation too.
    opt_out = {"metadata": {"annotations": {"mlflow.rossoctl.io/inject": "disabled"}}}
    await platform.patch(path, opt_out)

    async def released() -> None:
        workload = await platform.request("GET", path)
        assert "annotations" not in workload["spec"]["template"].get("metadata", {})
        assert not environment(workload)

    await eventually(released)
    assert (await platform.request("GET", path))["metadata"]["generation"] == written + 2
    theirs = await platform.request("GET", workload_path(team, "theirs", "Deployment"))
    assert theirs["metadata"]["generation"] == 1
