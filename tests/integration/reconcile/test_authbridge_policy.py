"""What somebody with the operator's token cannot write for AuthBridge, although RBAC permits it."""

from collections.abc import AsyncIterator

import pytest

from kagenti_devcluster.testing.platform import (
    RBAC,
    SYSTEM,
    Object,
    Platform,
    build_crd,
    eventually,
    workload_path,
)
from kagenti_operator.kube.client import KubeClient
from tests.integration.reconcile.test_admission_policy import at_work, refusal
from tests.integration.reconcile.test_sandboxes import build_crd as build_sandbox_crd
from tests.integration.reconcile.test_sandboxes import put_sandbox, sandbox_path
from tests.support.chart_permissions import granted_account
from tests.support.cluster import Cluster

ACCOUNT = "bounded-authbridge"
VALUES = ("authbridge.enable=true", "authbridge.scc.name=redirected")
SCC = "system:openshift:scc:redirected"
CERT_MANAGER = [
    build_crd("cert-manager.io", "v1", kind, f"{kind.lower()}s", scope="Namespaced")
    for kind in ("Certificate", "Issuer")
]
HASH = {"kagenti.io/config-hash": "h1", "kagenti.io/resume": "true"}
ISSUER = "authbridge-tls-bridge-selfsigned"


@pytest.fixture
async def operator(cluster: Cluster, platform: Platform) -> AsyncIterator[KubeClient]:
    """A client with a token to which the chart grants what AuthBridge takes, under the chart's policies."""
    for crd in (*CERT_MANAGER, build_sandbox_crd("v1beta1")):
        await platform.install_crd(crd)
    async with (
        granted_account(platform, ACCOUNT, openshift=True, more=VALUES),
        cluster.as_service_account(SYSTEM, ACCOUNT) as client,
    ):
        await at_work(platform, client)
        yield client
    for crd in (*CERT_MANAGER, build_sandbox_crd("v1beta1")):
        await platform.remove_crd(crd)


async def expect_refused(client: KubeClient, method: str, path: str, body: object) -> None:
    async def refused() -> None:
        assert "ValidatingAdmissionPolicy" in await refusal(client, method, path, body)

    await eventually(refused)


def constraints(namespace: str, *, group: str, role: str = SCC) -> Object:
    api = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "agent-authbridge-scc", "namespace": namespace},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": api, "kind": "Group", "name": group}],
    }


def cert_manager(kind: str, namespace: str, name: str, **spec: object) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "cert-manager.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


async def test_workloads_are_annotated_and_sandboxes_suspended_and_no_more(
    operator: KubeClient, platform: Platform, team: str
) -> None:
    await platform.workload(team, "agent")
    path = workload_path(team, "agent")
    annotate = {"metadata": {"annotations": HASH}}
    assert await refusal(operator, "PATCH", path, {"spec": {"template": annotate}}) == ""
    await expect_refused(operator, "PATCH", path, {"spec": {"replicas": 4}})

    await put_sandbox(platform, team, "coder", "v1beta1")
    path = sandbox_path(team, "coder", "v1beta1")
    suspend = {"spec": {"operatingMode": "Suspended", "podTemplate": annotate}}
    assert await refusal(operator, "PATCH", path, suspend) == ""
    pod = {"spec": {"podTemplate": {"spec": {"serviceAccountName": "somebody-elses"}}}}
    await expect_refused(operator, "PATCH", path, pod)


async def test_constraints_are_granted_to_the_namespaces_own_accounts(
    operator: KubeClient, team: str
) -> None:
    path, own = f"{RBAC}/namespaces/{team}/rolebindings", f"system:serviceaccounts:{team}"
    await expect_refused(operator, "POST", path, constraints(team, group="system:authenticated"))
    await expect_refused(operator, "POST", path, constraints(team, group=f"system:serviceaccounts:{SYSTEM}"))
    assert await refusal(operator, "POST", path, constraints(team, group=own, role="cluster-admin"))
    assert await refusal(operator, "POST", path, constraints(team, group=own)) == ""


async def test_cert_manager_is_asked_for_the_bridges_authorities_only(
    operator: KubeClient, team: str
) -> None:
    certificates, issuers = (
        f"/apis/cert-manager.io/v1/namespaces/{team}/{kind}" for kind in ("certificates", "issuers")
    )
    name = "weather-tls-bridge-ca"
    own = {"secretName": name, "issuerRef": {"name": ISSUER}}
    await expect_refused(
        operator,
        "POST",
        certificates,
        cert_manager("Certificate", team, name, **{**own, "secretName": "theirs"}),
    )
    other = {**own, "issuerRef": {"name": "company-ca"}}
    await expect_refused(operator, "POST", certificates, cert_manager("Certificate", team, name, **other))
    assert await refusal(operator, "POST", certificates, cert_manager("Certificate", team, name, **own)) == ""
    await expect_refused(
        operator, "POST", issuers, cert_manager("Issuer", team, ISSUER, ca={"secretName": "x"})
    )
    assert await refusal(operator, "POST", issuers, cert_manager("Issuer", team, ISSUER, selfSigned={})) == ""
