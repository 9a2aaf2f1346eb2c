"""What the platform installs behaves as the real one does where the operator and people meet it."""

from typing import Any

import pytest

from kagenti_devcluster.cluster.kubectl import Manifest
from kagenti_devcluster.standins.platform import install
from kagenti_devcluster.testing.platform import DSCS, MLFLOWS, Platform
from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.mlflow.operand import build_operand
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from tests.integration.platform.conftest import OPTIONS
from tests.support.cluster import Cluster

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "probe", "namespace": "kagenti-system"},
    "spec": {"containers": [{"name": "probe", "image": "probe"}]},
}


async def test_installing_again_changes_nothing(cluster: Cluster, admin: KubeClient, api: Platform) -> None:
    paths = (
        "/apis/apps/v1/namespaces/kagenti-system/deployments/otel-collector",
        "/api/v1/namespaces/openshift-config-managed/configmaps/default-ingress-cert",
        f"{DSCS}/default-dsc",
    )
    before = [await api.get(path) for path in paths]
    await install(admin, cluster.admin_kubeconfig, OPTIONS)
    after = [await api.get(path) for path in paths]
    assert [
        o and o["metadata"]["generation" if "generation" in o["metadata"] else "uid"] for o in before
    ] == [o and o["metadata"]["generation" if "generation" in o["metadata"] else "uid"] for o in after]
    assert all(before)


async def test_pods_get_the_service_ca_beside_their_token(api: Platform) -> None:
    pod = await admit(api, POD)
    (volume,) = pod["spec"]["volumes"]
    paths = [
        item["path"]
        for s in volume["projected"]["sources"]
        for item in s.get("configMap", {}).get("items", [])
    ]
    assert paths == ["ca.crt", "service-ca.crt"]


async def admit(api: Platform, pod: Manifest) -> Manifest:
    """What the API server would store."""
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods"
    return await api.request("POST", path, pod, params={"dryRun": "All"})


async def test_a_pod_without_a_token_gets_no_service_ca(api: Platform) -> None:
    spec = {**POD["spec"], "automountServiceAccountToken": False}
    pod = await admit(api, {**POD, "spec": spec})
    assert "volumes" not in pod["spec"]


async def test_version_1_of_the_data_science_cluster_does_not_know_mlflow(api: Platform) -> None:
    v2 = await api.get(f"{DSCS}/default-dsc")
    v1 = await api.get(f"{DSCS}/default-dsc".replace("/v2/", "/v1/"))
    assert v2 is not None
    assert v1 is not None
    assert v2["spec"]["components"] == {"mlflowoperator": {"managementState": "Managed"}}
    assert v1["spec"]["components"] == {}


async def test_the_operand_is_accepted(api: Platform) -> None:
    # Applied, not created: another test of this API server may have left one.
    operand = build_operand(KAGENTI, namespaced=False)
    await api.put(f"{MLFLOWS}/mlflows/mlflow", operand, dry_run=True)


@pytest.mark.parametrize(
    ("metadata", "spec", "message"),
    [
        ({"name": "second"}, {}, "MLflow resource name must be 'mlflow'"),
        ({}, {"storage": None}, "storage must be configured when using file-based backend store"),
        ({}, {"backendStoreUri": None}, "backendStoreUri or backendStoreUriFrom must be set"),
        (
            {},
            {"backendStoreUriFrom": {"name": "database", "key": "uri"}},
            "backendStoreUri and backendStoreUriFrom are mutually exclusive",
        ),
        (
            {},
            {"serveArtifacts": False, "artifactsDestination": None},
            "defaultArtifactRoot must be set when serveArtifacts is not true",
        ),
        (
            {},
            {"env": [{"name": "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "value": "true"}]},
            "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE environment variable is not allowed",
        ),
    ],
)
async def test_a_cr_that_cannot_work_is_refused(
    api: Platform, metadata: dict[str, Any], spec: dict[str, Any], message: str
) -> None:
    operand = dict(build_operand(KAGENTI, namespaced=False))
    operand["metadata"] = {**operand["metadata"], **metadata}
    operand["spec"] = {k: v for k, v in {**operand["spec"], **spec}.items() if v is not None}
    with pytest.raises(ApiError, match=message):
        await api.request("POST", f"{MLFLOWS}/mlflows", operand, params={"dryRun": "All"})
