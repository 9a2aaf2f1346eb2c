"""Namespaces, ServiceAccounts and grants around a real MLflow server, and plain requests to it."""

import asyncio
import json
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from kagenti_devcluster.testing.mlflow_server import MLflowServer
from kagenti_operator.kube.resources import ROLE_BINDINGS, ROLES
from tests.support.cluster import Cluster

EXPERIMENTS = "/api/2.0/mlflow/experiments"
TRACE_SEARCH = "/api/3.0/mlflow/traces/search"
ALL_VERBS = ("create", "get", "list", "update", "delete")

_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Tenants:
    """Two namespaces with one ServiceAccount each: `operator` has all rights in the first, none beyond."""

    cluster: Cluster
    namespace: str
    other_namespace: str
    operator_token: str

    @classmethod
    def create(cls, cluster: Cluster) -> "Tenants":
        suffix = uuid.uuid4().hex[:8]
        namespace, other = f"team1-{suffix}", f"team2-{suffix}"
        run(_create_namespaces(cluster, namespace, other))
        create_service_account(cluster, namespace, "operator")
        grant(cluster, namespace, "operator", ALL_VERBS)
        return cls(cluster, namespace, other, run(cluster.token(namespace, "operator")))

    def agent(self, name: str, verbs: Sequence[str], experiments: Sequence[str] = ()) -> str:
        """Make a ServiceAccount in the first namespace with these rights there; returns its token."""
        create_service_account(self.cluster, self.namespace, name)
        if verbs:
            grant(self.cluster, self.namespace, name, verbs, experiments)
        return run(self.cluster.token(self.namespace, name))


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """Run something asynchronous from a synchronous test or fixture."""
    return asyncio.run(work)


async def _create_namespaces(cluster: Cluster, *names: str) -> None:
    async with cluster.as_admin() as admin:
        for name in names:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await admin.raw("POST", "/api/v1/namespaces", body=json.dumps(body).encode())


def create_service_account(cluster: Cluster, namespace: str, name: str) -> None:
    async def create() -> None:
        async with cluster.as_admin() as admin:
            body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
            await admin.raw("POST", path, body=json.dumps(body).encode())

    run(create())


def grant(
    cluster: Cluster, namespace: str, name: str, verbs: Sequence[str], experiments: Sequence[str] = ()
) -> None:
    """Let ServiceAccount `name` of the namespace do `verbs` on these experiments there, or on all."""
    rule: dict[str, Any] = {
        "apiGroups": ["mlflow.kubeflow.org"],
        "resources": ["experiments"],
        "verbs": list(verbs),
    }
    if experiments:
        rule["resourceNames"] = list(experiments)
    metadata = {"name": f"mlflow-{name}", "namespace": namespace}
    role = {"apiVersion": ROLES.api_version, "kind": "Role", "metadata": metadata, "rules": [rule]}
    binding = {
        "apiVersion": ROLE_BINDINGS.api_version,
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }

    async def apply() -> None:
        async with cluster.as_admin() as admin:
            await admin.apply(ROLES, role)
            await admin.apply(ROLE_BINDINGS, binding)

    run(apply())


def ask(
    server: MLflowServer,
    method: str,
    path: str,
    *,
    token: str | None,
    workspace: str | None,
    body: Any = None,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One plain request, whatever comes of it. A body of bytes is protobuf, any other goes as JSON."""
    query = f"?{urlencode(params)}" if params else ""
    request = urllib.request.Request(f"{server.url}{path}{query}", method=method)
    if isinstance(body, bytes):
        request.data = body
        request.add_header("Content-Type", "application/x-protobuf")
    elif body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    if workspace is not None:
        request.add_header("X-MLFLOW-WORKSPACE", workspace)
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    try:
        context = ssl.create_default_context(cafile=server.ca_file)
        with urllib.request.urlopen(request, timeout=30, context=context) as response:
            return Answer(response.status, response.read().decode())
    except urllib.error.HTTPError as refusal:
        return Answer(refusal.code, refusal.read().decode())


def ask_until_allowed(server: MLflowServer, method: str, path: str, **options: Any) -> Answer:
    """Ask until the answer is no refusal: a new grant is seen only when the last refusal is forgotten."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        answer = ask(server, method, path, **options)
        if answer.status != 403 or time.monotonic() > deadline:
            return answer
        time.sleep(0.2)
