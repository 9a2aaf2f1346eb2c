"""Platforms that exist: DataScienceClusters of other names, ones that go, MLflow in other namespaces."""

from kagenti_devcluster.testing.platform import (
    DSC_CRD,
    DSCS,
    INTEGRATION,
    MLFLOW_CRD,
    MLFLOW_NAMESPACE,
    MLFLOWS,
    Platform,
    always,
    eventually,
)
from tests.support.agents import MLFLOW_ONLY
from tests.support.collector import expect_binding, expect_no_binding
from tests.support.expectations import expect_event
from tests.support.operator_process import StartOperator

OPERAND = f"{MLFLOWS}/mlflows/mlflow"
ADDRESS = "https://mlflow.redhat-ods-applications.svc:8443"


async def test_a_data_science_cluster_of_another_name_is_followed(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    for crd in (DSC_CRD, MLFLOW_CRD):
        await platform.install_crd(crd)
    await platform.cluster_role(INTEGRATION)
    await platform.set_state("Managed", "default")
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)

    async def made() -> None:
        assert await platform.mlflow() is not None

    await eventually(made)
    await platform.set_mlflow_endpoint(ready=True)
    await platform.set_mlflow_status(address=ADDRESS)
    await expect_binding(platform, team)


async def test_an_uninstallation_of_the_platform_ends_and_keeps_access_until_removed(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready(ADDRESS)
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    granted = await expect_binding(platform, team)
    cluster = f"{DSCS}/default-dsc"
    await platform.patch(cluster, {"metadata": {"finalizers": ["example.com/components-first"]}})
    await platform.delete(cluster)
    await platform.delete(OPERAND)

    async def left_alone() -> None:
        assert await platform.mlflow() is None
        for namespace in (team, MLFLOW_NAMESPACE):
            assert await platform.binding(namespace) is not None

    await always(left_alone, seconds=2)
    # The finalizer has seen its component go; the cluster is made again at once.
    await platform.patch(cluster, {"metadata": {"finalizers": None}})
    await always(left_alone, seconds=1)
    await platform.set_state("Managed")

    async def made_again() -> None:
        assert await platform.mlflow() is not None

    await eventually(made_again)
    assert (await expect_binding(platform, team))["metadata"]["uid"] == granted["metadata"]["uid"]


async def test_mlflow_is_found_in_the_namespace_that_its_address_names(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    applications = f"{team}-applications"
    await platform.namespace(applications)
    await platform.managed_and_ready(f"https://mlflow.{applications}.svc:8443/mlflow")
    await platform.workload(team, "weather")
    running = start_operator(features=MLFLOW_ONLY)
    # The endpoint in the other namespace is somebody else's.
    event = await expect_event(platform, "default", "mlflow", "NoReadyEndpoint", applications)
    assert event["type"] == "Warning"
    assert await platform.binding(team) is None
    await platform.set_mlflow_endpoint(ready=True, namespace=applications)
    await expect_binding(platform, team)
    await expect_binding(platform, applications)
    assert await platform.binding(MLFLOW_NAMESPACE) is None

    # Then it moves.
    await platform.set_mlflow_status(address=ADDRESS)
    await expect_binding(platform, MLFLOW_NAMESPACE)
    await expect_no_binding(platform, applications)
    assert running.process.poll() is None
