"""The life of the MLflow operand, on a real API server."""

import pytest

from kagenti_devcluster.testing.platform import (
    DSC_CRD,
    MLFLOW_CRD,
    MLFLOW_CRD_NAMESPACED,
    MLFLOW_NAMESPACE,
    MLFLOWS,
    Object,
    Platform,
    always,
    eventually,
)
from tests.support.agents import MLFLOW_ONLY
from tests.support.expectations import expect_unchanged
from tests.support.operator_process import StartOperator

SPEC = {
    "storage": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
    "backendStoreUri": "sqlite:////mlflow/mlflow.db",
    "artifactsDestination": "file:///mlflow/artifacts",
    "serveArtifacts": True,
}


@pytest.fixture
async def managed(platform: Platform) -> None:
    """Both CRDs, and MLflow managed."""
    for crd in (DSC_CRD, MLFLOW_CRD):
        await platform.install_crd(crd)
    await platform.set_state("Managed")


async def expect_operand(platform: Platform, namespace: str | None = None) -> Object:
    async def made() -> Object:
        found = await platform.mlflow(namespace)
        assert found is not None
        return found

    return await eventually(made)


async def test_the_operand_is_made_when_crds_and_state_come_later(
    start_operator: StartOperator, platform: Platform
) -> None:
    running = start_operator(features=MLFLOW_ONLY)
    await running.expect_log("Caches are complete, starting the controllers")
    await platform.install_crd(DSC_CRD)
    await platform.set_state("Managed")
    await platform.install_crd(MLFLOW_CRD)
    made = await expect_operand(platform)
    assert made["spec"] == SPEC
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "kagenti-operator"}
    assert {entry["manager"] for entry in made["metadata"]["managedFields"]} == {"kagenti-operator"}
    await running.expect_log("MLflow CRD detected, discovering MLflow CR")
    url = "https://mlflow.redhat-ods-applications.svc:8443"
    await platform.set_mlflow_status(address=url)
    line = await running.expect_log("Found available MLflow CR")
    assert line["name"] == "mlflow"
    assert line["tracesURL"] == f"{url}/v1/traces"


async def test_without_a_state_there_is_no_operand_until_it_is_managed(
    start_operator: StartOperator, platform: Platform
) -> None:
    for crd in (DSC_CRD, MLFLOW_CRD):
        await platform.install_crd(crd)
    await platform.set_state(None)
    running = start_operator(features=MLFLOW_ONLY)
    await running.expect_log("MLflow CRD detected, discovering MLflow CR")

    async def absent() -> None:
        assert await platform.mlflow() is None

    await always(absent, seconds=2)
    await platform.set_state("Managed")
    await expect_operand(platform)


async def test_a_namespaced_crd_gets_its_operand_beside_the_applications(
    start_operator: StartOperator, platform: Platform
) -> None:
    for crd in (DSC_CRD, MLFLOW_CRD_NAMESPACED):
        await platform.install_crd(crd)
    await platform.set_state("Managed")
    start_operator(features=MLFLOW_ONLY)
    made = await expect_operand(platform, MLFLOW_NAMESPACE)
    assert made["spec"] == SPEC


async def test_an_operand_of_somebody_else_is_never_changed_and_never_deleted(
    start_operator: StartOperator, platform: Platform
) -> None:
    for crd in (DSC_CRD, MLFLOW_CRD):
        await platform.install_crd(crd)
    foreign = {
        "apiVersion": "mlflow.opendatahub.io/v1",
        "kind": "MLflow",
        "metadata": {"name": "mlflow"},
        "spec": {"theirs": True},
    }
    before = await platform.put(f"{MLFLOWS}/mlflows/mlflow", foreign)
    await platform.set_state("Managed")
    running = start_operator(features=MLFLOW_ONLY)
    await running.expect_log("MLflow CRD detected, discovering MLflow CR")
    path = f"{MLFLOWS}/mlflows/mlflow"
    await expect_unchanged(platform, path, before, seconds=1)
    await platform.set_state("Removed")
    await expect_unchanged(platform, path, before, seconds=1)


@pytest.mark.usefixtures("managed")
async def test_removed_keeps_the_operand_and_managed_makes_a_deleted_one_again(
    start_operator: StartOperator, platform: Platform
) -> None:
    start_operator(features=MLFLOW_ONLY)
    first = await expect_operand(platform)
    await platform.set_state("Removed")

    async def kept() -> None:
        now = await platform.mlflow()
        assert now is not None
        assert now["metadata"]["uid"] == first["metadata"]["uid"]

    await always(kept, seconds=1)
    await platform.delete(f"{MLFLOWS}/mlflows/mlflow")

    async def gone() -> None:
        assert await platform.mlflow() is None

    await eventually(gone)
    await always(gone, seconds=1)
    await platform.set_state("Managed")
    again = await expect_operand(platform)
    assert again["metadata"]["uid"] != first["metadata"]["uid"]


@pytest.mark.usefixtures("managed")
async def test_the_crd_may_vanish_and_come_back(start_operator: StartOperator, platform: Platform) -> None:
    start_operator(features=MLFLOW_ONLY)
    await expect_operand(platform)
    await platform.remove_crd(MLFLOW_CRD)
    await platform.install_crd(MLFLOW_CRD)
    await expect_operand(platform)
