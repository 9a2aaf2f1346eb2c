"""The link in OpenShift's console, kept with the permissions that the chart grants for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kagenti_devcluster.testing.platform import RBAC, SYSTEM, Platform, eventually
from tests.integration.platform.conftest import Helm, running_platform
from tests.support.cluster import Cluster
from tests.support.operator_process import OperatorProcess
from tests.support.recorded_requests import RecordRequests

CHART = Path(__file__).parents[3] / "charts" / "kagenti-operator"
VALUES = ("--set=mlflow.enable=true", "--set=openshiftConsole.link=true")
FLAGS = ("--enable-mlflow", "--enable-console-link")
LINK = "/apis/console.openshift.io/v1/consolelinks/kagenti-mlflow"
MLFLOW = "/apis/mlflow.opendatahub.io/v1/mlflows/mlflow"
DSC = "/apis/datasciencecluster.opendatahub.io/v2/datascienceclusters/default-dsc"
ADDRESS = "https://mlflow.redhat-ods-applications.svc:8443"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, record_requests: RecordRequests) -> Iterator[Cluster]:
    """Of this test's own, where the operator never runs beside permissions that come or go."""
    with running_platform(tmp_path_factory.mktemp("console-link"), audit=True) as cluster:
        yield cluster
        record_requests(cluster.control_plane.audit_log)


async def set_management_state(api: Platform, state: str) -> None:
    await api.patch(DSC, {"spec": {"components": {"mlflowoperator": {"managementState": state}}}})


async def test_the_link_follows_mlflow_and_goes_with_it_and_with_the_value(
    cluster: Cluster, helm: Helm, api: Platform
) -> None:
    async def link() -> dict[str, Any]:
        found = await api.get(LINK)
        assert found is not None
        return found

    async def links_to(url: str) -> None:
        assert (await link())["spec"]["href"] == url

    async def gone() -> None:
        assert await api.get(LINK) is None

    async def exists(path: str) -> None:
        assert await api.get(path) is not None

    helm("install", CHART, *VALUES)
    kubeconfig = await cluster.service_account_kubeconfig(SYSTEM, "controller-manager")
    try:
        with OperatorProcess(kubeconfig, features=FLAGS) as operator:
            await eventually(lambda: exists(MLFLOW))
            # The console's API takes https only, so there is nothing to link to yet.
            await api.set_mlflow_status(address=ADDRESS, url="http://gateway.example.com/mlflow")
            await operator.expect_log("Found available MLflow CR")
            await gone()

            await api.set_mlflow_status(address=ADDRESS, url="https://gateway.example.com/mlflow")
            await eventually(lambda: links_to("https://gateway.example.com/mlflow/"))
            await api.set_mlflow_status(address=ADDRESS, url="https://elsewhere.example.com")
            await eventually(lambda: links_to("https://elsewhere.example.com/"))
            made = await link()
            assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "kagenti-operator"}
            role = await api.get(f"{RBAC}/clusterroles/kagenti-controller-manager-console-link")
            assert role is not None
            assert [o["uid"] for o in made["metadata"]["ownerReferences"]] == [role["metadata"]["uid"]]

            # An edit is undone, an address that is away for a while is not followed.
            await api.patch(LINK, {"spec": {"href": "https://phishing.example.com/"}})
            await eventually(lambda: links_to("https://elsewhere.example.com/"))
            await api.set_mlflow_status(address=ADDRESS, url=None, available=False)
            await links_to("https://elsewhere.example.com/")

            await set_management_state(api, "Removed")
            await api.delete(MLFLOW)
            await eventually(gone)

            await set_management_state(api, "Managed")
            await eventually(lambda: exists(MLFLOW))
            await api.set_mlflow_status(address=ADDRESS, url="https://gateway.example.com/mlflow")
            await eventually(link)
        helm("upgrade", CHART, "--reuse-values", "--set=openshiftConsole.link=false")
        await eventually(gone, seconds=60)
    finally:
        await set_management_state(api, "Managed")
        await api.delete(MLFLOW)
