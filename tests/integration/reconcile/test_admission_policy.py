"""What somebody with the operator's token cannot change, although RBAC permits the patch."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kagenti_devcluster.testing.platform import (
    BINDING,
    FOREIGN_MANAGER,
    INTEGRATION,
    RBAC,
    SYSTEM,
    Object,
    Platform,
    eventually,
    workload_path,
)
from kagenti_operator.kube.client import MERGE_PATCH, KubeClient
from kagenti_operator.kube.errors import ApiError
from tests.support.chart_permissions import granted_account
from tests.support.cluster import Cluster

ACCOUNT = "bounded-operator"
STRATEGIC = "application/strategic-merge-patch+json"
# The operator writes `$` as `$$`.
ENVIRONMENT = [
    {"name": "MLFLOW_TRACKING_URI", "value": "https://mlflow.example.org"},
    {"name": "MLFLOW_EXPERIMENT_NAME", "value": "a$$b"},
]
REFUSED = r"the operator changes|the operator's variables|cannot set an ownerRef"


def template(**pod: Any) -> Object:
    return {"spec": {"template": {"spec": pod}}}


def container(**fields: Any) -> Object:
    return template(containers=[{"name": "agent", **fields}])


CHANGES: dict[str, Object] = {
    "another image": container(image="example.org/other:1"),
    "a command": container(command=["sh"]),
    "a variable that is not ours": container(env=[{"name": "LD_PRELOAD", "value": "/evil.so"}]),
    "a variable of the user's": container(env=[{"name": "MODEL", "value": "other"}]),
    "a Secret's value": container(
        env=[
            {
                "name": "MLFLOW_WORKSPACE",
                "valueFrom": {"secretKeyRef": {"name": "model", "key": "api-key"}},
            }
        ]
    ),
    "another variable's value": container(
        env=[{"name": "MLFLOW_TRACKING_URI", "value": "https://elsewhere.example.org/$(MODEL)"}]
    ),
    "another way to authenticate": container(env=[{"name": "MLFLOW_TRACKING_AUTH", "value": "other"}]),
    "another ServiceAccount": template(serviceAccountName="cluster-admin-of-somebody"),
    "a volume": template(volumes=[{"name": "host", "hostPath": {"path": "/"}}]),
    "an init container": template(initContainers=[{"name": "first", "image": "example.org/other:1"}]),
    "another container": template(containers=[{"name": "second", "image": "example.org/other:1"}]),
    "the host's network": template(hostNetwork=True),
    "replicas": {"spec": {"replicas": 5}},
    "a label": {"metadata": {"labels": {"a": "b"}}},
    "an annotation": {"metadata": {"annotations": {"a": "b"}}},
    "an owner": {
        "metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]}
    },
    "an annotation of the template": {"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}},
    "a label of the template": {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}},
}


@pytest.fixture
async def operator(cluster: Cluster, platform: Platform) -> AsyncIterator[KubeClient]:
    """A client with a token to which the chart grants everything that it can, under the chart's policies."""
    await platform.cluster_role(INTEGRATION)
    async with (
        granted_account(platform, ACCOUNT, openshift=True),
        cluster.as_service_account(SYSTEM, ACCOUNT) as client,
    ):
        await at_work(platform, client)
        yield client


async def at_work(platform: Platform, client: KubeClient) -> None:
    """Wait until the API server has compiled the policies, which it does now and then."""

    async def refused() -> None:
        for path, body in (
            (f"{RBAC}/namespaces/default/roles", role("default", f"greedy-{uuid.uuid4().hex}")),
            (workload_path("default", "probe"), {"spec": {"replicas": 3}}),
        ):
            assert "ValidatingAdmissionPolicy" in await refusal(
                client, "PATCH" if "probe" in path else "POST", path, body
            )

    await platform.workload("default", "probe")
    await eventually(refused)
    await platform.delete(workload_path("default", "probe"))


async def refusal(client: KubeClient, method: str, path: str, body: object) -> str:
    """Why the request is refused, empty where it is not."""
    try:
        await send(client, method, path, body)
    except ApiError as error:
        return str(error)
    return ""


async def send(client: KubeClient, method: str, path: str, body: object, kind: str = "") -> None:
    params = FOREIGN_MANAGER if method == "PATCH" else None
    content_type = kind or ("application/json" if method != "PATCH" else MERGE_PATCH)
    await client.raw(method, path, params=params, body=json.dumps(body).encode(), content_type=content_type)


async def test_a_workload_is_changed_in_its_own_fields_only(
    operator: KubeClient, platform: Platform, team: str
) -> None:
    await platform.workload(team, "agent", env=[{"name": "MODEL", "value": "small"}])
    path = workload_path(team, "agent")
    before: Any = await platform.get(path)
    for change in CHANGES.values():
        with pytest.raises(ApiError, match=REFUSED):
            await send(operator, "PATCH", path, change, STRATEGIC)
    unchanged: Any = await platform.get(path)
    assert unchanged["spec"] == before["spec"]
    assert unchanged["metadata"]["generation"] == before["metadata"]["generation"]
    annotations = {"mlflow.kagenti.io/experiment-id": "7"}
    ours = container(env=ENVIRONMENT)
    ours["spec"]["template"]["metadata"] = {"annotations": annotations}
    await send(operator, "PATCH", path, ours, STRATEGIC)
    after: Any = await platform.get(path)
    assert after["spec"]["template"]["metadata"]["annotations"] == annotations
    assert {e["name"] for e in after["spec"]["template"]["spec"]["containers"][0]["env"]} == {
        "MODEL",
        "MLFLOW_EXPERIMENT_NAME",
        "MLFLOW_TRACKING_URI",
    }


def role(namespace: str, name: str, **rule: Any) -> Object:
    granted = {"apiGroups": ["mlflow.kubeflow.org"], "resources": ["experiments"], "verbs": ["get"]}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": [{**granted, "resourceNames": ["mine"], **rule}],
    }


def binding(namespace: str, name: str, *, kind: str, to: str, whose: str, account: str = "default") -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": to},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": whose}],
    }


AGENTS, WIDER = "kagenti-mlflow-agent", "kagenti-mlflow-wider"


async def test_only_grants_of_the_contracts_names_and_shapes_are_made(
    operator: KubeClient, team: str
) -> None:
    roles, bindings = (f"{RBAC}/namespaces/{team}/{kind}" for kind in ("roles", "rolebindings"))
    for name in (AGENTS, "kagenti-mlflow-another"):
        await send(operator, "POST", roles, role(team, name, verbs=["get", "update"]))
    refused = [
        (roles, role(team, "greedy")),
        (roles, role(team, WIDER, apiGroups=["apps"], resources=["deployments"])),
        (roles, role(team, WIDER, resourceNames=[])),
        (roles, role(team, WIDER, verbs=["get", "delete"])),
        # Its own powers to itself, in a namespace of its choice.
        (bindings, binding(team, "greedy", kind="ClusterRole", to=ACCOUNT, whose=SYSTEM, account=ACCOUNT)),
        (bindings, binding(team, AGENTS, kind="ClusterRole", to=ACCOUNT, whose=team)),
        (bindings, binding(team, BINDING, kind="ClusterRole", to=ACCOUNT, whose=SYSTEM)),
        (bindings, binding(team, BINDING, kind="ClusterRole", to=INTEGRATION, whose=team)),
        (bindings, binding(team, AGENTS, kind="Role", to=AGENTS, whose="elsewhere")),
        (bindings, binding(team, AGENTS, kind="Role", to="kagenti-mlflow-another", whose=team)),
    ]
    for path, body in refused:
        with pytest.raises(ApiError, match=r"ValidatingAdmissionPolicy|not currently held"):
            await send(operator, "POST", path, body)
    system = f"{RBAC}/namespaces/kube-system/roles"
    with pytest.raises(ApiError, match="nothing in namespaces of Kubernetes itself"):
        await send(operator, "POST", system, role("kube-system", AGENTS))
    for path, body in (
        (bindings, binding(team, AGENTS, kind="Role", to=AGENTS, whose=team)),
        (bindings, binding(team, BINDING, kind="ClusterRole", to=INTEGRATION, whose=SYSTEM)),
    ):
        await send(operator, "POST", path, body)


async def test_only_grants_of_the_contracts_names_are_deleted(
    operator: KubeClient, platform: Platform, team: str
) -> None:
    roles = f"{RBAC}/namespaces/{team}/roles"
    for name in ("somebodys", AGENTS):
        await platform.request("POST", roles, role(team, name))
    with pytest.raises(ApiError, match="ValidatingAdmissionPolicy"):
        await operator.raw("DELETE", f"{roles}/somebodys")
    await operator.raw("DELETE", f"{roles}/{AGENTS}")
