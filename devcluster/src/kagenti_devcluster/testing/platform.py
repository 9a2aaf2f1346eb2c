"""What surrounds the operator, made by a test on the real API server: platform, MLflow's CR, agents."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kagenti_devcluster.cluster.kubectl import packaged_manifests
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError

SYSTEM = "kagenti-system"
MLFLOW_NAMESPACE = "redhat-ods-applications"
INTEGRATION = "mlflow-operator-mlflow-integration"
EDIT = "mlflow-operator-mlflow-edit"
BINDING = "otel-collector-mlflow"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
DSCS = "/apis/datasciencecluster.opendatahub.io/v2/datascienceclusters"
MLFLOWS = "/apis/mlflow.opendatahub.io/v1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CHART_LABEL = "app.kubernetes.io/name"
FOREIGN_MANAGER = {"fieldManager": "somebody-else"}

type Object = dict[str, Any]


async def eventually[T](check: Callable[[], Awaitable[T]], *, seconds: float = 60) -> T:
    """Repeat `check` until it raises no AssertionError; its last one is raised after that time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


async def always(check: Callable[[], Awaitable[None]], *, seconds: float) -> None:
    """Assert that `check` holds during that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        await check()
        await asyncio.sleep(0.05)


def build_crd(group: str, version: str, kind: str, plural: str, *, scope: str) -> Object:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served: Object = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [served],
        },
    }


DSC_CRD = build_crd(
    "datasciencecluster.opendatahub.io", "v2", "DataScienceCluster", "datascienceclusters", scope="Cluster"
)
MLFLOW_CRD = build_crd("mlflow.opendatahub.io", "v1", "MLflow", "mlflows", scope="Cluster")
MLFLOW_CRD_NAMESPACED = build_crd("mlflow.opendatahub.io", "v1", "MLflow", "mlflows", scope="Namespaced")
OPENSHIFT_CRD = build_crd("config.openshift.io", "v1", "ClusterVersion", "clusterversions", scope="Cluster")


class Platform:
    """Raw objects in, raw objects out: a test sees what any client sees."""

    def __init__(self, admin: KubeClient) -> None:
        self.admin = admin
        self.namespaces: set[str] = set()

    async def request(self, method: str, path: str, body: object = None, **options: Any) -> Object:
        data = json.dumps(body).encode() if body is not None else None
        return json.loads(await self.admin.raw(method, path, body=data, **options))

    async def get(self, path: str) -> Object | None:
        try:
            return await self.request("GET", path)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def put(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Apply as somebody else than the operator."""
        return await self.request(
            "PATCH",
            path,
            body,
            content_type="application/apply-patch+yaml",
            params={**FOREIGN_MANAGER, "force": "true", **({"dryRun": "All"} if dry_run else {})},
        )

    async def patch(self, path: str, body: Mapping[str, Any]) -> Object:
        return await self.request(
            "PATCH", path, body, content_type="application/merge-patch+json", params=FOREIGN_MANAGER
        )

    async def delete(self, path: str, *, selector: str = "") -> None:
        try:
            await self.admin.raw("DELETE", path, params={"labelSelector": selector} if selector else None)
        except ApiError as error:
            if not error.not_found:
                raise

    async def namespace(self, name: str) -> None:
        self.namespaces.add(name)
        await self.put(f"/api/v1/namespaces/{name}", _object("v1", "Namespace", name))

    # --- CRDs ------------------------------------------------------------------------------------------

    async def install_crd(self, definition: Object) -> None:
        await self.put(f"{CRDS}/{definition['metadata']['name']}", definition)

        async def served() -> None:
            spec = definition["spec"]
            version = spec["versions"][0]["name"]
            found = await self.get(f"/apis/{spec['group']}/{version}/{spec['names']['plural']}")
            assert found is not None

        await eventually(served)

    async def remove_crd(self, definition: Object) -> None:
        path = f"{CRDS}/{definition['metadata']['name']}"
        await self.delete(path)

        async def gone() -> None:
            assert await self.get(path) is None

        await eventually(gone)

    # --- platform --------------------------------------------------------------------------------------

    async def set_state(self, state: str | None, name: str = "default-dsc") -> None:
        spec: Object = {"components": {"mlflowoperator": {"managementState": state}}} if state else {}
        body = _object("datasciencecluster.opendatahub.io/v2", "DataScienceCluster", name, spec=spec)
        await self.put(f"{DSCS}/{name}", body)

    async def cluster_role(self, name: str, rules: list[Object] | None = None) -> None:
        """A role as the MLflow operator brings it, or with these rules."""
        if rules is None:
            packaged = packaged_manifests("mlflow-roles")
            rules = next(role["rules"] for role in packaged if role["metadata"]["name"] == name)
        body = _object("rbac.authorization.k8s.io/v1", "ClusterRole", name, rules=rules)
        await self.put(f"{RBAC}/clusterroles/{name}", body)

    async def mlflow(self, namespace: str | None = None) -> Object | None:
        return await self.get(_mlflow_path(namespace))

    async def set_mlflow_status(
        self,
        *,
        available: bool = True,
        address: str | None,
        url: str | None = None,
        namespace: str | None = None,
    ) -> None:
        """Say in the CR what the MLflow operator would say."""
        condition = {
            "type": "Available",
            "status": "True" if available else "False",
            "reason": "Tested",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status: Object = {"conditions": [condition], "address": None, "url": url}
        if address:
            status["address"] = {"url": address}
        await self.patch(f"{_mlflow_path(namespace)}/status", {"status": status})

    async def set_mlflow_endpoint(self, *, ready: bool, namespace: str = MLFLOW_NAMESPACE) -> None:
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "mlflow-1",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": "mlflow"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
            "ports": [{"name": "https", "port": 8443}],
        }
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/mlflow-1"
        await self.put(path, body)

    async def binding(self, namespace: str) -> Object | None:
        return await self.get(f"{RBAC}/namespaces/{namespace}/rolebindings/{BINDING}")

    async def managed_and_ready(
        self, address: str | None = "https://mlflow.redhat-ods-applications.svc:8443"
    ) -> None:
        """Everything that a grant needs: CRDs, state, ClusterRole, ready endpoint; and the CR's status."""
        for crd in (DSC_CRD, MLFLOW_CRD):
            await self.install_crd(crd)
        await self.cluster_role(INTEGRATION)
        await self.set_state("Managed")
        await self.set_mlflow_endpoint(ready=True)
        if await self.mlflow() is None:
            await self.put(
                _mlflow_path(None), _object("mlflow.opendatahub.io/v1", "MLflow", "mlflow", spec={})
            )
        await self.set_mlflow_status(address=address)

    # --- workloads -------------------------------------------------------------------------------------

    async def workload(
        self,
        namespace: str,
        name: str,
        *,
        kind: str = "Deployment",
        agent: bool = True,
        image: str = "example.org/agent:1",
        annotations: Mapping[str, str] | None = None,
        pod_annotations: Mapping[str, str] | None = None,
        pod: Mapping[str, Any] | None = None,
        env: list[Mapping[str, Any]] | None = None,
        replicas: int = 0,
        **fields: Any,
    ) -> Object:
        """Make a workload; `fields` are further ones of its spec."""
        labels = {"app": name} | ({"kagenti.io/type": "agent"} if agent else {})
        container: Object = {"name": name, "image": image}
        if env:
            container["env"] = env
        template = {
            "metadata": {"labels": {"app": name}, "annotations": dict(pod_annotations or {})},
            "spec": {"containers": [container], **(pod or {})},
        }
        spec: Object = {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
            **fields,
        }
        if kind == "StatefulSet":
            spec["serviceName"] = name
        body: Object = {"apiVersion": "apps/v1", "kind": kind, "spec": spec}
        body["metadata"] = {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": dict(annotations or {}),
        }
        return await self.put(workload_path(namespace, name, kind), body)

    async def config_map(self, namespace: str, name: str, data: Mapping[str, str]) -> Object:
        body = {**_object("v1", "ConfigMap", name), "data": dict(data)}
        body["metadata"]["namespace"] = namespace
        return await self.put(config_map_path(namespace, name), body)

    async def events(self, namespace: str, name: str) -> list[Object]:
        found = await self.request("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
        return [e for e in found["items"] if e.get("regarding", {}).get("name") == name]


def build_service(name: str) -> Object:
    """A Service of the platform's namespace, as Phoenix has one."""
    return {
        **_object("v1", "Service", name, spec={"ports": [{"port": 4317}], "selector": {"app": name}}),
        "metadata": {"name": name, "namespace": SYSTEM},
    }


def workload_path(namespace: str, name: str, kind: str = "Deployment") -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/{kind.lower()}s/{name}"


def config_map_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{name}"


def _mlflow_path(namespace: str | None) -> str:
    return f"{MLFLOWS}/namespaces/{namespace}/mlflows/mlflow" if namespace else f"{MLFLOWS}/mlflows/mlflow"


def _object(api_version: str, kind: str, name: str, **fields: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


FIXED_NAMESPACES = (SYSTEM, MLFLOW_NAMESPACE, "openshift-config", "openshift-config-managed")
_COLLECTIONS = (
    "/apis/apps/v1/namespaces/{}/deployments",
    "/apis/apps/v1/namespaces/{}/statefulsets",
    RBAC + "/namespaces/{}/rolebindings",
    RBAC + "/namespaces/{}/roles",
    "/api/v1/namespaces/{}/configmaps",
    "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "/apis/events.k8s.io/v1/namespaces/{}/events",
)


async def reset(platform: Platform, namespaces: set[str]) -> None:
    """Take away everything that a test of the operator may have left: the next starts from nothing."""
    for crd in (MLFLOW_CRD, DSC_CRD, OPENSHIFT_CRD):
        await platform.remove_crd(crd)
    for role in (INTEGRATION, EDIT):
        await platform.delete(f"{RBAC}/clusterroles/{role}")
    for namespace in (*FIXED_NAMESPACES, *namespaces, "default"):
        for collection in _COLLECTIONS:
            # What the chart grants stays, so that the authorizer need not learn of it before each test.
            await platform.delete(collection.format(namespace), selector=f"{CHART_LABEL}!=kagenti-operator")
        # A collection of Services cannot be deleted.
        await platform.delete(f"/api/v1/namespaces/{namespace}/services/phoenix")
