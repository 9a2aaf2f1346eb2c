"""What somebody with the operator's token cannot do: real requests to the real authorizer."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kagenti_devcluster.testing.platform import (
    EDIT,
    FOREIGN_MANAGER,
    INTEGRATION,
    RBAC,
    SYSTEM,
    Object,
    Platform,
    config_map_path,
)
from kagenti_operator.kube.client import MERGE_PATCH, KubeClient
from kagenti_operator.kube.errors import ApiError
from tests.support.chart_permissions import granted_account
from tests.support.cluster import Cluster

ACCOUNT = "tempted-operator"
NOT_HELD = "is attempting to grant RBAC permissions not currently held"
APPLY = "application/apply-patch+yaml"
TEAM = "/namespaces/somebodys"
SELF_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
CRS = "/apis/mlflow.opendatahub.io/v1/mlflows"


@pytest.fixture
async def operator(cluster: Cluster, platform: Platform) -> AsyncIterator[KubeClient]:
    """A client with a token to which the chart grants everything that it can, beside MLflow's own roles."""
    for role in (INTEGRATION, EDIT):
        await platform.cluster_role(role)
    async with (
        # What RBAC alone bounds: the policies are tried in test_admission_policy.py.
        granted_account(platform, ACCOUNT, openshift=True, more=("admissionPolicy.enable=false",)),
        cluster.as_service_account(SYSTEM, ACCOUNT) as client,
    ):
        yield client


async def send(client: KubeClient, method: str, path: str, body: object = None, kind: str = "") -> ApiError:
    """Send a request that must not succeed; returns the refusal."""
    content_type = kind or ("application/json" if method != "PATCH" else MERGE_PATCH)
    params = FOREIGN_MANAGER if method == "PATCH" else None
    data = json.dumps(body or {}).encode() if method != "GET" else None
    with pytest.raises(ApiError) as refused:
        await client.raw(method, path, params=params, body=data, content_type=content_type)
    assert refused.value.forbidden, f"{method} {path}: {refused.value}"
    return refused.value


REFUSED = (
    # Secrets, and other ways to become somebody else.
    ("GET", f"/api/v1/namespaces/{SYSTEM}/secrets/any"),
    ("GET", f"/api/v1/namespaces/{SYSTEM}/secrets"),
    ("GET", "/api/v1/secrets"),
    ("POST", f"/api/v1{TEAM}/serviceaccounts/default/token"),
    ("POST", f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/controller-manager/token"),
    ("POST", f"/api/v1{TEAM}/serviceaccounts/kagenti-mlflow-client/token"),
    ("POST", f"/api/v1{TEAM}/pods"),
    ("GET", f"/api/v1{TEAM}/pods/an-agent/exec"),
    # Roles that hold everywhere.
    ("POST", f"{RBAC}/clusterroles"),
    ("POST", f"{RBAC}/clusterrolebindings"),
    ("PATCH", f"{RBAC}/clusterroles/{INTEGRATION}"),
    ("PATCH", f"{RBAC}/clusterroles/{EDIT}"),
    ("GET", f"{RBAC}/clusterroles"),
    # ConfigMaps elsewhere, or under other names.
    ("POST", f"/api/v1/namespaces/{SYSTEM}/configmaps"),
    ("PATCH", config_map_path(SYSTEM, "another")),
    ("PATCH", config_map_path(SYSTEM, "openshift-service-ca.crt")),
    ("PATCH", config_map_path("openshift-config-managed", "default-ingress-cert")),
    ("PATCH", config_map_path("openshift-config", "kube-root-ca.crt")),
    ("PATCH", config_map_path("somebodys", "otel-collector-config")),
    ("DELETE", config_map_path(SYSTEM, "kagenti-ui-config")),
    ("GET", f"/api/v1/namespaces/{SYSTEM}/configmaps"),
    ("GET", "/api/v1/namespaces/openshift-config/configmaps"),
    ("GET", config_map_path("somebodys", "any")),
    # What people made.
    ("DELETE", f"{CRS}/mlflow"),
    ("PATCH", f"{CRS}/mlflow"),
    ("PATCH", "/apis/datasciencecluster.opendatahub.io/v2/datascienceclusters/default-dsc"),
    ("PUT", f"/apis/apps/v1{TEAM}/deployments/an-agent"),
    ("DELETE", f"/apis/apps/v1{TEAM}/deployments/an-agent"),
    ("POST", f"/apis/apps/v1{TEAM}/deployments"),
    ("PATCH", f"/apis/apps/v1{TEAM}/deployments/an-agent/scale"),
    ("PATCH", f"/apis/apps/v1{TEAM}/daemonsets/any"),
    ("DELETE", f"/apis/apps/v1{TEAM}/statefulsets/an-agent"),
    ("DELETE", f"/api/v1{TEAM}"),
    ("PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mlflows.mlflow.opendatahub.io"),
    # Another's lease, and its own once it has it.
    ("PUT", f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/another"),
    ("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/b7c4ae34.kagenti.dev"),
    ("GET", "/apis/events.k8s.io/v1/events"),
)


async def test_is_refused(operator: KubeClient) -> None:
    for method, path in REFUSED:
        refusal = await send(operator, method, path)
        assert f'User "system:serviceaccount:{SYSTEM}:{ACCOUNT}" cannot' in refusal.message, (
            f"{method} {path}"
        )


async def test_cannot_act_as_somebody_else(operator: KubeClient) -> None:
    for resource in ("users", "groups", "serviceaccounts"):
        review = {"spec": {"resourceAttributes": {"verb": "impersonate", "resource": resource}}}
        answer = await Platform(operator).request("POST", SELF_REVIEWS, review)
        assert not answer["status"]["allowed"]


def binding(namespace: str, role: str, kind: str = "ClusterRole") -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "greedy", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}],
    }


async def test_binds_the_two_clusterroles_that_it_is_there_for_and_no_other(
    operator: KubeClient, team: str
) -> None:
    bindings = f"{RBAC}/namespaces/{team}/rolebindings"
    for role in ("cluster-admin", "admin", "edit", "view", "system:node"):
        for method, path, kind in (("POST", bindings, ""), ("PATCH", f"{bindings}/greedy", APPLY)):
            refusal = await send(operator, method, path, binding(team, role), kind)
            assert NOT_HELD in refusal.message
    for role in (INTEGRATION, EDIT):
        body = {**binding(team, role), "metadata": {"name": role, "namespace": team}}
        await Platform(operator).put(f"{bindings}/{role}", body)


async def test_may_grant_what_it_holds_itself(operator: KubeClient, team: str) -> None:
    """Not wished for: RBAC knows no bound that is narrower, for which the chart has its policies."""
    bindings = f"{RBAC}/namespaces/{team}/rolebindings"
    await Platform(operator).put(f"{bindings}/greedy", binding(team, ACCOUNT))


def rule(group: str, resource: str, *verbs: str, names: tuple[str, ...] = ()) -> dict[str, Any]:
    named = {"resourceNames": list(names)} if names else {}
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs), **named}


def role_body(namespace: str, *rules: dict[str, Any]) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "greedy", "namespace": namespace},
        "rules": rules,
    }


GREEDY = (
    rule("", "secrets", "get"),
    rule("", "pods/exec", "create"),
    rule("*", "*", "*"),
    rule("mlflow.kubeflow.org", "experiments", "*"),
    rule("mlflow.kubeflow.org", "experiments", "delete", names=("an-agent",)),
    rule("mlflow.kubeflow.org", "gatewaysecrets", "get"),
)


async def test_grants_no_more_than_it_holds_on_mlflow(
    operator: KubeClient, platform: Platform, team: str
) -> None:
    experiment = rule("mlflow.kubeflow.org", "experiments", "get", "update", names=("an-agent",))
    path = f"{RBAC}/namespaces/{team}/roles/greedy"
    for greedy in GREEDY:
        await Platform(operator).put(path, role_body(team, experiment))
        refusal = await send(operator, "PATCH", path, role_body(team, experiment, greedy), APPLY)
        assert NOT_HELD in refusal.message
        # A role that somebody else gave more to cannot be bound either.
        await platform.put(path, role_body(team, greedy))
        bindings = f"{RBAC}/namespaces/{team}/rolebindings"
        refusal = await send(operator, "POST", bindings, binding(team, "greedy", "Role"))
        assert NOT_HELD in refusal.message
        await platform.delete(path)
