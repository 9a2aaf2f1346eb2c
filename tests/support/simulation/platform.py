"""The platform that the operator finds: namespaces, definitions, roles, the collector; and agents."""

from typing import Any

from kagenti_operator.contract import (
    COLLECTOR,
    INGRESS_CERTIFICATE,
    INGRESS_CERTIFICATE_NAMESPACE,
    INTEGRATION_ROLE,
    KAGENTI,
    MLFLOW_NAMESPACE,
    ROOT_CA,
    ROOT_CA_NAMESPACE,
)
from tests.support.simulation.kinds import (
    BY_NAME,
    CLUSTER_ROLES,
    CLUSTER_VERSIONS,
    CONFIG_MAPS,
    CRDS,
    DATA_SCIENCE_CLUSTERS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    MLFLOWS,
    NAMESPACES,
    SERVICE_ACCOUNTS,
    Kind,
)
from tests.support.simulation.merge import Object
from tests.support.simulation.store import Store

TEAMS = ("team1", "team2")
_MANAGER = "platform"


def build_object(kind: Kind, name: str, namespace: str = "", **content: Any) -> Object:
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}


def build_crd(kind: Kind) -> Object:
    return build_object(CRDS, kind.crd_name)


def build_agent(kind: str, namespace: str, name: str, *, account: str = "") -> Object:
    env = [{"name": "LLM_MODEL", "value": "granite"}]
    container: Object = {"name": "agent", "image": f"example.org/{name}:1", "env": env}
    pod: Object = {"containers": [container]}
    if account:
        pod["serviceAccountName"] = account
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    spec: Object
    if kind == "Sandbox":
        spec = {"podTemplate": template}
    else:
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    obj = build_object(BY_NAME[kind], name, namespace, spec=spec)
    label, _, value = KAGENTI.agent_selector.partition("=")
    obj["metadata"]["labels"] = {"app": name, label: value}
    return obj


def build_collector(account: str = COLLECTOR) -> Object:
    container = {"name": "collector", "image": "otel/opentelemetry-collector-contrib:0.152.0"}
    template = {
        "metadata": {"labels": {"app": COLLECTOR}},
        "spec": {"serviceAccountName": account, "containers": [container]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": COLLECTOR}}, "template": template}
    return build_object(DEPLOYMENTS, COLLECTOR, KAGENTI.namespace, spec=spec)


def put_data_science_cluster(store: Store, state: str) -> None:
    spec = {"components": {"mlflowoperator": {"managementState": state}}}
    body = build_object(DATA_SCIENCE_CLUSTERS, "default-dsc", spec=spec)
    store.apply(DATA_SCIENCE_CLUSTERS, body, _MANAGER)


def install(store: Store, *, openshift: bool) -> None:
    """What is there before anybody acts."""
    system = KAGENTI.namespace
    namespaces = [system, MLFLOW_NAMESPACE, *TEAMS]
    if openshift:
        namespaces += [INGRESS_CERTIFICATE_NAMESPACE, ROOT_CA_NAMESPACE]
    for name in namespaces:
        store.create(NAMESPACES, build_object(NAMESPACES, name), _MANAGER)
    for kind in (DATA_SCIENCE_CLUSTERS, MLFLOWS, *((CLUSTER_VERSIONS,) if openshift else ())):
        store.create(CRDS, build_crd(kind), _MANAGER)
    put_data_science_cluster(store, "Managed")
    for role in (INTEGRATION_ROLE, KAGENTI.deployment):
        store.create(CLUSTER_ROLES, build_object(CLUSTER_ROLES, role), _MANAGER)
    store.create(SERVICE_ACCOUNTS, build_object(SERVICE_ACCOUNTS, KAGENTI.mlflow_client, system), _MANAGER)
    endpoints = [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]
    pieces = build_object(ENDPOINT_SLICES, "mlflow-1", MLFLOW_NAMESPACE, endpoints=endpoints)
    pieces["metadata"]["labels"] = {"kubernetes.io/service-name": "mlflow"}
    store.create(ENDPOINT_SLICES, pieces, _MANAGER)
    store.create(DEPLOYMENTS, build_collector(), _MANAGER)
    if openshift:
        ingress = {"ca-bundle.crt": "ingress"}
        for namespace, name, data in (
            (INGRESS_CERTIFICATE_NAMESPACE, INGRESS_CERTIFICATE, ingress),
            (ROOT_CA_NAMESPACE, ROOT_CA, {"ca.crt": "root"}),
        ):
            store.create(CONFIG_MAPS, build_object(CONFIG_MAPS, name, namespace, data=data), _MANAGER)
